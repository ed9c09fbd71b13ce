"""Asks the registries, all pins side by side, and decides for each what replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from tasks.base import process
from tasks.base.errors import TaskError
from tasks.bump.outcome import Survey
from tasks.bump.pin_judge import PinJudge
from tasks.bump.pins import NODE
from tasks.bump.registries.package_registries import PackageRegistries
from tasks.bump.selection import PinRequest, Situation
from tasks.bump.tree_cache import TreeCache
from tasks.bump.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from pathlib import Path

    from tasks.bump.outcome import Outcome
    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Package

_THREADS: Final = 16


@dataclass(frozen=True)
class SurveyPlaces:
    """`root` is the repository, `state` keeps npm's answers, `work` is for temporary files."""

    root: Path
    state: Path
    work: Path


def survey(
    pins: Sequence[Pin],
    versions: Mapping[str, str],
    *,
    places: SurveyPlaces,
    requests: Mapping[str, PinRequest],
    variables: frozenset[str],
) -> Survey:
    """Decide for every pin whose variable is in `variables`; `versions` are the Dockerfile's. A pin
    whose source fails does not stop the others.
    """
    registries = PackageRegistries(places.root)

    def cancel() -> None:
        process.end_captures()
        registries.close()

    selected = [pin for pin in pins if pin.variable in variables]
    # A Node is chosen with regard to all tools that run on it.
    asked_for = pins if NODE in variables else selected
    with Workers(_THREADS, cancel=cancel) as workers, Workers(_THREADS, cancel=cancel) as look_ups:
        workers.submit(registries.load)
        packages = workers.map(partial(_package, registries), asked_for)
        trees = TreeCache(places.state / "bump-trees.json", places.work)
        judge = PinJudge(registries, look_ups, places.root, places.work, trees)
        time, clock = registries.clock()
        decider = _Decider(judge, dict(zip(asked_for, packages, strict=True)), versions, requests)
        outcomes = decider.decide(selected, time, workers)
    registries.close()
    return Survey(outcomes, time, clock)


@dataclass(frozen=True)
class _Decider:
    judge: PinJudge
    packages: Mapping[Pin, Package | TaskError]
    versions: Mapping[str, str]
    requests: Mapping[str, PinRequest]

    def decide(
        self, selected: Sequence[Pin], time: datetime, workers: Workers
    ) -> tuple[Outcome, ...]:
        """Node goes first: the other tools have to run on the one that is chosen now."""
        node = self.versions[NODE]
        outcomes: dict[Pin, Future[Outcome]] = {}
        for pin in sorted(selected, key=lambda pin: pin.variable != NODE):
            is_node = pin.variable == NODE
            situation = Situation(time, node, self._dependents() if is_node else {})
            outcomes[pin] = workers.submit(
                self.judge.decide, pin, self.packages[pin], self.versions[pin.variable],
                situation, self.requests.get(pin.variable, PinRequest()),
            )  # fmt: skip
            if is_node:
                node = outcomes[pin].result().target
        return tuple(outcomes[pin].result() for pin in selected)

    def _dependents(self) -> dict[str, str]:
        """What the tools, as they are pinned, need of Node."""
        dependents = {}
        for pin, package in self.packages.items():
            version = self.versions[pin.variable]
            release = None if isinstance(package, TaskError) else package.releases.get(version)
            if release and release.engines:
                dependents[f"{pin.name} {version}"] = release.engines
        return dependents


def _package(registries: PackageRegistries, pin: Pin) -> Package | TaskError:
    try:
        return registries.package(pin)
    except TaskError as error:
        return error
