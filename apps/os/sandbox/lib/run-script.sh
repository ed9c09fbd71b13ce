#!/bin/bash
# Stands where s6 looks for a script of a service, if /run cannot hold programs (noexec): runs the
# script beside it as the kernel would.
IFS= read -r line <"$0.script"
read -ra interpreter <<<"${line#\#!}"
exec "${interpreter[@]}" "$0.script" "$@"
