"""Which of several changes makes a check fail. Pure but for the check itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def culprits(changes: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """The changes that fail; `changes` as a whole is known to. Several that each fail alone are all
    found; where only a combination fails, that is returned, cut down as far as halving goes.
    """
    if len(changes) < 2:
        return list(changes)
    middle = len(changes) // 2
    halves = (changes[:middle], changes[middle:])
    failing = [half for half in halves if fails(half)]
    if not failing:
        return _together(halves[0], halves[1], fails)
    return [culprit for half in failing for culprit in culprits(half, fails)]


def _together(
    left: Sequence[T], right: Sequence[T], fails: Callable[[Sequence[T]], bool]
) -> list[T]:
    """Neither side fails alone: leave out one change after the other while the rest still fails."""
    needed = [*left, *right]
    for change in [*needed]:
        rest = [other for other in needed if other is not change]
        if len(rest) > 1 and fails(rest):
            needed = rest
    return needed
