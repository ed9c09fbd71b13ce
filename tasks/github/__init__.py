"""What a job of GitHub Actions gets of us: outputs, a summary, log groups, annotations.

Outside of one, all of this does nothing. Standard library only: sessions that run before anything
is installed use it, too. The API is in `rest`.

The runner takes any line of our output that begins with `::name` (or has `##[name]` in it, the
older form) for a command, whoever wrote it: a test, a build, a commit's title. So a session stops
commands first, under a word that nobody else knows, and lets its own through one by one.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.github import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Level = Literal["error", "warning", "notice"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: GitHub takes 1 MiB of a step, and throws a longer summary away as a whole.
MOST: Final = 1_000_000
_CUT: Final = "\n\n(cut: the rest is in the log)\n"

#: The word that lets commands through again, while they are stopped.
_stopped: list[str] = []
#: Set by a session for those that it starts: commands are stopped for them, too, under a word that
#: they do not know. What they print is a part of its log; outputs and summaries are theirs.
_WITHIN: Final = "SANDBOX_WITHIN_SESSION"


def active(environment: Mapping[str, str] = os.environ) -> bool:
    return environment.get("GITHUB_ACTIONS") == "true"


# ── files ───────────────────────────────────────────────────────────────────────────────────


def outputs(**values: object) -> None:
    """Outputs of this step. Missing ones would be taken for empty, so that a failure to write
    them is an error.
    """
    text = "".join(entry(name, markdown.shown(value)) for name, value in values.items())
    path = os.environ.get("GITHUB_OUTPUT", "")
    if not active() or not path:
        return
    try:
        _append(path, text)
    except OSError as error:
        raise TaskError(
            f"GITHUB_OUTPUT cannot be written: {error.strerror}", fix="look at the runner's disk"
        ) from None


def entry(name: str, value: str) -> str:
    """One output as the runner reads it. Nothing in `value` can end it, or begin another one."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"`{name}` cannot name an output")
    end = f"end_{secrets.token_hex(16)}"
    return f"{name}<<{end}\n{value}\n{end}\n"


def summary(text: str) -> None:
    """Markdown for the step's summary. What is foreign in it went through `markdown`."""
    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not active() or not path:
        return
    try:
        there = Path(path).stat().st_size if Path(path).exists() else 0
        room = MOST - there - len(_CUT)
        if len(text.encode(errors="replace")) > room:
            text = text.encode(errors="replace")[: max(room, 0)].decode(errors="ignore") + _CUT
        if there < MOST:
            _append(path, text.rstrip("\n") + "\n\n")
    except OSError as error:
        console.warn(f"the step's summary cannot be written: {error.strerror}")


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(text)


def failed(command: str, *, what: str, fix: str = "", notes: tuple[str, ...] = ()) -> None:
    """Into the summary and beside the workflow's run: what failed, what to do, what still holds."""
    lines = [f"### ✗ {markdown.code(command.replace('-', '_'))} failed", "", markdown.plain(what)]
    if fix:
        lines += ["", f"**What to do:** {markdown.plain(fix)}"]
    lines += [f"\n**{markdown.plain(note)}**" for note in notes]
    summary("\n".join(lines))
    told = f"{what} → {fix}" if fix else what
    annotate("error", "; ".join([told, *notes]), title=f"{command.replace('-', '_')} failed")


# ── the log ─────────────────────────────────────────────────────────────────────────────────


@contextmanager
def quarantine() -> Iterator[None]:
    """While it lasts, nothing that anybody prints is a command, ours aside."""
    if not active() or _WITHIN in os.environ:
        yield
        return
    word = secrets.token_hex(16)
    _say(f"::stop-commands::{word}")
    _stopped.append(word)
    os.environ[_WITHIN] = "1"
    try:
        yield
    finally:
        del os.environ[_WITHIN]
        _stopped.clear()
        _say(f"::{word}::")


@contextmanager
def group(title: str) -> Iterator[None]:
    """Folds what is printed meanwhile. Groups do not nest."""
    _command("group", title)
    try:
        yield
    finally:
        _command("endgroup", "")


def annotate(level: Level, text: str, *, title: str = "") -> None:
    """A line beside the run that people see without opening its log."""
    _command(level, text, title=title)


def _command(name: str, data: str, **properties: str) -> None:
    if not active() or (_WITHIN in os.environ and not _stopped):
        return
    line = command(name, data, **properties)
    if _stopped:
        line = f"::{_stopped[0]}::\n{line}\n::stop-commands::{_stopped[0]}"
    _say(line)


def command(name: str, data: str, **properties: str) -> str:
    """One command as the runner reads it: nothing in its values can end it."""
    given = ",".join(
        f"{key}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
        if value
    )
    return f"::{name}{' ' + given if given else ''}::{_escaped(data)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _say(text: str) -> None:
    # In one write: another thread's line must not come between.
    if sys.stderr is not None:
        sys.stderr.flush()
    console.say(text)
