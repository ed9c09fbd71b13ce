"""Ending a command in a sandbox with all that it has started, whatever those processes have become.

Every process that one `exec` starts inherits a variable with a mark in its environment. Those that
have it are killed with all their descendants: `sudo` drops the variable.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.sandbox.values import ExecResult

VARIABLE: Final = "ITERATE_EXEC"
#: $1: the mark. Prints the processes that carry it.
_LIST: Final = """
for environ in /proc/[0-9]*/environ; do
  if grep -qzx "$1" "$environ" 2>/dev/null; then p=${environ#/proc/}; echo "${p%/environ}"; fi
done
"""
#: $1: the mark; the rest: processes that carry it. Kills all, with their descendants.
_KILL: Final = f"""
marked=$(echo $({_LIST}))  # on one line, as awk wants it
shift
grep -s ^PPid: /proc/[0-9]*/status | awk -F '[/:\t]+' -v marked="$marked $*" '
  BEGIN {{ n = split(marked, m, " "); for (i = 1; i <= n; i++) doomed[m[i]] = 1 }}
  {{ parent[$3] = $6 }}
  END {{
    do {{
      more = 0
      for (p in parent) if (!(p in doomed) && parent[p] in doomed) {{ doomed[p] = 1; more = 1 }}
    }} while (more)
    for (p in doomed) print p
  }}' | xargs -r kill -9 2>/dev/null
"""


def new_mark() -> str:
    return uuid.uuid4().hex


def kill(mark: str, user: str, run: Callable[[list[str], str], ExecResult]) -> None:
    """Kill what carries `mark`. `run(arguments, user)` runs a command in the sandbox."""
    arguments = [f"{VARIABLE}={mark}"]
    # First as the user: root without CAP_SYS_PTRACE cannot look into the processes of others.
    for name, script in ((user, _LIST), ("root", _KILL)):
        with suppress(TaskError):  # a sandbox that has ended runs nothing any more
            arguments += run(["sh", "-c", script, "sh", *arguments], name).stdout.split()
