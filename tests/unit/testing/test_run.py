"""Areas that pass, fail, match nothing or cannot run: what becomes of each, and of the rest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project
from tasks.base.errors import TaskError
from tasks.testing import run
from tasks.testing.areas import Area
from tasks.testing.run import AreaResult, TestsFailed

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
import pytest
@pytest.fixture
def broken(): raise OSError
def test_good(): pass
def test_bad(): assert False
def test_set_up(broken): pass
@pytest.mark.skip(reason="the table is to count a skipped test")
def test_skipped(): pass
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "state_dir", lambda: tmp_path)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").touch()


def script(name: str, text: str, *, builds_on: str = "") -> Area:
    """An area without tests."""
    command = (sys.executable, "-c", text)
    return Area(name=name, purpose="", command=command, options=frozenset(), builds_on=builds_on)


def suite(name: str = "suite") -> Area:
    return Area(name=name, purpose="", command=(sys.executable, "-m", "pytest", "test_suite.py"))


def outcomes(*areas: Area, options: tuple[str, ...] = (), **settings: Any) -> list[AreaResult]:
    """The results, which are also those that are reported."""
    reports: list[list[AreaResult]] = []
    results = run.run(
        areas, lambda area: list(options) if area.has_tests else [], report=reports.append,
        **{"stop_at_failure": False, **settings},
    )  # fmt: skip
    assert reports == [results]
    return results


def test_a_failure_does_not_keep_later_areas_from_running() -> None:
    results = outcomes(script("a", "raise SystemExit(1)"), script("b", ""))
    assert [result.outcome for result in results] == ["failed", "passed"]
    with pytest.raises(TestsFailed, match=r"failed: a → .* nox -s tests -- a$"):
        run.judge(results)
    run.judge(results[1:])


def test_a_failure_ends_the_run_where_that_was_asked_for() -> None:
    areas = (script("a", "raise SystemExit(1)"), script("b", ""))
    results = outcomes(*areas, stop_at_failure=True)
    assert [result.outcome for result in results] == ["failed", "not run"]


def test_what_a_failed_area_had_to_make_is_not_tested() -> None:
    areas = (script("build", "raise SystemExit(1)"), script("web", "", builds_on="build"))
    _, web = outcomes(*areas)
    assert (web.outcome, web.reason) == ("not run", "build failed")


def test_tests_are_counted_also_those_whose_fixture_fails() -> None:
    (result,) = outcomes(suite())
    assert result.outcome == "failed"
    assert result.counts == {"failed": 2, "passed": 1, "skipped": 1}
    assert "2 failed, 1 passed, 1 skipped" in run.table([result])


def test_an_area_in_which_no_test_matches_is_not_a_failure() -> None:
    results = outcomes(suite(), suite("other"), options=("-k", "no_such"))
    assert {(result.outcome, result.reason) for result in results} == {
        ("not run", "no test matches")
    }
    with pytest.raises(TaskError, match="no test matches"):
        run.judge(results)


def test_an_interrupt_still_reports_what_has_run() -> None:
    interrupt = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(30)"
    reports: list[list[AreaResult]] = []
    areas = (script("a", ""), script("b", interrupt), script("c", ""))
    with pytest.raises(KeyboardInterrupt):
        run.run(areas, lambda _: [], stop_at_failure=False, report=reports.append)
    assert [(result.outcome, result.reason) for result in reports[0]] == [
        ("passed", ""), ("not run", "interrupted"), ("not run", "interrupted"),
    ]  # fmt: skip
