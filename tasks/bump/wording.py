"""How an outcome is put into words, in the terminal and in a pull request alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base import console
from tasks.bump import selection, semver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tasks.bump.dependency_tree import TreeChanges
    from tasks.bump.outcome import Outcome, Survey
    from tasks.bump.registries.model import Release
    from tasks.bump.selection import HeldRelease


def age(release: Release, time: datetime) -> str:
    """`30 d`, or `5 h` on the first day."""
    if release.date is None:
        return "?"
    elapsed = time - release.date
    return f"{elapsed.days} d" if elapsed.days else f"{elapsed.seconds // 3600} h"


def step(outcome: Outcome) -> str:
    """`minor`; `down, major` for an older version."""
    pinned_release = outcome.package.releases.get(outcome.version) if outcome.package else None
    if pinned_release is None or outcome.release is None:
        return ""
    direction = "down, " if outcome.release.key < pinned_release.key else ""
    return direction + semver.step(pinned_release.key, outcome.release.key)


def reason(outcome: Outcome) -> str:
    if outcome.error:
        return "could not be determined"
    if outcome.changes:
        return outcome.reason
    return "nothing newer may be taken" if outcome.held_releases else "up to date"


def unchecked(outcome: Outcome) -> str:
    return ", ".join(outcome.unchecked_guards)


def notes(survey: Survey) -> Iterator[tuple[str, bool]]:
    """Whole sentences that the table has no room for; True for what nobody should overlook."""
    for outcome in survey.outcomes:
        name = outcome.pin.name
        for held_release in outcome.held_releases:
            text = f"{name} {held_release.version} is held back: {_held_reason(held_release)}"
            yield console.printable(text), "--accept" in held_release.reason
        for notice in outcome.notices:
            yield console.printable(f"{name}: {notice}"), True
        if outcome.tree and (parts := list(_tree_parts(outcome.tree))):
            yield console.printable(f"{name} changes its dependencies: {'; '.join(parts)}"), False


def unchecked_note(outcome: Outcome) -> str:
    """A sentence about the guards that could not work; "" where all could."""
    if not outcome.unchecked:
        return ""
    *guards, last = outcome.unchecked_guards
    names = f"{', '.join(guards)} and {last}" if guards else last
    return (
        f"{outcome.pin.name} could not be checked for a change of {names}, because its registry "
        "does not say enough"
    )


def _held_reason(release: HeldRelease) -> str:
    return release.reason + (f", until {release.until:%Y-%m-%d %H:%M} UTC" if release.until else "")


def _tree_parts(tree: TreeChanges) -> Iterator[str]:
    if tree.additions:
        yield f"{len(tree.additions)} new ({_shortened(tree.additions)})"
    if tree.removals:
        yield f"{len(tree.removals)} removed ({_shortened(tree.removals)})"
    if tree.replacements:
        yield f"{len(tree.replacements)} in other versions ({_shortened(tree.replacements)})"


def _shortened(names: Iterable[str]) -> str:
    first, rest = [*names][:5], len([*names]) - 5
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


def tree_lines(tree: TreeChanges) -> Iterator[str]:
    """One line for each package that differs, for instance `left 1.0.0 → 1.0.1`."""
    scripts = dict.fromkeys(tree.new_scripts, ", runs an install script now")
    for name, versions in tree.additions.items():
        yield f"{name} {_versions(versions)} (new{scripts.get(name, '')})"
    for name, replacement in tree.replacements.items():
        change = f"{_versions(replacement.old)} → {_versions(replacement.new)}"
        yield f"{name} {change}{scripts.get(name, '')}"
    for name, versions in tree.removals.items():
        yield f"{name} {_versions(versions)} (removed)"


def _versions(versions: Iterable[str]) -> str:
    return ", ".join(sorted(versions))


def releases_between(outcome: Outcome) -> list[Release]:
    """The releases that a bump brings, newest first; pre-releases only where the bump is one."""
    if outcome.package is None or outcome.release is None:
        return []
    pinned_release, target = outcome.package.releases.get(outcome.version), outcome.release
    if pinned_release is None or pinned_release.key > target.key:
        return [target]
    return [
        release
        for release in selection.newest_first(outcome.package)
        if pinned_release.key < release.key <= target.key
        and release.key.is_prerelease <= target.key.is_prerelease
    ]
