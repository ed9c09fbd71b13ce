"""Where a package that looks given up may live on. Pure: data in, data out."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.bump.registries.model import Package, Release

#: A package without a release for so long may live on under another name.
SILENT: Final = timedelta(days=90)
_PACKAGE_NAME: Final = re.compile(r"@[a-z0-9][\w.-]*/[a-z0-9][\w.-]*")
_QUOTED_NAME: Final = re.compile(
    r"(?:use|to|by|try)\s+(?:the\s+)?[`'\"]?([a-z0-9][a-z0-9._-]+)[`'\"]?", re.IGNORECASE
)
_OWNER: Final = re.compile(r"[:/]([\w.-]+)/[\w.-]+$")


def looks_given_up(package: Package, time: datetime) -> bool:
    """Whether nothing new came for long, or the newest release is deprecated."""
    dates = [release.date for release in package.releases.values() if release.date]
    return bool(_newest(package).deprecated) or bool(dates and time - max(dates) > SILENT)


def find_successors(package: Package) -> list[str]:
    """Names under which the package may live on, the likeliest first: those that its deprecation
    mentions, then its own name in the scope of its repository's owner.
    """
    newest = _newest(package)
    names = _PACKAGE_NAME.findall(newest.deprecated)
    names += [] if names else _QUOTED_NAME.findall(newest.deprecated)
    repository = newest.repository.removesuffix("/").removesuffix(".git")
    owner = _OWNER.search(repository)
    if owner and "://" in repository:
        names.append(f"@{owner[1].lower()}/{package.name.rpartition('/')[2]}")
    return list(dict.fromkeys(name for name in names if name != package.name))


def _newest(package: Package) -> Release:
    return max(package.releases.values(), key=lambda release: release.key)
