"""What a survey says to people (a table, a diff, a pull request's text) and to machines."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from tasks.base import console
from tasks.base.markdown import plain
from tasks.base.markdown import table as table_of
from tasks.base.project import DOCKERFILE
from tasks.bump import policy, semver

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.bump.policy import Held
    from tasks.bump.registries.model import Release
    from tasks.bump.survey import Outcome, Survey

_HEAD = ["pin", "from", "to", "age", "step", "why", "held back", "changes"]


def table(survey: Survey) -> str:
    return console.table([_row(outcome, survey.now) for outcome in survey.outcomes], _HEAD)


def _row(outcome: Outcome, now: datetime) -> list[str]:
    pin = outcome.pin
    if outcome.error:
        return [pin.name, outcome.version, "?", "", "", "could not find out", "", ""]
    release = outcome.release if outcome.changes else None
    return [
        pin.name,
        outcome.version,
        outcome.target if outcome.moves else "=",
        age(release, now) if release else "",
        step(outcome) if outcome.moves else "",
        outcome.why if outcome.changes else _why_not(outcome),
        _held_briefly(outcome),
        pin.changes_in(outcome.target) if outcome.moves else "",
    ]


def _why_not(outcome: Outcome) -> str:
    return "nothing newer may be taken" if outcome.held else "up to date"


def _held_briefly(outcome: Outcome) -> str:
    if not outcome.held:
        return ""
    first, *others = outcome.held
    until = f" until {first.until:%m-%d %H:%M}" if first.until else ""
    more = f" and {len(others)} more" if others else ""
    return f"{first.version}{until}{more}"


def age(release: Release, now: datetime) -> str:
    if release.published is None:
        return "?"
    passed = now - release.published
    return f"{passed.days} d" if passed.days else f"{passed.seconds // 3600} h"


def step(outcome: Outcome) -> str:
    here = outcome.package.releases.get(outcome.version) if outcome.package else None
    if here is None or outcome.release is None:
        return ""
    down = outcome.release.key < here.key
    return ("down, " if down else "") + semver.step(here.key, outcome.release.key)


def notes(survey: Survey) -> list[tuple[str, bool]]:
    """What the table has no room for; True for what must not be overlooked."""
    found: list[tuple[str, bool]] = []
    for outcome in survey.outcomes:
        for held in outcome.held:
            text = f"{outcome.pin.name} {held.version} is held back: {_held(held)}"
            found.append((text, "--accept" in held.why))
        found += [(f"{outcome.pin.name}: {notice}", True) for notice in outcome.notices]
    return [(console.printable(text), loud) for text, loud in found]


def _held(held: Held) -> str:
    return held.why + (f", until {held.until:%Y-%m-%d %H:%M} UTC" if held.until else "")


def diff(old: str, new: str, name: str = DOCKERFILE) -> list[str]:
    """A unified diff, one entry a line; line ends are shown as nothing, whatever they are."""
    lines = difflib.unified_diff(
        old.split("\n"), new.split("\n"), f"a/{name}", f"b/{name}", lineterm=""
    )
    return [line.rstrip("\r") for line in lines]


def show_diff(old: str, new: str) -> None:
    for line in diff(old, new):
        text = console.printable(line)
        if line.startswith(("---", "+++")):
            console.say(text, "bold")
        elif line.startswith("@@"):
            console.say(text, "blue")
        else:
            console.say(text, {"-": "red", "+": "green"}.get(line[:1]))  # type: ignore[arg-type]


def record(survey: Survey, *, written: bool, verified: bool | None) -> dict[str, Any]:
    """The form of `--json`."""
    return {
        "schema": 1,
        "now": survey.now.isoformat(timespec="seconds"),
        "clock": survey.clock,
        "written": written,
        "verified": verified,
        "pins": [_record(outcome) for outcome in survey.outcomes],
    }


def _record(outcome: Outcome) -> dict[str, Any]:
    release = outcome.release
    return {
        "pin": outcome.pin.variable,
        "package": outcome.pin.package,
        "from": outcome.version,
        "to": outcome.target,
        "changes": outcome.changes,
        "why": outcome.why,
        "step": step(outcome) if outcome.moves else "none",
        "published": _date(release.published) if release else None,
        "integrity": dict(release.integrity) if release else None,
        "link": outcome.pin.changes_in(outcome.target),
        "held": [
            {"version": h.version, "why": h.why, "until": _date(h.until)} for h in outcome.held
        ],
        "notices": list(outcome.notices),
        "error": outcome.error or None,
    }


def _date(value: datetime | None) -> str | None:
    return value.isoformat(timespec="seconds") if value else None


def markdown(survey: Survey, *, verified: bool | None) -> str:
    """The body of a pull request."""
    rows = [list(map(plain, _row(outcome, survey.now)[:6])) for outcome in survey.changes]
    lines = table_of(_HEAD[:6], rows).splitlines() if rows else ["Every pin is up to date."]
    for outcome in survey.changes:
        if outcome.moves:
            lines += ["", f"### {outcome.pin.name} {outcome.version} → {outcome.target}", ""]
            lines += [f"- {_version(outcome, release)}" for release in between(outcome)]
    told = notes(survey)
    if told or survey.errors:
        lines += ["", "### Notices", ""]
        lines += [f"- {'⚠️ ' if loud else ''}{plain(text)}" for text, loud in told]
        lines += [f"- ⚠️ {o.pin.name}: {plain(o.error)}" for o in survey.errors]
    checked = {None: "Not verified by a build.", True: "Verified: built, and the agents start.",
               False: "The verification failed."}[verified]  # fmt: skip
    lines += ["", f"{checked} Clock: {survey.now:%Y-%m-%d %H:%M} UTC, {survey.clock}."]
    return "\n".join(lines) + "\n"


def between(outcome: Outcome) -> list[Release]:
    """The releases that a bump brings, newest first; pre-releases only for one who gets them."""
    if outcome.package is None or outcome.release is None:
        return []
    here = outcome.package.releases.get(outcome.version)
    if here is None or here.key > outcome.release.key:
        return [outcome.release]
    there = sorted(outcome.package.releases.values(), key=policy.order, reverse=True)
    top = outcome.release
    return [
        release
        for release in there
        if here.key < release.key <= top.key
        and (release.key.is_prerelease <= top.key.is_prerelease)
    ]


def _version(outcome: Outcome, release: Release) -> str:
    date = f", {release.published:%Y-%m-%d}" if release.published else ""
    return f"[{release.text}]({outcome.pin.changes_in(release.text)}){date}"
