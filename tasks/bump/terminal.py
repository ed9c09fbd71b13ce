"""What people see of a bump in the terminal: a table, notes, a diff."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.project import DOCKERFILE
from tasks.bump import wording

if TYPE_CHECKING:
    from tasks.bump.outcome import Outcome, Survey

_HEAD: Final = [
    "pin", "from", "to", "age", "step", "reason", "held back", "not checked", "changelog",
]  # fmt: skip


def show(survey: Survey) -> None:
    """Print the table, what it has no room for, and whose clock was used."""
    rows = [list(map(console.printable, _row(outcome, survey))) for outcome in survey.outcomes]
    console.say(console.table(rows, _HEAD))
    for text, is_important in wording.notes(survey):
        if is_important:
            console.warn(text)
        else:
            console.say(f"  {text}", "dim")
    console.say(f"  {survey.time:%Y-%m-%d %H:%M} UTC by {survey.clock}", "dim")


def _row(outcome: Outcome, survey: Survey) -> list[str]:
    pin, release = outcome.pin, outcome.release
    target = outcome.target if outcome.moves else "="
    return [
        pin.name,
        outcome.version,
        "?" if outcome.error else target,
        wording.age(release, survey.time) if release and outcome.changes else "",
        wording.step(outcome) if outcome.moves else "",
        wording.reason(outcome),
        _held_briefly(outcome),
        wording.unchecked(outcome),
        pin.changelog_of(outcome.target) if outcome.moves else "",
    ]


def _held_briefly(outcome: Outcome) -> str:
    if not outcome.held_releases:
        return ""
    first, *rest = outcome.held_releases
    until = f" until {first.until:%m-%d %H:%M}" if first.until else ""
    remainder = f" and {len(rest)} more" if rest else ""
    return f"{first.version}{until}{remainder}"


def show_diff(old: str, new: str) -> None:
    """A unified diff of two Dockerfiles, in colour."""
    lines = difflib.unified_diff(
        old.split("\n"), new.split("\n"), f"a/{DOCKERFILE}", f"b/{DOCKERFILE}", lineterm=""
    )
    for line in lines:
        text = console.printable(line.rstrip("\r"))
        if text.startswith(("---", "+++")):
            console.say(text, "bold")
        elif text.startswith("@@"):
            console.say(text, "blue")
        elif text.startswith("-"):
            console.say(text, "red")
        else:
            console.say(text, "green" if text.startswith("+") else None)
