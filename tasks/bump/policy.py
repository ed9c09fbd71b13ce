"""Which release may replace a pin, and why the others may not. Pure: data in, data out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from tasks.bump import semver
from tasks.bump.registries.model import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Package, Release

#: A package that has said nothing for so long may live on under another name.
SILENT: Final = timedelta(days=90)
_PACKAGE_NAME: Final = re.compile(r"@[a-z0-9][\w.-]*/[a-z0-9][\w.-]*")
_QUOTED_NAME: Final = re.compile(
    r"(?:use|to|by|try)\s+(?:the\s+)?[`'\"]?([a-z0-9][a-z0-9._-]+)[`'\"]?", re.IGNORECASE
)


@dataclass(frozen=True)
class Wish:
    """What the user asked for one pin on the command line."""

    to: str = ""
    allow_downgrade: bool = False
    now: str = ""
    accept: bool = False


@dataclass(frozen=True)
class Held:
    """A newer release that is not taken, `until` when, if that is known."""

    version: str
    why: str
    until: datetime | None = None


@dataclass(frozen=True)
class Ranking:
    """Releases that may replace the pin, best first; nothing of it is installed yet."""

    candidates: tuple[Release, ...]
    held: tuple[Held, ...]
    notices: tuple[str, ...]


def rank(
    pin: Pin,
    package: Package,
    version: str,
    *,
    now: datetime,
    node: str,
    wish: Wish = Wish(),
    users: Mapping[str, str] = MappingProxyType({}),
) -> Ranking:
    """What may replace `version` of `pin`. `node` is the Node that it would run on; `users` are
    those who will run on the pin itself, with the range they need.

    Raises `Unknown` where the pin's own version cannot be placed, or a wished one is not there.
    """
    here = package.releases.get(version)
    key = here.key if here else _key(pin, version)
    latest = package.releases.get(package.latest)
    held: list[Held] = []
    candidates = []
    for release in sorted(package.releases.values(), key=order, reverse=True):
        if wish.to and release.text != wish.to:
            continue
        if not wish.to and release.key <= key:
            break
        objection = _unusable(release, users) or _objection(
            pin, release, here, key, latest=latest, now=now, node=node, wish=wish
        )
        if objection:
            held.append(objection)
        else:
            candidates.append(release)
    if wish.to and not held and not candidates:
        gone = "was unpublished" if wish.to in package.unpublished else "is not there"
        raise Unknown(f"{pin.package} {wish.to} {gone}", fix=f"its newest is {_newest(package)}")
    held = [h for h in held if wish.to or not _skipped_silently(pin, package.releases[h.version])]
    return Ranking(tuple(candidates), tuple(held), tuple(_notices(package, version, now)))


def _unusable(release: Release, users: Mapping[str, str]) -> Held | None:
    for user, wanted in users.items():
        if not _fits(release.text, wanted):
            return Held(release.text, f"{user} needs Node {wanted}")
    return None


def _fits(node: str, wanted: str) -> bool:
    """Also where nobody can read what is wanted: that is said elsewhere."""
    try:
        return semver.satisfies(node, wanted)
    except ValueError:
        return True


def order(release: Release) -> Version:
    return release.key


def _key(pin: Pin, version: str) -> Version:
    try:
        return semver.key(version) if pin.origin == "npm" else Version(version)
    except (ValueError, InvalidVersion) as error:
        raise Unknown(f"{pin.variable}={version} is no version of {pin.package}") from error


def _skipped_silently(pin: Pin, release: Release) -> bool:
    """Pre-releases of a pin that does not follow them are no news."""
    return release.key.is_prerelease and not pin.policy.prereleases


def _objection(
    pin: Pin,
    release: Release,
    here: Release | None,
    key: Version,
    *,
    latest: Release | None,
    now: datetime,
    node: str,
    wish: Wish,
) -> Held | None:
    """Why `release` may not replace `here`, the weightiest reason; None when it may."""
    held = None
    reasons = chain(_facts(pin, release, node), _choices(pin, release, key, latest, wish))
    for why in reasons:
        return Held(release.text, why)
    if not wish.accept and (risks := list(_risks(here, release))):
        return Held(release.text, f"{', '.join(risks)}; --accept {pin.name} takes it")
    until = _cooled(release, pin.policy.cool_down)
    if until is None:
        return Held(release.text, "the registry has no date for it")
    if release.published and release.published > now:
        held = Held(release.text, "its date is in the future", until)
    elif until > now and not wish.now:
        held = Held(release.text, f"younger than {pin.policy.cool_down:g} days", until)
    return held


def _cooled(release: Release, days: float) -> datetime | None:
    return release.published + timedelta(days=days) if release.published else None


def _facts(pin: Pin, release: Release, node: str) -> Iterator[str]:
    """What nobody can wish away."""
    if not release.integrity:
        yield "the registry has no checksum for it"
    if pin.origin == "pypi" and not release.platforms:
        yield "it has no wheel for Linux on x86-64"
    if release.engines:
        try:
            fits = semver.satisfies(node, release.engines)
        except ValueError:
            yield f"nobody can read which Node it needs: {release.engines[:60]!r}"
        else:
            if not fits:
                yield f"it needs Node {release.engines}, the image has {node}"


def _choices(
    pin: Pin, release: Release, key: Version, latest: Release | None, wish: Wish
) -> Iterator[str]:
    """What a wish for this very version overrides."""
    if wish.to:
        if release.key < key and not wish.allow_downgrade:
            yield "it is older than the pin; --allow-downgrade takes it"
        return
    if release.deprecated:
        yield f"it is deprecated: {release.deprecated[:120]}"
    if pin.policy.allowed and not SpecifierSet(pin.policy.allowed).contains(
        release.key, prereleases=True
    ):
        yield f"outside the allowed range {pin.policy.allowed}"
    if release.key.is_prerelease and not (pin.policy.prereleases or key.is_prerelease):
        yield "it is a pre-release"
    if latest and release.key > latest.key and not release.key.is_prerelease:
        yield f"beyond what its makers recommend, {latest.text}"


def _risks(here: Release | None, release: Release) -> Iterator[str]:
    """What a stolen account or a broken pipeline would look like."""
    if here is None:
        return
    if here.provenance and release.provenance is False:
        yield "its provenance is lost"
    if added := release.scripts - here.scripts:
        yield f"it runs a new install script ({', '.join(sorted(added))})"
    told = here.maintainers is not None and release.maintainers is not None
    new = (release.maintainers or frozenset()) - (here.maintainers or frozenset())
    if told and new:
        yield f"it has a new maintainer ({', '.join(sorted(new))})"
    known = {here.publisher, *(here.maintainers or ())} - {None}
    if release.publisher and here.publisher and release.publisher not in known:
        yield f"it was published by somebody new ({release.publisher})"


def _notices(package: Package, version: str, now: datetime) -> Iterator[str]:
    yield from package.notes
    here = package.releases.get(version)
    if version in package.unpublished:
        yield f"{package.name} {version}, the pin, was unpublished"
    elif here is None:
        yield f"{package.name} {version}, the pin, is not in the registry"
    elif here.deprecated:
        yield f"{package.name} {version}, the pin, is deprecated: {here.deprecated[:200]}"
    dates = [r.published for r in package.releases.values() if r.published and r.published <= now]
    if dates and now - max(dates) > SILENT:
        days = (now - max(dates)).days
        yield f"{package.name} has had no release for {days} days: was it renamed?"


def silent(package: Package, now: datetime) -> bool:
    """Whether the package looks given up: nothing new for long, or its newest is deprecated."""
    newest = max(package.releases.values(), key=order)
    dates = [r.published for r in package.releases.values() if r.published]
    return bool(newest.deprecated) or bool(dates and now - max(dates) > SILENT)


def successors(package: Package) -> list[str]:
    """Names under which a silent package may live on, the likeliest first: those its deprecation
    speaks of, then its own name in the scope of its repository's owner.
    """
    newest = max(package.releases.values(), key=order)
    names = _PACKAGE_NAME.findall(newest.deprecated)
    names += [] if names else _QUOTED_NAME.findall(newest.deprecated)
    owner = re.search(r"[:/]([\w.-]+)/[\w.-]+?(?:\.git)?/?$", newest.repository)
    if owner and "://" in newest.repository:
        names.append(f"@{owner[1].lower()}/{package.name.rpartition('/')[2]}")
    return list(dict.fromkeys(name for name in names if name != package.name))


def _newest(package: Package) -> str:
    return package.latest or max(package.releases.values(), key=order).text
