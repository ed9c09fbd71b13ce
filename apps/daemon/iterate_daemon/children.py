"""Short-lived child processes, never in the way of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The daemon's secrets, which no child needs.
_SECRETS: Final = frozenset({"ITERATE_DAEMON_TOKEN", "OPENCODE_SERVER_PASSWORD"})


@dataclass(frozen=True)
class Output:
    status: int
    stdout: str
    stderr: str


async def output(args: Sequence[str], *, seconds: float) -> Output:
    """Run `args` and return what it said.

    Raises OSError when it cannot be run and TimeoutError, with its whole process group killed,
    when it does not end in time.
    """
    child = await asyncio.create_subprocess_exec(
        *args,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k not in _SECRETS},
        # Not the repository: its settings must not change what a tool says of itself.
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await child.communicate()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    return Output(
        child.returncode or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace")
    )
