# shellcheck shell=bash
# Sourced by every service: where things are, run-time settings, secrets.
export SANDBOX_REPO=$HOME/src/github.com/iterate/iterate
# shellcheck source=ca.sh
. /usr/local/lib/sandbox/ca.sh

if [ -r "$HOME/.iterate/.env" ]; then
  set -a
  # shellcheck source=/dev/null
  . "$HOME/.iterate/.env"
  set +a
fi

# secret VARIABLE FILE: from the environment, else from ~/.iterate/FILE, made at the first start.
# Two services may come here at once; `ln` lets one of them win.
secret() {
  local file=$HOME/.iterate/$2 new
  if [ -z "${!1:-}" ]; then
    if [ ! -s "$file" ]; then
      mkdir -p "$HOME/.iterate"
      new=$(umask 077 && mktemp "$file.XXXXXX")
      head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$new"
      ln "$new" "$file" 2>/dev/null || true
      rm -f "$new"
    fi
    printf -v "$1" %s "$(cat "$file")"
  fi
  export "${1?}"
}

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

secret ITERATE_DAEMON_TOKEN daemon-token
secret OPENCODE_SERVER_PASSWORD opencode-password
