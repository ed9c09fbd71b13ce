"""Texts that a slow regular expression fears: they repeat each part of it, then fail."""

from __future__ import annotations

from re import _constants as op  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final

from tests.support.regex_work import members_include, parse

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

#: Of many alternatives, or characters of a class, as many are paired.
_FEW: Final = 3
#: A repetition's least count, as far as it is followed.
_LONGEST: Final = 80
_REPEATS: Final = frozenset({op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT})


def attacks(pattern: re.Pattern[Any], *lengths: int) -> Iterator[tuple[str, ...]]:
    """Texts that repeat each part of the pattern, after what leads there: what slow ones fear. Each
    comes in the given lengths.
    """
    tree = parse(pattern)
    seen: set[tuple[str, str, str]] = set()
    for lead, nodes in _sequences(list(tree), ""):
        for at, node in enumerate(nodes):
            lead_in, remainder = lead + _sample(nodes[:at]), _sample(nodes[at + 1 :])
            units = {*_units(node), lead_in + _sample([node]), _sample(nodes[: at + 1])} - {""}
            for unit in sorted(units):
                for parts in (
                    ("", unit, remainder),
                    (lead_in, unit, "\0"),
                    (lead_in, unit, remainder),
                ):
                    if parts not in seen:
                        seen.add(parts)
                        yield tuple(_pumped(*parts, length) for length in lengths)


def _pumped(lead_in: str, unit: str, remainder: str, length: int) -> str:
    return lead_in + unit * max(1, length // len(unit)) + remainder


def _sequences(nodes: list[Any], lead: str) -> Iterator[tuple[str, list[Any]]]:
    """Every sequence within the tree, with a text that leads there."""
    yield lead, nodes
    for at, (kind, value) in enumerate(nodes):
        lead_in = lead + _sample(nodes[:at])
        if kind is op.SUBPATTERN:
            yield from _sequences(list(value[3]), lead_in)
        elif kind is op.BRANCH:
            for branch in value[1]:
                yield from _sequences(list(branch), lead_in)
        elif kind in _REPEATS:
            yield from _sequences(list(value[2]), lead_in)
        elif kind is op.ATOMIC_GROUP:
            yield from _sequences(list(value), lead_in)


def _sample(nodes: list[Any]) -> str:
    """A short text that the nodes match; a repetition stands there once."""
    return "".join(_sample_of(kind, value) for kind, value in nodes)


def _sample_of(kind: Any, value: Any) -> str:
    if kind in {op.ANY, op.NOT_LITERAL}:
        return "a" if value != ord("a") else "b"
    if kind is op.IN:
        return next(iter(_members(value)), "")
    if kind in _REPEATS:
        return _sample(list(value[2])) * max(1, min(int(value[0]), _LONGEST))
    bodies = {op.SUBPATTERN: lambda: value[3], op.BRANCH: lambda: value[1][0],
              op.ATOMIC_GROUP: lambda: value}  # fmt: skip
    if kind in bodies:
        return _sample(list(bodies[kind]()))
    return chr(value) if kind is op.LITERAL else ""


def _units(node: Any) -> set[str]:
    """What may be repeated for a node: a sample, and each kind of character that it takes."""
    kind, value = node
    units = {_sample_of(kind, value)}
    if kind in _REPEATS:
        body = list(value[2])
        units |= {_sample(body)}
        if len(body) == 1:
            units |= _units(body[0])
        else:
            units |= {_sample(body[:at] + body[at + 1 :]) for at in range(len(body))}
    elif kind is op.SUBPATTERN:
        units |= {unit for inner in value[3] for unit in _units(inner)}
    elif kind is op.BRANCH:
        samples = [_sample(list(branch)) for branch in value[1][:_FEW]]
        units |= {*samples, *(a + b for a in samples for b in samples)}
    elif kind is op.IN:
        units |= set(_members(value))
        members = list(_members(value))
        units |= {a + b for a in members[:_FEW] for b in members[-_FEW:]}
    elif kind is op.ANY:
        units |= {"a", " ", '"'}
    return units


def _members(items: list[Any]) -> Iterator[str]:
    """Some characters of a class, one of each kind."""
    for c in "aA0-_.:/ \n\"'@=+~$%{}<>()[],;#*\\|!?^&":
        if members_include(c, items, 0):
            yield c
    for kind, value in items:
        if kind is op.LITERAL and items[0][0] is not op.NEGATE:
            yield chr(value)
