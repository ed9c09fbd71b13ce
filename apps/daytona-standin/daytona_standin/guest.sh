#!/bin/sh
# Daytona's daemon as far as the stand-in imitates it: PID 1 of every sandbox.
#
# daytona ENTRYPOINT …    start the entry point as a shell's child in the background, and outlive it
# daytona --exec ID       run a script from stdin in the shell that Daytona would choose
# daytona --kill ID       kill that shell's process group
# daytona --session ID    a shell that reads commands from a pipe
state=${HOME:-/root}/.daytona

# /etc/shells decides: zsh, then bash, then the user's own shell, then sh.
choose_shell() {
  for name in zsh bash; do
    path=$(grep -m1 "/$name\$" /etc/shells 2>/dev/null) && [ -x "$path" ] && echo "$path" && return
  done
  echo "${SHELL:-sh}"
}

quote() {
  for word in "$@"; do
    printf "'%s' " "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"
  done
}

case $1 in
  --exec)
    mkdir -p "$state/exec" && echo $$ >"$state/exec/$2"
    exec "$(choose_shell)" 2>&1
    ;;
  --kill)
    kill -9 "-$(cat "$state/exec/$2")" 2>/dev/null
    rm -f "$state/exec/$2"
    exit 0
    ;;
  --session)
    dir=$state/sessions/$2
    mkdir -p "$dir" && rm -f "$dir/in" && mkfifo "$dir/in" || exit 2
    exec "$(choose_shell)" <>"$dir/in" >/dev/null 2>&1
    ;;
esac

dir=$state/sessions/entrypoint/entrypoint_command
mkdir -p "$dir" || exit 2
trap 'exit 0' TERM INT
if [ $# -gt 0 ]; then
  "$(choose_shell)" -c "$(quote "$@")" </dev/null >"$dir/output.log" 2>&1 &
fi
: >"$state/ready"
# As PID 1, `wait` also reaps processes whose parents have ended.
while :; do
  sleep 1000000 &
  wait $!
done
