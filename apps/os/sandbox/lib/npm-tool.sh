#!/bin/sh
# npm-tool.sh NAME PACKAGE PIN: install PACKAGE at the version in /pins/PIN into /opt/NAME,
# its commands in /opt/NAME/bin, and keep one copy of each binary.
set -eu
# shellcheck source=ca.sh
. /usr/local/lib/sandbox/ca.sh
prefix=/opt/$1
version=$(cat "/pins/$3")
npm install --global --prefix "$prefix" --no-audit --no-fund --no-update-notifier --loglevel=error \
  "$2@$version"
# Twins of the same program for other processors and C libraries.
find "$prefix" -depth -type d \( -name '*-baseline' -o -name '*-musl' \) -path '*/node_modules/*' \
  -exec rm -rf {} +
# Packages hard-link their binary under several names, which a layer would store several times.
find "$prefix" -type f -links +1 -size +1M -printf '%i %p\n' | sort -n |
  while read -r inode path; do
    if [ "$inode" = "${last:-}" ]; then
      ln -sf "$(realpath --relative-to="$(dirname "$path")" "$first")" "$path"
    else
      last=$inode first=$path
    fi
  done
