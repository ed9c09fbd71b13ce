#!/bin/bash
# service-log.sh NAME: each line of a service goes on to `docker logs`, then with its time into
# /var/log/NAME: a current file and rotated ones of a megabyte at most, eleven megabytes in all.
# Their number is no bound: each SIGKILL leaves a small one, and must not cost what was written
# before. A folder that cannot be written costs the files only.
exec 2>&1
folder=/var/log/$1
if [ -w "$folder" ] && { [ ! -e "$folder/current" ] || [ -w "$folder/current" ]; }; then
  exec s6-log -b p"$1: " 1 p n1000 s1000000 S11000000 T "$folder"
fi
exec s6-log -b p"$1: " 1
