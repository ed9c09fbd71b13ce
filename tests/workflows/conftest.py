"""The rehearsal, once for all scenarios, which go on where the one before ended; its table."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import console
from tests.workflows.rehearsal import Rehearsal, make_origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.workflows.runner import Run

REHEARSAL = pytest.StashKey[Rehearsal]()
LINES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def rehearsal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rehearsal]:
    from tasks import standin
    from tests.support import github

    folder = tmp_path_factory.mktemp("rehearsal")
    origin = folder / "origin.git"
    make_origin(origin)
    settings = standin.Settings(pace=0.1, removal=0.5, check_every=0.3)
    with standin.running(settings) as stand_in, github.serving(origin) as hub:
        made = Rehearsal(folder, stand_in, hub, origin)
        hub.workflows = {"ci.yml": {"name": "CI", "state": "active"}}
        request.config.stash[REHEARSAL] = made
        try:
            yield made
        finally:
            made.clean_up()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With xdist, one worker rehearses; the report is the other process's."""
    told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["rehearsal"] = _table(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(LINES, []).extend(node.workeroutput.get("rehearsal", []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash.get(LINES, []) or _table(config)
    if lines:
        terminalreporter.section("workflow x scenario → steps, outputs, what is left")
    for line in lines:
        terminalreporter.write_line(line)


def _table(config: pytest.Config) -> list[str]:
    made = config.stash.get(REHEARSAL, None)
    lines: list[str] = []
    for workflow, scenario, done, left in made.rows if made else []:
        lines.append(f"{workflow} x {scenario}: {done.result}, {done.seconds:.0f} s")
        for line in [*_jobs(done), f"left     {left}"]:
            wrapped = textwrap.wrap(line, 150, subsequent_indent=" " * 9, break_on_hyphens=False)
            lines += [f"    {part}" for part in wrapped]
    return lines


def _jobs(done: Run) -> Iterator[str]:
    if not done.triggered:
        yield "not triggered"
    for job in done.jobs.values():
        steps = [
            f"{console.printable(step.ran)} ({'' if step.outcome == 'success' else '✗ '}"
            f"{step.seconds:.0f} s)"
            for step in job.steps
            if step.outcome != "skipped" and not step.ran.startswith(("actions/", "pip "))
        ]
        yield f"{job.name}: {job.result}{': ' if steps else ''}{' · '.join(steps)}"
        told = {k: v for step in job.steps for k, v in step.outputs.items() if v} | {
            name: value for name, value in job.outputs.items() if value
        }
        if told:
            text = ", ".join(f"{name}={console.printable(v)[:80]}" for name, v in told.items())
            yield f"outputs  {text}"
