#!/bin/bash
# An agent on PATH, by its name: it has the environment of login shells and services, however it was
# started (`docker exec SANDBOX claude`).
_agent=${0##*/}
if [ -z "${ITERATE_ENVIRONMENT:-}" ]; then
  # shellcheck source=env.sh
  . /usr/local/lib/sandbox/env.sh
fi
exec "/opt/$_agent/bin/$_agent" "$@"
