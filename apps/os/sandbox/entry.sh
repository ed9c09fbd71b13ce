#!/usr/bin/env bash
# The sandbox's first program. With a checkout mounted at /local-iterate-repo (local mode) it
# first makes the sandbox's repository equal to it; without, all is baked in. Then s6 takes over.
# It runs as PID 1 and as a child of another init, at the first start and after any kind of end.
set -euo pipefail

lib=/usr/local/lib/sandbox
export HOME=${HOME:-/home/iterate}
# shellcheck source=ca.sh
. "$lib/ca.sh"

# In the background, since bash acts on signals only between commands: `docker stop` must not
# have to wait for an install.
trap 'kill -TERM "$preparing" 2>/dev/null; wait "$preparing"; exit 143' TERM INT HUP
python3 -E -s "$lib/prepare.py" &
preparing=$!
wait "$preparing"
trap - TERM INT HUP

# s6-svscan passes SIGTERM on to the services, waits for them and for their logs, then exits.
exec s6-svscan -t 0 /run/service
