"""The one seam to other programs: list arguments, never a shell, interrupts reach the child."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import CommandFailed, MissingTool, TimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: The children whose output is being captured.
_captures: Final[set[subprocess.Popen[bytes]]] = set()
#: Seconds a child gets to end by itself after Ctrl-C, and again after SIGTERM.
GRACE = 10.0


def show(args: Sequence[str]) -> str:
    return console.printable(shlex.join(args))


def run(
    args: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    stdout: int | None = None,
    quiet: bool = False,
) -> None:
    """Run `args` with the user's terminal, its output on stderr; a failure is `CommandFailed`.

    `env` is laid over the environment; None takes a variable out.
    """
    if not quiet:
        console.say(f"$ {show(args)}", "dim")
    with start(args, cwd=cwd, env=env, stdout=2 if stdout is None else stdout) as child:
        status = wait(child)
    if status:
        raise CommandFailed(f"`{show(args)}` failed with status {status}", status=status)


def capture(
    args: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    stdin: bytes = b"",
    timeout: float | None = 60,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run `args` silently and return its output; `check` makes a failure `CommandFailed`."""
    pipe = subprocess.PIPE
    with start(args, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        _captures.add(child)
        try:
            stdout, stderr = child.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise TimedOut(f"`{show(args)}` did not end within {timeout} s") from error
        except BaseException:
            child.kill()  # as `subprocess.run` does
            raise
        finally:
            _captures.discard(child)
    result = subprocess.CompletedProcess(args, child.returncode, stdout, stderr)
    if check and result.returncode:
        output = result.stderr.decode(errors="replace").strip()
        last = console.printable(output.splitlines()[-1]) if output else "no message"
        raise CommandFailed(
            f"`{show(args)}` failed with status {result.returncode}: {last}",
            status=result.returncode,
            output=output,
        )
    return result


def end_captures() -> None:
    """End what other threads `capture` at this moment, so that their threads end."""
    for child in list(_captures):
        child.kill()


def start(
    args: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    start_new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `args`; the caller ends it with `wait` or `stop`."""
    try:
        return subprocess.Popen(
            args,
            cwd=cwd,
            env=_overlay(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=start_new_session,
        )
    except FileNotFoundError as error:
        raise _missing(args, error) from error


def wait(child: subprocess.Popen[bytes]) -> int:
    """The child's status. On an interrupt the child is ended and waited for first."""
    try:
        return child.wait()
    except BaseException:
        stop(child)
        raise


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a child: a terminal's Ctrl-C has reached it already, so first only wait a moment."""
    for signal_it in (None, child.terminate, child.kill):
        if signal_it is not None:
            signal_it()
        try:
            child.wait(timeout=1.0 if signal_it is None else GRACE)
        except subprocess.TimeoutExpired:
            continue
        return


def _overlay(env: Mapping[str, str | None] | None) -> dict[str, str] | None:
    if env is None:
        return None
    return {k: v for k, v in {**os.environ, **env}.items() if v is not None}


def _missing(args: Sequence[str], error: FileNotFoundError) -> MissingTool:
    if error.filename not in {args[0], None}:
        return MissingTool(f"cannot run `{args[0]}` in {error.filename}: no such folder")
    return MissingTool(f"`{args[0]}` is not installed", fix="nox -s doctor says how to get it")
