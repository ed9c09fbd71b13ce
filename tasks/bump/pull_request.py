"""The text of the pull request that proposes a bump. What registries say stays plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.base import markdown
from tasks.base.markdown import plain
from tasks.bump import wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.bump.outcome import Outcome, Survey
    from tasks.bump.registries.model import Release

_HEAD: Final = ["pin", "from", "to", "age", "step", "reason"]
#: Lines of dependencies that are shown without a click.
_OPEN_LINES: Final = 10


def text(survey: Survey, *, verified: bool | None) -> str:
    """GitHub's Markdown. `verified` is None where no verification was asked for."""
    rows = [[plain(cell) for cell in _row(outcome, survey)] for outcome in survey.changes]
    lines = markdown.table(_HEAD, rows).splitlines() if rows else ["Every pin is up to date."]
    for outcome in survey.changes:
        if outcome.moves:
            lines += _section(outcome)
    if notices := list(_notices(survey)):
        lines += ["", "### Notices", "", *notices]
    verdict = {
        None: "Not verified by a build.",
        True: "Verified: the image was built, and the agents start.",
        False: "The verification failed.",
    }[verified]
    lines += ["", f"{verdict} Clock: {survey.time:%Y-%m-%d %H:%M} UTC, {survey.clock}."]
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome, survey: Survey) -> list[str]:
    return [
        outcome.pin.name,
        outcome.version,
        outcome.target if outcome.moves else "=",
        wording.age(outcome.release, survey.time) if outcome.release else "",
        wording.step(outcome) if outcome.moves else "",
        wording.reason(outcome),
    ]


def _section(outcome: Outcome) -> Iterator[str]:
    yield from ("", f"### {outcome.pin.name} {outcome.version} → {outcome.target}", "")
    for release in wording.releases_between(outcome):
        yield f"- {_link(outcome, release)}"
    if not outcome.tree:
        return
    lines = [f"- {plain(line)}" for line in wording.tree_lines(outcome.tree)]
    yield ""
    if len(lines) > _OPEN_LINES:
        summary = f"<summary>{len(lines)} dependencies change</summary>"
        yield from ("<details>", summary, "", *lines, "", "</details>")
    elif lines:
        yield from ("Dependencies:", "", *lines)


def _link(outcome: Outcome, release: Release) -> str:
    date = f", {release.date:%Y-%m-%d}" if release.date else ""
    return f"[{release.text}]({outcome.pin.changelog_of(release.text)}){date}"


def _notices(survey: Survey) -> Iterator[str]:
    for note, is_important in wording.notes(survey):
        yield f"- {'⚠️ ' if is_important else ''}{plain(note)}"
    for outcome in survey.outcomes:
        if note := wording.unchecked_note(outcome):
            yield f"- {plain(note)}"
        if outcome.error:
            yield f"- ⚠️ {outcome.pin.name}: {plain(outcome.error)}"
