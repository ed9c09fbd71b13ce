#!/bin/sh
# The image's health check. A container that runs a command instead of the services is healthy as
# long as the command runs.
[ -e /run/iterate/command ] && exit 0
exec curl --fail --silent --output /dev/null --noproxy '*' http://127.0.0.1:3000/readyz
