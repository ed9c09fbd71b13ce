"""The rehearsal, once for all scenarios, and the report of what each did and left."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import github, standin
from tests.workflows.rehearsal import Rehearsal, make_origin

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    folder = tmp_path_factory.mktemp("rehearsal")
    make_origin(folder / "origin.git")
    settings = {"transition_seconds": 0.1, "removal_seconds": 0.5, "clock_interval_seconds": 0.3}
    with standin.running(**settings) as stand_in, github.serving(folder / "origin.git") as hub:
        hub.workflows = {"ci.yml": {"name": "CI", "state": "active"}}
        rehearsed = Rehearsal(folder, stand_in, hub)
        try:
            yield rehearsed
        finally:
            rehearsed.clean_up()


@pytest.fixture(autouse=True)
def _report(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each scenario: its lines go into the report, and its faults go from the stand-in."""
    yield
    if "rehearsal" in request.fixturenames:
        shared: Rehearsal = request.getfixturevalue("rehearsal")
        request.node.user_properties.append(("rehearsed", list(shared.report)))
        shared.report.clear()
        shared.stand_in.clear_faults()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = (report for group in terminalreporter.stats.values() for report in group)
    ends = [report for report in reports if getattr(report, "when", "") == "teardown"]
    for name, lines in [row for report in ends for row in report.user_properties]:
        for line in lines if name == "rehearsed" else []:
            terminalreporter.write_line(textwrap.fill(line, 150, subsequent_indent=" " * 9))
