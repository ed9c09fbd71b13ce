"""What a job of GitHub Actions receives from us: outputs, a summary, log groups, annotations.

Outside of a job these functions do nothing. They need the standard library only, because commands
that run before anything is installed use them, too. The REST API is in `rest`.

The runner takes any line of our output that begins with `::name` for a command (the older form is
`##[name]`, anywhere in a line), whoever wrote it: a test, a build, the title of a commit. So a
command of ours first stops all workflow commands, under a word that nobody else knows, and lets
its own commands through one by one.
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

from tasks.base import ci, console, markdown
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

Level = Literal["error", "warning", "notice"]

_OUTPUT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: Bytes. GitHub accepts 1 MiB per step, and discards a longer summary as a whole.
SUMMARY_LIMIT: Final = 1_000_000
_CUT_NOTE: Final = "\n\n(cut: the rest is in the log)\n"

#: The word that ends the stop of workflow commands, while they are stopped.
_stop_words: list[str] = []
#: Set by a command for the commands that it starts. Workflow commands are stopped for those as
#: well, under a word that they do not know, so that they write none; what they print is a part of
#: the outer log. Outputs and summaries they write as usual.
NESTED: Final = "SANDBOX_WITHIN_SESSION"


# ── files ───────────────────────────────────────────────────────────────────────────────────


def write_outputs(**values: object) -> None:
    """Set outputs of this step. GitHub takes a missing output for an empty one, so a file that
    cannot be written is an error (`TaskError`).
    """
    text = "".join(format_output(name, markdown.scalar(value)) for name, value in values.items())
    path = os.environ.get("GITHUB_OUTPUT", "")
    if not ci.is_github_job() or not path:
        return
    try:
        _append(path, text)
    except OSError as error:
        raise TaskError(
            f"GITHUB_OUTPUT cannot be written: {error.strerror}", fix="look at the runner's disk"
        ) from None


def format_output(name: str, value: str) -> str:
    """One output as the runner reads it. Nothing in `value` can end it or begin another one."""
    if not _OUTPUT_NAME.fullmatch(name):
        raise ValueError(f"`{name}` cannot name an output")
    delimiter = f"end_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def write_summary(text: str) -> None:
    """Append Markdown to the step's summary. Foreign text in it has gone through `markdown`."""
    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not ci.is_github_job() or not path:
        return
    try:
        size = Path(path).stat().st_size if Path(path).exists() else 0
        room = SUMMARY_LIMIT - size - len(_CUT_NOTE)
        data = text.encode(errors="replace")
        if len(data) > room:
            text = data[: max(room, 0)].decode(errors="ignore") + _CUT_NOTE
        if size < SUMMARY_LIMIT:
            _append(path, text.rstrip("\n") + "\n\n")
    except OSError as error:
        console.warn(f"the step's summary cannot be written: {error.strerror}")


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(text)


def report_failure(
    command: str, *, problem: str, fix: str = "", notes: tuple[str, ...] = ()
) -> None:
    """Write into the summary and beside the run what failed, what to do, and what still holds."""
    title = f"{command} failed"
    lines = [f"### ✗ {markdown.code(command)} failed", "", markdown.plain(problem)]
    if fix:
        lines += ["", f"**What to do:** {markdown.plain(fix)}"]
    lines += [f"\n**{markdown.plain(note)}**" for note in notes]
    write_summary("\n".join(lines))
    annotate("error", "; ".join([f"{problem} → {fix}" if fix else problem, *notes]), title=title)


# ── the log ─────────────────────────────────────────────────────────────────────────────────


@contextmanager
def quarantine() -> Iterator[None]:
    """While this lasts, no printed line is a workflow command, except for ours."""
    if not ci.is_github_job() or NESTED in os.environ:
        yield
        return
    word = secrets.token_hex(16)
    _print(f"::stop-commands::{word}")
    _stop_words.append(word)
    os.environ[NESTED] = "1"
    try:
        yield
    finally:
        del os.environ[NESTED]
        _stop_words.clear()
        _print(f"::{word}::")


@contextmanager
def log_group(title: str) -> Iterator[None]:
    """Fold what is printed while this lasts. Groups do not nest."""
    _issue("group", title)
    try:
        yield
    finally:
        _issue("endgroup", "")


def annotate(level: Level, text: str, *, title: str = "") -> None:
    """Show a line beside the run, for people who do not open its log."""
    _issue(level, text, title=title)


def _issue(name: str, data: str, **properties: str) -> None:
    if not ci.is_github_job() or (NESTED in os.environ and not _stop_words):
        return
    line = format_command(name, data, **properties)
    if _stop_words:
        line = f"::{_stop_words[0]}::\n{line}\n::stop-commands::{_stop_words[0]}"
    _print(line)


def format_command(name: str, data: str, **properties: str) -> str:
    """One workflow command as the runner reads it: nothing in its values can end it."""
    pairs = ",".join(
        f"{key}={_escape(value).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
        if value
    )
    return f"::{name}{' ' + pairs if pairs else ''}::{_escape(data)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _print(text: str) -> None:
    # In one write, so that no line of another thread comes between.
    if sys.stderr is not None:
        sys.stderr.flush()
    console.say(text)
