"""npm's version ranges: which versions satisfy `^1.2.3`, `>=18 <21 || >=22`, `1.2 - 2`.

Grammar and meaning are those of https://github.com/npm/node-semver#ranges, pre-releases included:
one satisfies a range only where the range names a pre-release of the same version (`^1.2.3-rc.1`
takes 1.2.3-rc.2, but not 1.2.4-rc.1). tests/unit/bump/test_ranges.py compares with npm's own code.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from tasks.bump import semver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from packaging.version import Version

#: Characters of a range that is read; the longest one in a real package of 2026 has 150.
LONGEST: Final = 2000
#: What `\s` is in JavaScript.
_SPACES: Final = re.compile(
    "[\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+"
)
_NUMBER: Final = "(?:0|[1-9][0-9]*)"
_PART: Final = f"({_NUMBER}|[xX*])"
_IDENTIFIER: Final = f"(?:[0-9]*[A-Za-z-][0-9A-Za-z-]*|{_NUMBER})"
_PRERELEASE: Final = rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
_PARTIAL: Final = rf"{_PART}(?:\.{_PART}(?:\.{_PART}{_PRERELEASE})?)?"
_BUILD: Final = re.compile(r"\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*")
_HYPHEN: Final = re.compile(rf"([v= ]*{_PARTIAL}) - ([v= ]*{_PARTIAL})")
#: A version in npm's tolerant spelling: `=v01.2.3beta`.
_TOLERANT: Final = r"[0-9]+\.[0-9]+\.[0-9]+(?:-?[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
_SPACE_AFTER_SIGN: Final = re.compile(rf"( *)([<>]?=?) *([v= ]*(?:{_TOLERANT}|{_PARTIAL}))")
_SPACE_AFTER_TILDE: Final = re.compile(r"~>? +")
_SPACE_AFTER_CARET: Final = re.compile(r"\^ +")
#: `~>1.2` is `~1.2`; a caret takes no `>`.
_TILDE_OR_CARET: Final = re.compile(rf"(~|\^)(?:(?<=~)>)?[v=]*{_PARTIAL}")
_X_RANGE: Final = re.compile(rf"([<>]?=?)[v=]*{_PARTIAL}")
_STAR: Final = re.compile(r"[<>]?=?\*")
_EXACT: Final = re.compile(r"([<>]?=?)v?([0-9].*)")

_COMPARISONS: Final[dict[str, Callable[[Version, Version], bool]]] = {
    "": operator.eq, "=": operator.eq, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Comparator:
    """`>=1.2.3`. Raises ValueError where the bound is not a version."""

    sign: str
    text: str

    def __post_init__(self) -> None:
        _ = self.bound

    @cached_property
    def bound(self) -> Version:
        return semver.key(self.text)

    def matches(self, version: Version) -> bool:
        return _COMPARISONS[self.sign](version, self.bound)


#: All of them have to match; none stands for any version.
Comparators = tuple[Comparator, ...]


@dataclass(frozen=True)
class Range:
    """A version satisfies a range when it satisfies one of the alternatives.

    `prereleases` is npm's `includePrerelease`: a pre-release is treated like any other version.
    """

    alternatives: tuple[Comparators, ...]
    prereleases: bool = False

    @classmethod
    def parse(cls, text: str, *, prereleases: bool = False) -> Range:
        """Raises ValueError for what npm does not accept as a range, and for an endless one."""
        if len(text) > LONGEST:
            raise ValueError(f"not a range: {text[:80]!r}")
        lowest = "-0" if prereleases else ""
        parts = _SPACES.sub(" ", text).strip(" ").split("||")
        alternatives = tuple(_alternative(part.strip(" "), lowest) for part in parts)
        # `*` as an alternative makes npm forget the others, and with them their pre-releases.
        return cls(((),) if () in alternatives else alternatives, prereleases)

    def contains(self, text: str) -> bool:
        """Whether the version `text` satisfies the range. Raises ValueError for no version."""
        version = semver.key(text)
        return any(self._satisfies(version, comparators) for comparators in self.alternatives)

    def _satisfies(self, version: Version, comparators: Comparators) -> bool:
        if not all(comparator.matches(version) for comparator in comparators):
            return False
        if self.prereleases or not version.is_prerelease:
            return True
        bounds = [comparator.bound for comparator in comparators]
        return any(bound.is_prerelease and bound.release == version.release for bound in bounds)


def satisfies(version: str, text: str) -> bool:
    """Whether `version` satisfies npm's range `text`. Raises ValueError where either is none."""
    return Range.parse(text).contains(version)


def any_satisfies(versions: Iterable[str], specifier: str) -> bool:
    """Whether one of the versions fits what a manifest asks of a dependency.

    True as well where the specifier is not a range (a tag, an address, an alias): npm knows.
    """
    try:
        dependency_range = Range.parse(specifier)
    except ValueError:
        return True
    return any(semver.is_version(v) and dependency_range.contains(v) for v in versions)


def _alternative(text: str, lowest: str) -> Comparators:
    """`lowest` is the pre-release that a lower bound begins with: "-0" or none."""
    text = _BUILD.sub("", text)
    if match := _HYPHEN.fullmatch(text):
        text = f"{_lower_end(match, lowest)} {_upper_end(match, lowest)}".strip(" ")
    text = _SPACE_AFTER_SIGN.sub(r"\1\2\3", text)
    text = _SPACE_AFTER_CARET.sub("^", _SPACE_AFTER_TILDE.sub("~", text))
    comparators = [c for word in text.split(" ") for c in _comparators(word, lowest)]
    any_version = Comparator(">=", f"0.0.0{lowest}")
    return tuple(c for c in comparators if c != any_version)


def _lower_end(match: re.Match[str], lowest: str) -> str:
    """`1.2` of `1.2 - 3` as `>=1.2.0`."""
    text, major, minor, patch, prerelease = match.groups()[:5]
    if _is_x(major):
        return ""
    if _is_x(minor):
        return f">={major}.0.0{lowest}"
    if _is_x(patch):
        return f">={major}.{minor}.0{lowest}"
    return f">={text}" if prerelease else f">={text}{lowest}"


def _upper_end(match: re.Match[str], lowest: str) -> str:
    """`3` of `1.2 - 3` as `<4.0.0-0`."""
    text, major, minor, patch, prerelease = match.groups()[5:]
    if _is_x(major):
        return ""
    if _is_x(minor):
        return f"<{int(major) + 1}.0.0-0"
    if _is_x(patch):
        return f"<{major}.{int(minor) + 1}.0-0"
    if prerelease:
        return f"<={major}.{minor}.{patch}-{prerelease}"
    return f"<{major}.{minor}.{int(patch) + 1}-0" if lowest else f"<={text}"


def _comparators(word: str, lowest: str) -> list[Comparator]:
    if match := _TILDE_OR_CARET.fullmatch(word):
        return _from_to(match[1], *match.groups()[1:], lowest=lowest)
    match = _X_RANGE.fullmatch(word)
    if match and not _is_misplaced(*match.groups()[1:4]):
        sign, major, minor, patch, _ = match.groups()
        if _is_x(major) or _is_x(minor) or _is_x(patch):
            return _x_range(sign, major, minor, lowest)
    word = _STAR.sub("", word, count=1)
    if not word:
        return []
    match = _EXACT.fullmatch(word)
    if match is None:
        raise ValueError(f"not a range: {word[:80]!r}")
    return [Comparator(match[1], match[2])]


def _x_range(sign: str, major: str, minor: str | None, lowest: str) -> list[Comparator]:
    """`1.x`, `>1`, `<=1.2`; the patch is not a number."""
    if _is_x(major):
        return [Comparator("<", "0.0.0-0")] if sign in {"<", ">"} else []
    first = f"{major}.0.0" if _is_x(minor) else f"{major}.{minor}.0"
    following = f"{int(major) + 1}.0.0" if _is_x(minor) else f"{major}.{int(str(minor)) + 1}.0"
    match sign:
        case ">":
            return [Comparator(">=", following + lowest)]
        case ">=":
            return [Comparator(">=", first + lowest)]
        case "<":
            return [Comparator("<", f"{first}-0")]
        case "<=":
            return [Comparator("<", f"{following}-0")]
        case _:
            return [Comparator(">=", first + lowest), Comparator("<", f"{following}-0")]


def _from_to(
    sign: str, major: str, minor: str | None, patch: str | None, prerelease: str | None,
    *, lowest: str,
) -> list[Comparator]:  # fmt: skip
    """`~1.2.3` up to the next minor version; `^1.2.3` up to the next of the first that is not 0."""
    if _is_x(major):
        return []
    if _is_x(minor):
        first, end = f"{major}.0.0", f"{int(major) + 1}.0.0"
    else:
        keeps_major = sign == "^" and major != "0"
        keeps_patch = sign == "^" and major == minor == "0" and not _is_x(patch)
        first = f"{major}.{minor}.{0 if _is_x(patch) else patch}"
        end = f"{int(major) + 1}.0.0" if keeps_major else f"{major}.{int(str(minor)) + 1}.0"
        end = f"0.0.{int(str(patch)) + 1}" if keeps_patch else end
    if prerelease and not _is_x(minor) and not _is_x(patch):
        first += f"-{prerelease}"
    elif sign == "^" and (_is_x(minor) or _is_x(patch)):
        first += lowest
    return [Comparator(">=", first), Comparator("<", f"{end}-0")]


def _is_x(part: str | None) -> bool:
    return part is None or part in {"x", "X", "*"}


def _is_misplaced(major: str, minor: str | None, patch: str | None) -> bool:
    """`x.1` and `1.x.3` mean nothing to npm."""
    return (_is_x(major) and not _is_x(minor)) or (_is_x(minor) and not _is_x(patch))
