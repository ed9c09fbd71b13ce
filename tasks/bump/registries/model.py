"""What a registry says of a package, npm's and PyPI's in one form; nothing here does I/O."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

#: What a version may look like before anything is done with it: it ends up in a Dockerfile, in
#: file names and on command lines.
PLAIN: Final = re.compile(r"[0-9][0-9A-Za-z.+-]{0,127}")


class Unknown(TaskError):
    """A source could not be asked, or what it says makes no sense."""

    code = "source-unknown"
    exit_status = 2


class NotPublished(Unknown):
    """The registry answers that it has no package of that name."""


@dataclass(frozen=True)
class Release:
    """One published version. None means that the registry does not tell."""

    text: str
    key: Version
    published: datetime | None
    #: npm: {"": "sha512-…"}; PyPI: file name → "sha256:…" of the wheels for Linux.
    integrity: Mapping[str, str]
    deprecated: str = ""
    engines: str = ""
    dependencies: Mapping[str, str] = field(default_factory=dict)
    platforms: Mapping[str, str] = field(default_factory=dict)
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


def read_json(body: bytes, what: str) -> dict[str, Any]:
    """The object in `body`; raises `Unknown` for whatever else a server may send."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        start = body[:200].lstrip().lower()
        kind = "a web page" if start.startswith((b"<!doctype", b"<html")) else "no valid JSON"
        raise Unknown(
            f"{what}: the registry sent {kind}", fix="check the registry in your configuration"
        ) from error
    if not isinstance(found, dict):
        raise Unknown(f"{what}: the registry sent a {type(found).__name__}, not an object")
    return found


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def texts(value: object) -> dict[str, str]:
    """The members of an object that are texts."""
    return {str(k): v for k, v in mapping(value).items() if isinstance(v, str)}


def date(value: object) -> datetime | None:
    """An ISO date; one without a zone, or that is none, counts as missing."""
    try:
        found = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None
