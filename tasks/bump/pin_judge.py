"""What replaces one pin: the best release whose dependencies can be had and bring no risk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tasks.bump import documents, guards, lock_files, selection, successors, tree_inspection
from tasks.bump.lock_files import NotInstallable
from tasks.bump.outcome import Outcome
from tasks.bump.ranges import any_satisfies
from tasks.bump.registries.model import SourceError
from tasks.bump.selection import HeldRelease
from tasks.bump.threads import in_threads
from tasks.bump.tree_inspection import TreeReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from tasks.bump.guards import Guard
    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Package, Release
    from tasks.bump.registries.package_registries import PackageRegistries
    from tasks.bump.selection import PinRequest, Situation

#: How many releases, newest first, are tried in full before a pin stays as it is.
_MOST_TRIES: Final = 12


@dataclass(frozen=True)
class PinJudge:
    """Decides for one pin: its package, the version that it has, and what was asked for it.

    `root` is the repository, `work` is for temporary files.
    """

    registries: PackageRegistries
    root: Path
    work: Path
    pin: Pin
    package: Package
    version: str
    situation: Situation
    request: PinRequest

    @property
    def pinned_release(self) -> Release | None:
        return self.package.releases.get(self.version)

    def decide(self) -> Outcome:
        """Raises `TaskError` where nothing can be decided."""
        ranking = selection.rank(self.pin, self.package, self.version, self.situation, self.request)
        outcome = Outcome(
            self.pin,
            self.version,
            held_releases=ranking.held_releases,
            notices=(*ranking.notices, *self._successor_notices()),
            package=self.package,
            unchecked=self._unchecked(self.pinned_release),
        )
        return self._first_that_installs(outcome, ranking.candidates)

    def _unchecked(self, release: Release | None) -> frozenset[Guard]:
        """Of the pin's own releases; a pin that stays is compared with itself."""
        newest = release or selection.newest_first(self.package)[0]
        unchecked = guards.find_unchecked(self.pinned_release, newest)
        # What pip installs from a wheel runs no script.
        return unchecked - {"install scripts"} if self.pin.origin == "pypi" else unchecked

    def _first_that_installs(self, outcome: Outcome, candidates: Sequence[Release]) -> Outcome:
        held_releases = list(outcome.held_releases)
        for release in candidates[:_MOST_TRIES]:
            try:
                lock = self._make_lock(release)
            except NotInstallable as error:
                held_releases.append(
                    HeldRelease(release.text, f"it does not install: {error.what}")
                )
                continue
            report = self._inspect_tree(release, lock)
            if report.risks and not self.request.accept_risks:
                reason = selection.with_consent(self.pin, ", ".join(report.risks))
                held_releases.append(HeldRelease(release.text, reason))
                continue
            return replace(
                outcome,
                release=release,
                lock=lock,
                reason=self._reason(release, held_releases),
                held_releases=self._newest_first(held_releases),
                notices=(*outcome.notices, *report.notices),
                unchecked=self._unchecked(release) | report.unchecked,
                tree=report.changes,
                lacks_lock=not self._lock_file(release.text).exists(),
            )
        return self._with_missing_lock(
            replace(outcome, held_releases=self._newest_first(held_releases))
        )

    def _newest_first(self, held_releases: Iterable[HeldRelease]) -> tuple[HeldRelease, ...]:
        releases = self.package.releases
        return tuple(
            sorted(held_releases, key=lambda item: releases[item.version].key, reverse=True)
        )

    def _reason(self, release: Release, held_releases: Sequence[HeldRelease]) -> str:
        if self.request.reason:
            return f"requested at once: {self.request.reason}"
        if self.request.to:
            return "requested"
        is_newest = all(item.version == release.text for item in held_releases)
        return "the newest release" if is_newest else "the newest that may be taken"

    def _with_missing_lock(self, outcome: Outcome) -> Outcome:
        """A pin that stays, but whose lock file does not exist."""
        if self._lock_file(self.version).exists():
            return outcome
        if self.pinned_release is None:
            raise SourceError(
                f"{self.pin.package} {self.version} has no lock file and is not in the registry"
            )
        lock = self._make_lock(self.pinned_release)
        reason = "its lock file is missing"
        return replace(
            outcome, release=self.pinned_release, lock=lock, reason=reason, lacks_lock=True
        )

    def _lock_file(self, version: str) -> Path:
        return self.root / lock_files.lock_path(self.pin, version)

    def _make_lock(self, release: Release) -> str:
        """Raises `NotInstallable`."""
        if self.pin.origin == "pypi":
            return lock_files.make_requirement(self.pin, release)
        self._check_direct_dependencies(release)
        return lock_files.make_npm_lock(
            self.pin, release, cutoff=self._cutoff(release), root=self.root, work=self.work
        )

    def _cutoff(self, release: Release) -> datetime:
        """No dependency may be younger: they cool down, too. A young release has young ones."""
        time = self.situation.time
        cutoff = time - timedelta(days=self.pin.policy.cool_down)
        is_old = release.date is not None and release.date <= cutoff
        is_pinned = release.text == self.version
        return cutoff if is_old and not is_pinned and not self.request.reason else time

    def _check_direct_dependencies(self, release: Release) -> None:
        """What npm would find missing first, found in a fraction of the time."""
        specifiers = {**release.dependencies, **release.platforms}
        versions = in_threads(self.registries.npm_versions, specifiers)
        for (name, specifier), existing in zip(specifiers.items(), versions, strict=True):
            if not any_satisfies(existing, specifier):
                raise NotInstallable(
                    f"it needs {name}@{specifier}, which the registry does not have"
                )

    def _inspect_tree(self, release: Release, lock: str) -> TreeReport:
        """How the dependencies differ from those of the pinned version."""
        if self.pin.origin == "pypi":
            return TreeReport()
        old_lock = documents.read_if_present(self._lock_file(self.version))
        answers = (release.provenance, release.publisher, release.maintainers)
        return tree_inspection.inspect(
            self.registries, self.pin.package, old_lock, lock,
            with_people=any(answer is not None for answer in answers),
        )  # fmt: skip

    def _successor_notices(self) -> list[str]:
        """Where a package that looks given up lives on, if something says so."""
        if self.pin.origin != "npm":
            return []
        if not successors.looks_given_up(self.package, self.situation.time):
            return []
        for name in successors.find_successors(self.package)[:3]:
            try:
                package = self.registries.package(replace(self.pin, package=name))
            except SourceError:
                continue
            newest = package.releases[package.latest]
            date = f", {newest.date:%Y-%m-%d}" if newest.date else ""
            place = f"{name} ({newest.text}{date})"
            advice = "change its row in tasks/bump/pins.py"
            return [f"{self.package.name} seems to live on as {place}: {advice}"]
        return []
