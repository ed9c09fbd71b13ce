"""Asks the registries, all pins side by side, and decides for each what replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tasks.base import process
from tasks.base.errors import TaskError
from tasks.bump.outcome import Outcome, Survey
from tasks.bump.pin_judge import PinJudge
from tasks.bump.pins import NODE
from tasks.bump.registries.package_registries import PackageRegistries
from tasks.bump.selection import PinRequest, Situation
from tasks.bump.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Package


@dataclass(frozen=True)
class _PinSurvey:
    """`packages` and `versions` are those of all pins that play a part, by variable; `versions`
    are the Dockerfile's. `work` is for temporary files.
    """

    registries: PackageRegistries
    packages: Mapping[str, Package | TaskError]
    versions: Mapping[str, str]
    requests: Mapping[str, PinRequest]
    root: Path
    work: Path

    def decide(self, pin: Pin, situation: Situation) -> Outcome:
        """Never raises `TaskError`: what went wrong is in the outcome."""
        package, version = self.packages[pin.variable], self.versions[pin.variable]
        if isinstance(package, TaskError):
            return Outcome(pin, version, error=str(package))
        request = self.requests.get(pin.variable, PinRequest())
        judge = PinJudge(
            self.registries, self.root, self.work, pin, package, version, situation, request
        )
        try:
            return judge.decide()
        except TaskError as error:
            return Outcome(pin, version, error=str(error))

    def needs_of_node(self, pins: Sequence[Pin]) -> dict[str, str]:
        """What the tools, as they are pinned, need of Node."""
        needs = {}
        for pin in pins:
            package, version = self.packages[pin.variable], self.versions[pin.variable]
            release = None if isinstance(package, TaskError) else package.releases.get(version)
            if release and release.engines:
                needs[f"{pin.name} {version}"] = release.engines
        return needs


def survey(
    pins: Sequence[Pin],
    versions: Mapping[str, str],
    *,
    root: Path,
    work: Path,
    requests: Mapping[str, PinRequest],
    variables: frozenset[str],
) -> Survey:
    """Decide for every pin whose variable is in `variables`. A pin whose source fails does not stop
    the others. An interrupt ends what is asked at that moment.
    """
    registries = PackageRegistries(root)
    selected = [pin for pin in pins if pin.variable in variables]
    # A Node is chosen with regard to all tools that run on it.
    relevant = pins if NODE in variables else selected
    try:
        packages = in_threads(partial(_package, registries), relevant)
        by_variable = {
            pin.variable: package for pin, package in zip(relevant, packages, strict=True)
        }
        time, clock = registries.clock()
        pin_survey = _PinSurvey(registries, by_variable, versions, requests, root, work)
        node = versions[NODE]
        outcomes = {}
        for pin in selected:
            if pin.variable == NODE:
                situation = Situation(time, node, pin_survey.needs_of_node(relevant))
                outcomes[pin] = pin_survey.decide(pin, situation)
                node = outcomes[pin].target  # the other tools have to run on it
        tools = [pin for pin in selected if pin not in outcomes]
        decide = partial(pin_survey.decide, situation=Situation(time, node))
        outcomes |= zip(tools, in_threads(decide, tools), strict=True)
    except BaseException:
        process.end_captures()
        raise
    finally:
        registries.close()
    return Survey(tuple(outcomes[pin] for pin in selected), time, clock)


def _package(registries: PackageRegistries, pin: Pin) -> Package | TaskError:
    try:
        return registries.package(pin)
    except TaskError as error:
        return error
