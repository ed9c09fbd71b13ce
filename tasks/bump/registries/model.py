"""What a registry says about a package, npm's and PyPI's in one form. Nothing here does I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tasks.base.errors import TaskError
from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

#: What a version may look like before anything is done with it: it ends up in a Dockerfile, in
#: file names and on command lines.
PLAIN: Final = re.compile(r"[0-9][0-9A-Za-z.+-]{0,127}", re.ASCII)
#: Characters of a text in a manifest; the rest of a longer one is cut off.
LONGEST_TEXT: Final = 2000
#: Dates outside of these years are mistakes, and calculating with them ends beyond the calendar.
_YEARS: Final = range(1990, 2200)


class SourceError(TaskError):
    """A registry could not be asked, or what it says makes no sense."""

    code = "source-unknown"
    exit_status = 2


class NotPublished(SourceError):
    """The registry answers that it has no package of that name."""


@dataclass(frozen=True)
class Release:
    """One published version. None means that the registry does not say."""

    text: str
    key: Version
    date: datetime | None
    #: npm: {"": "sha512-…"}; PyPI: file name → "sha256:…" of the wheels for Linux.
    integrity: Mapping[str, str]
    deprecated: str = ""
    #: npm: the range of Node that it needs.
    engines: str = ""
    dependencies: Mapping[str, str] = field(default_factory=dict)
    #: npm: optional dependencies that are its program for Linux on x86-64.
    platforms: Mapping[str, str] = field(default_factory=dict)
    #: npm: the kinds of scripts that run where it is installed.
    scripts: frozenset[str] = frozenset()
    publisher: str | None = None
    maintainers: frozenset[str] | None = None
    provenance: bool | None = None
    repository: str = ""


@dataclass(frozen=True)
class Package:
    """`latest` is the version that the registry recommends, "" where it has no such idea;
    `unpublished` are versions with a date but without content.
    """

    name: str
    releases: Mapping[str, Release]
    latest: str
    unpublished: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def read_json(body: bytes, name: str) -> dict[str, Any]:
    """The object in `body`; raises `SourceError` for anything else that a server may send."""
    try:
        document = parse_json(body)
    except ValueError as error:
        start = body[:200].lstrip().lower()
        is_page = start.startswith((b"<!doctype", b"<html"))
        raise SourceError(
            f"{name}: the registry sent {'a web page' if is_page else 'no valid JSON'}",
            fix="check the registry in your configuration",
        ) from error
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise SourceError(f"{name}: the registry sent a {kind} instead of an object")
    return document


def text(value: object) -> str:
    """A text, cut to a length that is safe to search; "" for anything else."""
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def mapping(value: object) -> dict[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> dict[str, str]:
    """The members of an object that are texts."""
    return {str(k): text(v) for k, v in mapping(value).items() if isinstance(v, str)}


def parse_date(value: object) -> datetime | None:
    """An ISO date with a zone; None for anything else, and for one that is not of our times."""
    try:
        date = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return date.astimezone(UTC) if date.tzinfo and date.year in _YEARS else None
