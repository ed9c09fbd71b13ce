"""The form of `bump_versions -- --json`, schema 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.bump import wording

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tasks.bump.dependency_tree import TreeChanges
    from tasks.bump.outcome import Outcome, Survey


def record(survey: Survey, *, is_written: bool, verified: bool | None) -> dict[str, Any]:
    """`verified` is None where no verification was asked for."""
    return {
        "schema": 1,
        "now": survey.time.isoformat(timespec="seconds"),
        "clock": survey.clock,
        "written": is_written,
        "verified": verified,
        "pins": [_pin(outcome) for outcome in survey.outcomes],
    }


def _pin(outcome: Outcome) -> dict[str, Any]:
    release = outcome.release
    return {
        "pin": outcome.pin.variable,
        "package": outcome.pin.package,
        "from": outcome.version,
        "to": outcome.target,
        "changes": outcome.changes,
        "why": outcome.reason,
        "step": wording.step(outcome) if outcome.moves else "none",
        "published": _date(release.date) if release else None,
        "integrity": dict(release.integrity) if release else None,
        "link": outcome.pin.changelog_of(outcome.target),
        "held": [
            {"version": release.version, "why": release.reason, "until": _date(release.until)}
            for release in outcome.held_releases
        ],
        "notices": list(outcome.notices),
        "unchecked": list(outcome.unchecked_guards),
        "dependencies": _tree(outcome.tree) if outcome.tree else None,
        "error": outcome.error or None,
    }


def _tree(tree: TreeChanges) -> dict[str, Any]:
    def versions(packages: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
        return {name: sorted(packages[name]) for name in packages}

    return {
        "added": versions(tree.additions),
        "removed": versions(tree.removals),
        "replaced": {
            name: {"from": sorted(replacement.old), "to": sorted(replacement.new)}
            for name, replacement in tree.replacements.items()
        },
        "install_scripts": list(tree.new_scripts),
    }


def _date(value: datetime | None) -> str | None:
    return value.isoformat(timespec="seconds") if value else None
