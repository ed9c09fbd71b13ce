"""The guards over what a release brings along: its dependencies before a bump and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.bump import dependency_tree, guards, semver
from tasks.bump.dependency_tree import DependencyTree
from tasks.bump.registries.model import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.bump.dependency_tree import Replacement, TreeChanges
    from tasks.bump.guards import Guard
    from tasks.bump.registries.package_registries import PackageRegistries
    from tasks.bump.workers import Workers


@dataclass(frozen=True)
class TreeReport:
    """How a bump changes the dependencies of its pin. `risks` hold it back, `notices` are shown."""

    changes: TreeChanges | None = None
    risks: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    unchecked: frozenset[Guard] = frozenset()


@dataclass(frozen=True)
class _Upgrade:
    """One dependency, from one version to another."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class TreeInspector:
    registries: PackageRegistries
    look_ups: Workers

    def inspect(
        self, package: str, old_lock: str | None, new_lock: str, *, with_people: bool
    ) -> TreeReport:
        """Compare the locks of two versions of `package`.

        `with_people`: the registry names publishers and the like, so each upgrade is looked up.
        """
        new_tree = DependencyTree.parse(new_lock, package)
        try:
            old_tree = DependencyTree.parse(old_lock or "", package)
        except ValueError:
            return TreeReport(unchecked=frozenset({"dependencies"}))
        changes = dependency_tree.compare(old_tree, new_tree)
        report = TreeReport(changes, tuple(dependency_tree.find_script_risks(changes)))
        return self._with_people(report, changes) if with_people else report

    def _with_people(self, report: TreeReport, changes: TreeChanges) -> TreeReport:
        """A lost provenance is a risk. New people are common in large trees: they are named."""
        upgrades = [
            upgrade
            for name, replacement in changes.replacements.items()
            for upgrade in _upgrades(name, replacement)
        ]
        risks, notices = list(report.risks), []
        unchecked: set[Guard] = set()
        for upgrade, answer in zip(
            upgrades, self.look_ups.map(self._look_up, upgrades), strict=True
        ):
            if answer is None:
                unchecked.add("dependencies")
                continue
            has_lost_provenance, people = answer
            name = f"its dependency {upgrade.name} {upgrade.new}"
            risks += [f"{name} has lost its provenance"] if has_lost_provenance else []
            notices += [f"{name} {predicate}" for predicate in people]
        return TreeReport(changes, tuple(risks), tuple(notices), frozenset(unchecked))

    def _look_up(self, upgrade: _Upgrade) -> tuple[bool, list[str]] | None:
        """None where the registry does not say enough."""
        try:
            old = self.registries.npm_release(upgrade.name, upgrade.old)
            new = self.registries.npm_release(upgrade.name, upgrade.new)
        except SourceError:
            return None
        if guards.find_unchecked(old, new):
            return None
        return guards.has_lost_provenance(old, new), list(guards.find_new_people(old, new))


def _upgrades(name: str, replacement: Replacement) -> Iterator[_Upgrade]:
    """Each new version, with the newest one that there was before."""
    old_versions = [version for version in replacement.old if semver.is_version(version)]
    if not old_versions:
        return
    old = max(old_versions, key=semver.key)
    for new in sorted(replacement.new - replacement.old):
        yield _Upgrade(name, old, new)
