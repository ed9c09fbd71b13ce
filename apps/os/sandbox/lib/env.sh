# shellcheck shell=sh
# Sourced by login shells and by agent.sh, which names the agent in $_agent: certificates, what
# ~/.iterate/.env sets, where things are.
# shellcheck source=ca.sh
. /usr/local/lib/sandbox/ca.sh
_environment=$(
  /usr/bin/python3 -I -S /usr/local/lib/sandbox/environment.py shell ${_agent:+"$_agent"}
) && eval "$_environment"
unset _environment
