"""What a pin brings along: the tree of packages in its lock, and how a bump changes that.

Pure: lock texts in, data out. The locks are npm's, version 3:
"package-lock.json" in the documentation of npm 11.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.base.parsing import parse_json
from tasks.bump.registries.model import mapping, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Dependency:
    """One package of a tree, which may hold several versions of it.

    `scripted` are those versions that run a script where they are installed.
    """

    name: str
    versions: frozenset[str]
    scripted: frozenset[str]


@dataclass(frozen=True)
class DependencyTree:
    """All packages but the pin's own, by name."""

    packages: Mapping[str, Dependency]

    @classmethod
    def parse(cls, lock: str, package: str) -> DependencyTree:
        """The tree below `package`. Raises ValueError for a text that is not a lock of npm's."""
        try:
            entries = dict(parse_json(lock)["packages"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError("not a lock file of npm") from error
        if "" not in entries:
            raise ValueError("a lock file without the package that it is for")
        versions: dict[str, set[str]] = defaultdict(set)
        scripted: dict[str, set[str]] = defaultdict(set)
        for place, entry in entries.items():
            name = _package_name(place, mapping(entry))
            if not place or place == f"node_modules/{package}":
                continue
            version = text(mapping(entry).get("version"))
            versions[name].add(version)
            if mapping(entry).get("hasInstallScript"):
                scripted[name].add(version)
        return cls({
            name: Dependency(name, frozenset(versions[name]), frozenset(scripted[name]))
            for name in sorted(versions)
        })  # fmt: skip


def _package_name(place: str, entry: Mapping[str, Any]) -> str:
    """An alias has its package's real name in the entry."""
    return text(entry.get("name")) or place.rpartition("node_modules/")[2]


@dataclass(frozen=True)
class Replacement:
    """The versions of one package, before and after a bump."""

    old: frozenset[str]
    new: frozenset[str]


@dataclass(frozen=True)
class TreeChanges:
    """How a tree differs from another: packages by name, with their versions.

    `new_scripts` are packages that run a script at installation and did not before, or are new.
    """

    additions: Mapping[str, frozenset[str]]
    removals: Mapping[str, frozenset[str]]
    replacements: Mapping[str, Replacement]
    new_scripts: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.additions or self.removals or self.replacements or self.new_scripts)


def compare(old: DependencyTree, new: DependencyTree) -> TreeChanges:
    old_names, new_names = old.packages.keys(), new.packages.keys()
    shared = {
        name: Replacement(old.packages[name].versions, new.packages[name].versions)
        for name in sorted(old_names & new_names)
    }
    return TreeChanges(
        additions={name: new.packages[name].versions for name in sorted(new_names - old_names)},
        removals={name: old.packages[name].versions for name in sorted(old_names - new_names)},
        replacements={name: pair for name, pair in shared.items() if pair.old != pair.new},
        new_scripts=tuple(
            name
            for name, dependency in new.packages.items()
            if _gains_script(old.packages.get(name), dependency)
        ),
    )


def _gains_script(old: Dependency | None, new: Dependency) -> bool:
    """Whether a version is new that runs a script, of a package with versions that run none."""
    if old is None:
        return bool(new.scripted)
    return bool(new.scripted - old.versions) and old.versions != old.scripted


def find_script_risks(changes: TreeChanges) -> Iterator[str]:
    for name in changes.new_scripts:
        if name in changes.additions:
            versions = ", ".join(sorted(changes.additions[name]))
            yield f"its new dependency {name} {versions} runs an install script"
        else:
            yield f"its dependency {name} runs an install script now"
