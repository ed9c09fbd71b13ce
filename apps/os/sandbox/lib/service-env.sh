# shellcheck shell=bash
# Sourced by every service, in its folder: certificates, run-time settings, the service's secrets.
# shellcheck source=ca.sh
. /usr/local/lib/sandbox/ca.sh
# By itself first: in `eval "$(…)"` a failure would be lost, and the service would go without secrets.
_environment=$(
  /usr/bin/python3 -I -S /usr/local/lib/sandbox/environment.py service "${PWD##*/}"
) || exit
eval "$_environment"
unset _environment

# started_at PID: its start, in clock ticks since boot, so that a reused id is not mistaken.
started_at() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

# become NAME: this process is now the one instance of the service. A former one lives on when its
# supervisor was killed: it would hold the port, so it is ended first, with all it started.
become() {
  local file=/run/iterate/$1.instance pid started round
  if read -r pid started 2>/dev/null <"$file" && [ "$started" = "$(started_at "$pid")" ]; then
    for round in TERM TERM TERM TERM TERM KILL; do
      kill "-$round" -- "-$pid" 2>/dev/null || break
      sleep 0.2
    done
  fi
  echo "$$ $(started_at $$)" >"$file"
}
