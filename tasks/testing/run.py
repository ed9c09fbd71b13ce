"""Runs areas one after the other, shows how far it is, and says in a table what became of each."""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console, markdown, process, project
from tasks.base.errors import CommandFailed, TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tasks.testing.areas import Area

Outcome = Literal["passed", "failed", "not run"]

_ADDED_OPTIONS: Final = "PYTEST_ADDOPTS"
_SIGNS: Final[dict[Outcome, str]] = {"passed": "✓", "failed": "✗", "not run": "-"}


class TestsFailed(TaskError):
    """At least one area has failed."""

    __test__ = False
    code = "tests-failed"


@dataclass(frozen=True, kw_only=True)
class AreaResult:
    """`counts` is empty for an area without tests: failed, passed and skipped otherwise."""

    area: str
    outcome: Outcome
    seconds: float = 0.0
    counts: dict[str, int]
    reason: str = ""

    def cells(self) -> list[str]:
        """A line of the table: sign, area, result, counts, time."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items() if number)
        result = f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        duration = console.seconds(self.seconds) if self.seconds else ""
        return [_SIGNS[self.outcome], self.area, result, counts, duration]


HEAD: Final = ["", "area", "result", "tests", "time"]


def run(
    areas: Sequence[Area],
    arguments: Callable[[Area], list[str]],
    *,
    stop_at_failure: bool,
    report: Callable[[list[AreaResult]], None],
) -> list[AreaResult]:
    """Run every area, also after a failure unless `stop_at_failure`.

    `arguments` gives the options for an area. `report` is called once, at the end or at an
    interrupt, with the results so far.
    """
    results: list[AreaResult] = []
    folder = project.state_dir() / "tests"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        for number, area in enumerate(areas, 1):
            if reason := _obstacle(area, results, stop_at_failure=stop_at_failure):
                results.append(_result_without_run(area, reason))
                continue
            console.say()
            console.step(f"{area.name}, {number} of {len(areas)}: {area.purpose}")
            results.append(_run_area(area, arguments(area), folder / f"{area.name}.xml"))
    finally:
        rest = areas[len(results) :]
        report([*results, *(_result_without_run(area, "interrupted") for area in rest)])
    return results


def _result_without_run(area: Area, reason: str) -> AreaResult:
    return AreaResult(area=area.name, outcome="not run", counts={}, reason=reason)


def _obstacle(area: Area, results: Sequence[AreaResult], *, stop_at_failure: bool) -> str:
    """Why this area cannot be run any more; "" when it can."""
    failures = {result.area for result in results if result.outcome == "failed"}
    if stop_at_failure and failures:
        return f"{min(failures)} failed, and -x ends there"
    return f"{area.builds_on} failed" if area.builds_on in failures else ""


def _run_area(area: Area, options: list[str], counts_file: Path) -> AreaResult:
    environment: dict[str, str | None] = {}
    if area.has_tests:
        # Reaches also the pytest that a command of ours runs; the last `--junitxml` counts.
        addopts = [os.environ.get(_ADDED_OPTIONS, ""), f"--junitxml={counts_file}"]
        environment[_ADDED_OPTIONS] = " ".join(filter(None, addopts))
    watch = console.Stopwatch()
    outcome: Outcome = "passed"
    try:
        process.run([*area.command, *options], cwd=project.ROOT, env=environment)
    except CommandFailed:
        outcome = "failed"
    counts = dict(_counts(counts_file)) if area.has_tests else {}
    if outcome == "failed" and "-k" in options and counts and not any(counts.values()):
        return _result_without_run(area, "no test matches")
    return AreaResult(area=area.name, outcome=outcome, seconds=watch.elapsed, counts=counts)


def _counts(path: Path) -> Iterator[tuple[str, int]]:
    """Read a report in JUnit's format: an error in a fixture is a failed test, too."""
    try:
        suites = list(ET.parse(path).getroot().iter("testsuite"))  # noqa: S314 - our own pytest's
    except (OSError, ET.ParseError):
        return
    sums = {
        name: sum(int(suite.get(name, "0")) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    }
    failures = sums["failures"] + sums["errors"]
    yield "failed", failures
    yield "passed", sums["tests"] - failures - sums["skipped"]
    yield "skipped", sums["skipped"]


def table(results: Sequence[AreaResult]) -> str:
    """For the terminal."""
    return console.table([result.cells() for result in results], HEAD)


def summary(results: Sequence[AreaResult]) -> str:
    """For the summary of a job, in Markdown."""
    rows = [list(map(markdown.plain, result.cells())) for result in results]
    return "### Tests by area\n\n" + markdown.table(HEAD, rows)


def judge(results: Sequence[AreaResult]) -> None:
    """Raise `TestsFailed` unless something passed and nothing failed."""
    failed_areas = [result.area for result in results if result.outcome == "failed"]
    if failed_areas:
        command = f"nox -s tests -- {' '.join(failed_areas)}"
        raise TestsFailed(
            f"failed: {', '.join(failed_areas)}",
            fix=f"the output above says what; again: {command}",
        )
    if all(result.outcome == "not run" for result in results):
        raise TaskError("no test matches", fix="change or leave out -k")
