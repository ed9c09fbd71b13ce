"""Which of several changes makes a check fail. Pure but for the check itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def find_culprits(changes: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Which changes fail, of `changes` that fail as a whole. Several that each fail alone are all
    returned; where only a combination fails, that is returned, without what it does not need.
    """
    if len(changes) < 2:
        return list(changes)
    middle = len(changes) // 2
    halves = (changes[:middle], changes[middle:])
    failing = [half for half in halves if fails(half)]
    if not failing:
        return _reduce(changes, fails)
    return [culprit for half in failing for culprit in find_culprits(half, fails)]


def _reduce(changes: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Neither half fails alone: leave out one change after another while the rest still fails."""
    remaining = list(changes)
    for change in [*remaining]:
        rest = [c for c in remaining if c is not change]
        if len(rest) > 1 and fails(rest):
            remaining = rest
    return remaining
