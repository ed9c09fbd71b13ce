"""Which release may replace a pin, and why the others may not. Pure: data in, data out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from tasks.bump import ranges, semver
from tasks.bump.guards import find_risks
from tasks.bump.registries.model import SourceError
from tasks.bump.successors import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Package, Release


@dataclass(frozen=True)
class PinRequest:
    """What the user asked for one pin on the command line: the version `to`, a `reason` to pass
    over the cool-down, consent to risks.
    """

    to: str = ""
    allow_downgrade: bool = False
    reason: str = ""
    accept_risks: bool = False


@dataclass(frozen=True)
class HeldRelease:
    """A newer release that is not taken; `until` is when it may be, where that is known."""

    version: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Ranking:
    """Releases that may replace the pin, best first. None of them is known to install yet."""

    candidates: tuple[Release, ...]
    held_releases: tuple[HeldRelease, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Situation:
    """What a pin's releases are judged against.

    `node` is the version of Node that it will run on. `dependents` are the tools that will run on
    the pin itself, with the range that each needs.
    """

    time: datetime
    node: str
    dependents: Mapping[str, str] = field(default_factory=dict)


def rank(
    pin: Pin,
    package: Package,
    version: str,
    situation: Situation,
    request: PinRequest | None = None,
) -> Ranking:
    """What may replace `version` of `pin`.

    Raises `SourceError` where the pin's own version cannot be placed, or a requested one does not
    exist.
    """
    request = request or PinRequest()
    judge = _ReleaseJudge(pin, package, version, situation, request)
    held_releases: list[HeldRelease] = []
    candidates = []
    for release in newest_first(package):
        if request.to and release.text != request.to:
            continue
        if not request.to and release.key <= judge.pinned_key:
            break
        objection = judge.objection(release)
        if objection is None:
            candidates.append(release)
        elif request.to or judge.follows(release):
            held_releases.append(objection)
    if request.to and not held_releases and not candidates:
        reason = "was unpublished" if request.to in package.unpublished else "does not exist"
        newest = package.latest or newest_first(package)[0].text
        raise SourceError(f"{pin.package} {request.to} {reason}", fix=f"its newest is {newest}")
    notices = tuple(_notices(package, version, situation.time))
    return Ranking(tuple(candidates), tuple(held_releases), notices)


def newest_first(package: Package) -> list[Release]:
    return sorted(package.releases.values(), key=lambda release: release.key, reverse=True)


def _version_key(pin: Pin, version: str) -> Version:
    try:
        return semver.key(version) if pin.origin == "npm" else Version(version)
    except (ValueError, InvalidVersion) as error:
        raise SourceError(f"{pin.variable}={version} is not a version of {pin.package}") from error


class _ReleaseJudge:
    """Judges the releases of one package."""

    def __init__(
        self, pin: Pin, package: Package, version: str, situation: Situation, request: PinRequest
    ) -> None:
        self._pin = pin
        self._situation = situation
        self._request = request
        self._latest = package.releases.get(package.latest)
        self._pinned_release = package.releases.get(version)
        self.pinned_key = (
            self._pinned_release.key if self._pinned_release else _version_key(pin, version)
        )

    def follows(self, release: Release) -> bool:
        """Whether it is news: pre-releases are not, for a pin that does not follow them."""
        return self._pin.policy.prereleases or not release.key.is_prerelease

    def objection(self, release: Release) -> HeldRelease | None:
        """Why `release` may not replace the pin, the weightiest reason; None when it may."""
        reasons = chain(self._dependents(release), self._facts(release), self._choices(release))
        for reason in reasons:
            return HeldRelease(release.text, reason)
        if self._pinned_release and not self._request.accept_risks:
            risks = " and ".join(find_risks(self._pinned_release, release))
            if risks:
                return HeldRelease(release.text, with_consent(self._pin, f"it {risks}"))
        return self._age(release)

    def _dependents(self, release: Release) -> Iterator[str]:
        for dependent, requirement in self._situation.dependents.items():
            try:
                if not ranges.satisfies(release.text, requirement):
                    yield f"{dependent} needs Node {requirement}"
            except ValueError:
                continue  # it is reported as a reason to hold that tool

    def _facts(self, release: Release) -> Iterator[str]:
        """What no request can override."""
        if not release.integrity:
            yield "the registry has no checksum for it"
        if self._pin.origin == "pypi" and not release.platforms:
            yield "it has no wheel for Linux on x86-64"
        if release.engines:
            try:
                if not ranges.satisfies(self._situation.node, release.engines):
                    yield (
                        f"it needs Node {release.engines[:60]},"
                        f" and the image has {self._situation.node}"
                    )
            except ValueError:
                yield f"the range of Node that it needs cannot be read: {release.engines[:60]!r}"

    def _choices(self, release: Release) -> Iterator[str]:
        """What a request for this very version overrides."""
        policy, latest = self._pin.policy, self._latest
        if self._request.to:
            if release.key < self.pinned_key and not self._request.allow_downgrade:
                yield "it is older than the pin; --allow-downgrade takes it"
            return
        if release.deprecated:
            yield f"it is deprecated: {release.deprecated[:120]}"
        if not policy.allows(release.text, release.key, self._pin.origin):
            yield f"it is outside the allowed range {policy.allowed}"
        follows_prereleases = policy.prereleases or self.pinned_key.is_prerelease
        if release.key.is_prerelease and not follows_prereleases:
            yield "it is a pre-release"
        if latest and release.key > latest.key and not release.key.is_prerelease:
            yield f"it is newer than {latest.text}, which its makers recommend"

    def _age(self, release: Release) -> HeldRelease | None:
        if release.date is None:
            return HeldRelease(release.text, "the registry has no date for it")
        days = self._pin.policy.cool_down
        until = release.date + timedelta(days=days)
        if release.date > self._situation.time:
            return HeldRelease(release.text, "its date is in the future", until)
        if until > self._situation.time and not self._request.reason:
            return HeldRelease(release.text, f"it is younger than {days:g} days", until)
        return None


def with_consent(pin: Pin, risks: str) -> str:
    """The reason to hold a risky release, with the option that takes it."""
    return f"{risks}; --accept {pin.name} takes it"


def _notices(package: Package, version: str, time: datetime) -> Iterator[str]:
    yield from package.notes
    pinned_release = package.releases.get(version)
    if version in package.unpublished:
        yield f"{package.name} {version}, the pinned version, was unpublished"
    elif pinned_release is None:
        yield f"{package.name} {version}, the pinned version, is not in the registry"
    elif pinned_release.deprecated:
        reason = pinned_release.deprecated[:200]
        yield f"{package.name} {version}, the pinned version, is deprecated: {reason}"
    dates = [r.date for r in package.releases.values() if r.date and r.date <= time]
    if dates and time - max(dates) > SILENT:
        days = (time - max(dates)).days
        yield f"{package.name} has had no release for {days} days: was it renamed?"
