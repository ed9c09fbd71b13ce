#!/bin/bash
# service-finish.sh CODE SIGNAL NAME GROUP, from each service's finish (code 256: killed by a signal).
# Says how the service ended, waits a little longer after each of its last deaths, and gives up
# (125) after six failures of its own within a minute, so that a crash loop neither spins nor
# hides. Ending by SIGTERM or SIGKILL is somebody's wish, not a failure of the service.
exec 2>&1
code=$1 signal=$2 name=$3 group=$4
# What the service started and left behind: it would hold the port, or the log's pipe, for ever.
kill -KILL -- "-$group" 2>/dev/null
if [ "$code" -eq 256 ]; then
  echo "$name was ended by signal $signal"
else
  echo "$name ended with status $code"
fi
failures=$(s6-svdt -n 6 . | grep -c 'exitcode [1-9]')
case $failures in
  0 | 1) ;;
  2 | 3) sleep 0.5 ;;
  *) sleep 2 ;;
esac
s6-permafailon 60 6 1-127,SIGSEGV,SIGABRT,SIGBUS,SIGILL,SIGFPE true
status=$?
if [ "$status" -eq 125 ]; then
  echo "$name failed six times within a minute and stays down; s6-svc -u tries again"
fi
exit "$status"
