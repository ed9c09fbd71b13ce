"""What a stolen account or a broken pipeline would look like in a new release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.bump.registries.model import Release

#: `dependencies`: the same for what a release brings along.
Guard = Literal["provenance", "install scripts", "maintainers", "publisher", "dependencies"]

#: In the order in which they are named to people.
GUARDS: Final[tuple[Guard, ...]] = (
    "provenance", "install scripts", "maintainers", "publisher", "dependencies",
)  # fmt: skip


def find_risks(old: Release, new: Release) -> Iterator[str]:
    """What is suspicious about `new` after `old`, of the same package, as predicates: `has …`."""
    if has_lost_provenance(old, new):
        yield "has lost its provenance"
    if scripts := new.scripts - old.scripts:
        yield f"runs a new install script ({', '.join(sorted(scripts))})"
    yield from find_new_people(old, new)


def has_lost_provenance(old: Release, new: Release) -> bool:
    return bool(old.provenance) and new.provenance is False


def find_new_people(old: Release, new: Release) -> Iterator[str]:
    """Maintainers and a publisher that `old` did not have, as predicates."""
    if old.maintainers is not None and new.maintainers is not None:
        maintainers = new.maintainers - old.maintainers
        if maintainers:
            yield f"has a new maintainer ({', '.join(sorted(maintainers))})"
    people = {old.publisher, *(old.maintainers or ())} - {None}
    if new.publisher and old.publisher and new.publisher not in people:
        yield f"was published by somebody new ({new.publisher})"


def find_unchecked(old: Release | None, new: Release) -> frozenset[Guard]:
    """The guards that cannot work, since the registry does not say what they compare."""
    if old is None:
        return frozenset({"provenance", "install scripts", "maintainers", "publisher"})
    unchecked: set[Guard] = set()
    if old.provenance is None or (old.provenance and new.provenance is None):
        unchecked.add("provenance")
    if old.maintainers is None or new.maintainers is None:
        unchecked.add("maintainers")
    if old.publisher is None or new.publisher is None:
        unchecked.add("publisher")
    return frozenset(unchecked)


def in_order(unchecked: frozenset[Guard]) -> tuple[Guard, ...]:
    return tuple(guard for guard in GUARDS if guard in unchecked)
