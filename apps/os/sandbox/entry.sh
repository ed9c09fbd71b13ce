#!/usr/bin/env bash
# The sandbox's first program: `entry.sh` runs the services, `entry.sh COMMAND…` a command instead.
# With a checkout mounted at /local-iterate-repo (local mode) it first makes the sandbox's repository
# equal to it; without, all is baked in. Then s6 takes over, or the command.
# It runs as PID 1 and as a child of another init, at the first start and after any kind of end.
set -euo pipefail

lib=/usr/local/lib/sandbox
home=/home/iterate
user=${home##*/}

as_user=()
case $(id -u) in
  "$(id -u "$user")") export HOME=${HOME:-$home} ;;
  0) # The sandbox is the user's all the same; a command is run as root, as was asked.
    as_user=(setpriv --reuid "$user" --regid "$user" --init-groups
      env "HOME=$home" "USER=$user" "LOGNAME=$user")
    ;;
  *)
    echo "✗ the sandbox cannot run as uid $(id -u): its files belong to $user, uid $(id -u "$user")" \
      "→ start it without --user; it reads a mounted checkout whoever owns that" >&2
    exit 1
    ;;
esac
# shellcheck source=ca.sh
. "$lib/ca.sh"

# In the background, since bash acts on signals only between commands: `docker stop` must not
# have to wait for an install. A command's standard output is its own.
trap 'kill -TERM "$preparing" 2>/dev/null; wait "$preparing"; exit 143' TERM INT HUP
"${as_user[@]}" python3 -E -s "$lib/prepare.py" ${1+--for-a-command} >&2 &
preparing=$!
wait "$preparing"
trap - TERM INT HUP

if (($#)); then
  # tini passes signals on, also to a program that as PID 1 would ignore them, and ends with the
  # command's status. A login shell gives the command its environment.
  exec tini -s -- bash --login -c 'exec -- "$@"' sandbox "$@"
fi
# s6-svscan passes SIGTERM on to the services, waits for them and for their logs, then exits.
exec "${as_user[@]}" s6-svscan -t 0 /run/service
