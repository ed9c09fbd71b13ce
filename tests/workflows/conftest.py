"""The rehearsal, once for all scenarios, and the table of what each did and left."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tasks import standin
from tasks.base import console
from tests.support import github
from tests.workflows.rehearsal import Rehearsal, make_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.workflows.runner import Run, Webhook


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    folder = tmp_path_factory.mktemp("rehearsal")
    make_origin(folder / "origin.git")
    settings = standin.Settings(pace=0.1, removal=0.5, check_every=0.3)
    with standin.running(settings) as stand_in, github.serving(folder / "origin.git") as hub:
        hub.workflows = {"ci.yml": {"name": "CI", "state": "active"}}
        rehearsed = Rehearsal(folder, stand_in, hub)
        try:
            yield rehearsed
        finally:
            rehearsed.clean_up()


@pytest.fixture
def play(rehearsal: Rehearsal, request: pytest.FixtureRequest) -> Iterator[Callable[..., Run]]:
    """Plays a scenario, and keeps its lines for the report."""

    def run(workflow: str, scenario: str, event: Webhook, **sessions: dict[str, Any]) -> Run:
        finished = rehearsal.play(workflow, event, **sessions)
        lines = [f"{workflow} x {scenario}: {finished.result}", *_lines(finished)]
        request.node.user_properties.append(("rehearsed", [*lines, f"left: {rehearsal.remains()}"]))
        return finished

    yield run
    # The scenarios share a stand-in: one that fails half-way is not to break the next.
    rehearsal.stand_in.clear_faults()


def _lines(run: Run) -> Iterator[str]:
    for job in run.jobs.values():
        steps = [
            f"{console.printable(step.command)} ({step.outcome}, {step.seconds:.0f} s)"
            for step in job.steps
            if step.outcome != "skipped" and not step.command.startswith(("actions/", "pip "))
        ]
        yield f"{job.name}: {job.result}{': ' if steps else ''}{' · '.join(steps)}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    calls = [report for report in reports if report.when == "call"]
    for name, lines in [row for report in calls for row in report.user_properties]:
        if name == "rehearsed":
            terminalreporter.section(lines[0])  # the workflow, the scenario and its result
            for line in lines[1:]:
                terminalreporter.write_line(textwrap.fill(line, 150, subsequent_indent=" " * 9))
