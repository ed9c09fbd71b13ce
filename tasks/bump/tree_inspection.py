"""The guards over what a release brings along: its dependencies before a bump and after it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tasks.bump import dependency_tree, guards, semver
from tasks.bump.dependency_tree import DependencyTree
from tasks.bump.registries.model import SourceError
from tasks.bump.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.bump.dependency_tree import TreeChanges
    from tasks.bump.guards import Guard
    from tasks.bump.registries.package_registries import PackageRegistries


@dataclass(frozen=True)
class TreeReport:
    """How a bump changes the dependencies of its pin. `risks` hold it back, `notices` are shown."""

    changes: TreeChanges | None = None
    risks: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    unchecked: frozenset[Guard] = frozenset()


class _Upgrade(NamedTuple):
    """One dependency, from one version to another."""

    name: str
    old: str
    new: str


def inspect(
    registries: PackageRegistries, package: str, old_lock: str | None, new_lock: str,
    *, with_people: bool,
) -> TreeReport:  # fmt: skip
    """Compare the locks of two versions of `package`.

    `with_people`: the registry names publishers and the like, so each upgrade is looked up. A lost
    provenance is a risk then; new people are common in large trees, so they are only named.
    """
    new_tree = DependencyTree.parse(new_lock, package)
    try:
        old_tree = DependencyTree.parse(old_lock or "", package)
    except ValueError:
        return TreeReport(unchecked=frozenset({"dependencies"}))
    changes = dependency_tree.compare(old_tree, new_tree)
    risks, notices = list(dependency_tree.find_script_risks(changes)), []
    unchecked: set[Guard] = set()
    upgrades = list(_upgrades(changes)) if with_people else []
    answers = in_threads(partial(_look_up, registries), upgrades)
    for upgrade, answer in zip(upgrades, answers, strict=True):
        if answer is None:
            unchecked.add("dependencies")
            continue
        has_lost_provenance, people = answer
        name = f"its dependency {upgrade.name} {upgrade.new}"
        risks += [f"{name} has lost its provenance"] if has_lost_provenance else []
        notices += [f"{name} {predicate}" for predicate in people]
    return TreeReport(changes, tuple(risks), tuple(notices), frozenset(unchecked))


def _look_up(registries: PackageRegistries, upgrade: _Upgrade) -> tuple[bool, list[str]] | None:
    """Whether provenance is lost, and new people; None where the registry does not say enough."""
    try:
        old = registries.npm_release(upgrade.name, upgrade.old)
        new = registries.npm_release(upgrade.name, upgrade.new)
    except SourceError:
        return None
    if guards.find_unchecked(old, new):
        return None
    return guards.has_lost_provenance(old, new), list(guards.find_new_people(old, new))


def _upgrades(changes: TreeChanges) -> Iterator[_Upgrade]:
    """Each new version, with the newest one that there was before."""
    for name, replacement in changes.replacements.items():
        old_versions = [version for version in replacement.old if semver.is_version(version)]
        for new in sorted(replacement.new - replacement.old) if old_versions else []:
            yield _Upgrade(name, max(old_versions, key=semver.key), new)
