"""npm's versions as versions of `packaging`: one key that orders the releases of both registries.

`packaging.version.Version` refuses many versions of npm (`1.2.3-next.20260101.1`) and orders some
others wrongly, so a pre-release is mapped: `1.2.3-beta.1` → `1.2.3.dev0+…`, where each identifier
is a local segment that is spelled so that `packaging`'s rules give the order of SemVer 2.0. A
release stays as it is, and build metadata is ignored. tests/unit/bump/test_semver.py compares with
npm's own code.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from packaging.version import Version

VersionStep = Literal["major", "minor", "patch", "pre-release", "none"]

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_IDENTIFIER: Final = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
#: npm's own limits: the length of a version, and Number.MAX_SAFE_INTEGER.
_LONGEST: Final = 256
_HIGHEST: Final = 2**53 - 1


def key(text: str) -> Version:
    """The key that orders the npm version `text`. Raises ValueError where npm refuses it."""
    match = _SEMVER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or any(int(match[part]) > _HIGHEST for part in (1, 2, 3)):
        raise ValueError(f"not a version: {text[:80]!r}")
    release = f"{match[1]}.{match[2]}.{match[3]}"
    if match[4] is None:
        return Version(release)
    local = ".".join(_segment(identifier) for identifier in match[4].split("."))
    return Version(f"{release}.dev0+{local}")


def is_version(text: str) -> bool:
    try:
        key(text)
    except ValueError:
        return False
    return True


def _segment(identifier: str) -> str:
    """Letters and digits that `packaging` orders as npm does: numbers first, by size; then texts,
    by ASCII. Both contain a letter, since `packaging` would put a bare number last.
    """
    if identifier.isdigit():
        return f"n{len(identifier):03}x{identifier}"
    return "t" + identifier.encode("ascii").hex()


def step(old: Version, new: Version) -> VersionStep:
    """How far it is from one version to the other."""
    names: tuple[VersionStep, ...] = ("major", "minor", "patch")
    old_numbers, new_numbers = ((*version.release, 0, 0)[:3] for version in (old, new))
    for name, old_number, new_number in zip(names, old_numbers, new_numbers, strict=True):
        if old_number != new_number:
            return name
    return "none" if old == new else "pre-release"
