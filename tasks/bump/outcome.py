"""What is to become of each pin: the result of asking the registries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.bump.guards import Guard, in_order

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.bump.dependency_tree import TreeChanges
    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Package, Release
    from tasks.bump.selection import HeldRelease


@dataclass(frozen=True)
class Outcome:
    """What is to become of one pin.

    `release` replaces the pin's version, None when that stays; `error` says why nothing could be
    decided. `unchecked` are guards that the registry gives nothing to work with.
    """

    pin: Pin
    version: str
    release: Release | None = None
    lock: str = ""
    reason: str = ""
    held_releases: tuple[HeldRelease, ...] = ()
    notices: tuple[str, ...] = ()
    error: str = ""
    package: Package | None = None
    unchecked: frozenset[Guard] = frozenset()
    tree: TreeChanges | None = None
    #: The version stays, but its lock file is missing.
    lacks_lock: bool = False

    @property
    def target(self) -> str:
        return self.release.text if self.release else self.version

    @property
    def moves(self) -> bool:
        return self.target != self.version

    @property
    def changes(self) -> bool:
        """Whether anything is to be written: a version, or a lock file that is missing."""
        return self.release is not None and (self.moves or self.lacks_lock)

    @property
    def unchecked_guards(self) -> tuple[Guard, ...]:
        return in_order(self.unchecked)


@dataclass(frozen=True)
class Survey:
    """`time` is what the cool-down goes by, and `clock` says whose it is."""

    outcomes: tuple[Outcome, ...]
    time: datetime
    clock: str

    @property
    def changes(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.changes)

    @property
    def errors(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.error)
