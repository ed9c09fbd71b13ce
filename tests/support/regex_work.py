"""How much work a regular expression makes: counted, not timed, so that a busy machine cannot lie.

Python's matcher tells nobody its steps. This one walks the same tree (`re._parser`) in the same
order, backtracking as Python's does, and counts each character that is looked at. It leaves out
Python's shortcuts, such as the search for a literal beginning, so it counts too much, never too
little.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import partial
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    Rest = Callable[[int], int | None]

#: `search` tries each position, and goes on after each match, as `sub` and `finditer` do.
Mode = Literal["search", "match", "fullmatch"]
#: No pattern that ends sooner makes more work than a long text may.
BOUNDED: Final = 600
#: Calls of Python's for one character at most.
_FRAMES: Final = 12
_SINGLE: Final = frozenset({op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN})
_CATEGORIES: Final = {
    "DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w",
    "NOT_WORD": r"\W",
}  # fmt: skip


class TooMuch(Exception):
    """The limit of steps is reached."""


def _takes(kind: Any, value: Any, c: str, flags: int) -> bool:
    if kind is op.ANY:
        return bool(flags & re.DOTALL) or c != "\n"
    if kind is op.IN:
        return members_include(c, value, flags)
    equal = c == chr(value) or (bool(flags & re.IGNORECASE) and c.lower() == chr(value).lower())
    return equal == (kind is op.LITERAL)


def members_include(c: str, items: list[Any], flags: int) -> bool:
    negated = bool(items) and items[0][0] is op.NEGATE
    spellings = {c, c.lower(), c.upper()} if flags & re.IGNORECASE else {c}
    return negated != any(_fits(spelling, item, flags) for item in items for spelling in spellings)


def _fits(c: str, item: tuple[Any, Any], flags: int) -> bool:
    kind, value = item
    if kind is op.LITERAL:
        return c == chr(value)
    if kind is op.RANGE:
        return bool(value[0] <= ord(c) <= value[1])
    if kind is op.CATEGORY:
        name = str(value).removeprefix("CATEGORY_")
        return re.match(_CATEGORIES[name], c, flags & re.ASCII) is not None
    return False


@dataclass
class Counter:
    """One run over `text`; `steps` grows with each character looked at."""

    text: str
    flags: int
    limit: int
    steps: int = 0
    groups: dict[int, tuple[int, int]] = field(default_factory=dict)
    classes: dict[Any, frozenset[str]] = field(default_factory=dict)

    def step(self) -> None:
        self.steps += 1
        if self.steps > self.limit:
            raise TooMuch

    # Each of these gives the end of the whole match, or None: `rest` matches what comes after.

    def sequence(self, nodes: list[Any], at: int, rest: Rest, begin: int = 0) -> int | None:
        """Match `nodes` from the one at `begin` on."""
        while begin < len(nodes):
            kind, value = nodes[begin]
            begin += 1
            members = self._members(kind, value)
            if members is None:
                following = partial(self._sequence_after, nodes, begin, rest)
                return self._node(kind, value, at, following)
            self.step()
            if at >= len(self.text) or self.text[at] not in members:
                return None
            at += 1
        return rest(at)

    def _sequence_after(self, nodes: list[Any], begin: int, rest: Rest, at: int) -> int | None:
        return self.sequence(nodes, at, rest, begin)

    def _members(self, kind: Any, value: Any) -> frozenset[str] | None:
        """Of a node that takes exactly one character, those of the text that it takes."""
        if kind not in _SINGLE:
            return None
        key = (kind, id(value) if kind is op.IN else value, self.flags)
        if key not in self.classes:
            fitting = (c for c in set(self.text) if _takes(kind, value, c, self.flags))
            self.classes[key] = frozenset(fitting)
        return self.classes[key]

    def _node(self, kind: Any, value: Any, at: int, rest: Rest) -> int | None:
        if kind in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}:
            return self._repeat(kind, value, at, rest)
        if kind in {op.ASSERT, op.ASSERT_NOT}:
            return self._assertion(kind, value, at, rest)
        methods = {op.AT: self._place, op.BRANCH: self._branch, op.SUBPATTERN: self._group,
                   op.ATOMIC_GROUP: self._atom, op.GROUPREF: self._reference}  # fmt: skip
        return methods[kind](value, at, rest)

    def _place(self, value: Any, at: int, rest: Rest) -> int | None:
        self.step()
        return rest(at) if self._at(value, at) else None

    def _branch(self, value: Any, at: int, rest: Rest) -> int | None:
        ends = (self.sequence(list(branch), at, rest) for branch in value[1])
        return next((end for end in ends if end is not None), None)

    def _atom(self, value: Any, at: int, rest: Rest) -> int | None:
        inner = self.sequence(list(value), at, lambda end: end)
        return None if inner is None else rest(inner)

    def _reference(self, value: Any, at: int, rest: Rest) -> int | None:
        self.step()
        start, end = self.groups.get(value, (0, 0))
        equal = self.text.startswith(self.text[start:end], at)
        return rest(at + end - start) if equal else None

    def _at(self, place: Any, at: int) -> bool:
        previous = self.text[at - 1 : at] if at else ""
        following = self.text[at : at + 1]
        name = str(place)
        if name in {"AT_BOUNDARY", "AT_NON_BOUNDARY"}:
            word = [bool(c) and (c.isalnum() or c == "_") for c in (previous, following)]
            return (word[0] != word[1]) == (name == "AT_BOUNDARY")
        lines = bool(self.flags & re.MULTILINE)
        if name == "AT_BEGINNING":
            return at == 0 or (lines and previous == "\n")
        if name == "AT_BEGINNING_STRING":
            return at == 0
        if name == "AT_END":
            return at >= len(self.text) - (self.text.endswith("\n")) or (
                lines and following == "\n"
            )
        return at == len(self.text)

    def _group(self, value: Any, at: int, rest: Rest) -> int | None:
        number, added, removed, body = value
        outer_flags, self.flags = self.flags, (self.flags | added) & ~removed

        def following(end: int) -> int | None:
            if number is not None:
                self.groups[number] = (at, end)
            return rest(end)

        try:
            return self.sequence(list(body), at, following)
        finally:
            self.flags = outer_flags

    def _assertion(self, kind: Any, value: Any, at: int, rest: Rest) -> int | None:
        direction, body = value
        start = at if direction > 0 else at - body.getwidth()[0]
        holds = start >= 0 and self.sequence(list(body), start, lambda end: end) is not None
        return rest(at) if holds == (kind is op.ASSERT) else None

    def _repeat(self, kind: Any, value: Any, at: int, rest: Rest) -> int | None:
        low, high, body = value
        nodes = list(body)
        highest = len(self.text) if high is op.MAXREPEAT else int(high)
        members = self._members(*nodes[0]) if len(nodes) == 1 else None
        if members is not None:
            return self._repeat_one(kind, (low, highest), members, at, rest)
        if kind is op.POSSESSIVE_REPEAT:
            count, end = 0, at
            while count < highest:
                following = self.sequence(nodes, end, lambda stop: stop)
                if following is None or following == end:
                    break
                count, end = count + 1, following
            return rest(end) if count >= low else None
        return self._repeat_group(kind, (low, highest), nodes, at, rest)

    def _repeat_one(
        self, kind: Any, bounds: tuple[int, int], members: frozenset[str], at: int, rest: Rest
    ) -> int | None:
        low, highest = bounds
        end = at
        lazy = kind is op.MIN_REPEAT
        while end - at < (low if lazy else highest):
            self.step()
            if end >= len(self.text) or self.text[end] not in members:
                break
            end += 1
        if end - at < low:
            return None
        if kind is op.POSSESSIVE_REPEAT:
            return rest(end)
        while True:
            result = rest(end)
            if result is not None:
                return result
            self.step()
            if lazy:
                if end - at >= highest or end >= len(self.text) or self.text[end] not in members:
                    return None
                end += 1
            else:
                if end - at <= low:
                    return None
                end -= 1

    def _repeat_group(
        self, kind: Any, bounds: tuple[int, int], nodes: list[Any], at: int, rest: Rest
    ) -> int | None:
        low, highest = bounds

        def iterate(count: int, start: int) -> int | None:
            self.step()

            def once_more() -> int | None:
                if count >= highest:
                    return None
                return self.sequence(
                    nodes, start,
                    lambda end: iterate(count + 1, end) if end > start or count < low else None,
                )  # fmt: skip

            if count < low:
                return once_more()
            orders = (once_more, lambda: rest(start))
            for choice in orders if kind is op.MAX_REPEAT else reversed(orders):
                result = choice()
                if result is not None:
                    return result
            return None

        return iterate(0, at)


def work(pattern: re.Pattern[Any], text: str, mode: Mode, *, limit: int = 10**9) -> int:
    """The steps of one use of `pattern` on `text`; `limit` + 1 where there are more."""
    counter = Counter(text, pattern.flags, limit)
    nodes = list(parse(pattern))
    ends: Rest = (lambda end: end if end == len(text) else None) if mode == "fullmatch" else (
        lambda end: end
    )  # fmt: skip
    at = 0
    deepest = sys.getrecursionlimit()
    sys.setrecursionlimit(max(deepest, _FRAMES * (len(text) + 100)))
    try:
        while at <= len(text):
            end = counter.sequence(nodes, at, ends)
            if mode != "search":
                break
            at = at + 1 if end is None or end == at else end
    except TooMuch:
        return limit + 1
    finally:
        sys.setrecursionlimit(deepest)
    return counter.steps


def parse(pattern: re.Pattern[Any]) -> Any:
    """The tree of a pattern, as Python's own compiler makes it."""
    return _parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)


def is_bounded(pattern: re.Pattern[Any]) -> bool:
    """Whether no match is longer than `BOUNDED`: then each position costs no more than that."""
    _, longest = parse(pattern).getwidth()
    return bool(longest <= BOUNDED)
