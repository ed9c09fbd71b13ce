"""What pytest reports, tally_record: a real run of it, with every outcome."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.project import ROOT
from tasks.github.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

CONFTEST = """
import json, sys
import pytest
from tasks.github.tally import Tally
TALLY = Tally()
def pytest_configure(config):
    config.pluginmanager.register(TALLY)
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and call.when == "call":
        report.sections.append((f"diagnostics in ROOT/.sandbox/{item.name}", "…"))
    return report
def pytest_unconfigure(config):
    print(json.dumps({"tests": TALLY.tests, "passed": sorted(TALLY.passed),
                      "failed": TALLY.failed, "skipped": sorted(TALLY.skipped)}), file=sys.stderr)
"""
#: Of each outcome one, for a pytest of its own: nothing of this project is skipped.
TESTS = """
import pytest
@pytest.fixture
def broken(): raise OSError
@pytest.fixture
def untidy():
    yield
    raise OSError
def test_good(): pass
def test_bad(): assert False
def test_set_up(broken): pass
def test_end(untidy): pass
def test_both(untidy): assert False
@pytest.mark.skip(reason="the tally is to count a skipped test")
def test_skipped(): pass
@pytest.mark.xfail(reason="the tally is to count an expected failure")
def test_expected(): assert False
"""


@pytest.fixture(scope="module")
def tally_record(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("tally")
    (folder / "conftest.py").write_text(CONFTEST.replace("ROOT", str(ROOT)))
    (folder / "test_x.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    process = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    return json.loads(process.stderr.splitlines()[-1])


def test_each_test_is_counted_once(tally_record: Any) -> None:
    def short(names: Any) -> list[str]:
        return sorted(name.rpartition("::test_")[2] for name in names)

    assert tally_record["tests"] == 7
    assert short(tally_record["passed"]) == ["good"]
    assert short(tally_record["skipped"]) == ["expected", "skipped"]
    assert short(tally_record["failed"]) == ["bad", "both", "end", "set_up"]


def test_failed_tests_name_their_diagnostics(tally_record: Any) -> None:
    folders = {name.rpartition("::")[2]: at for name, at in tally_record["failed"].items()}
    assert folders == {
        "test_bad": ".sandbox/test_bad", "test_both": ".sandbox/test_both",
        "test_end": "", "test_set_up": "",
    }  # fmt: skip


def test_the_table_is_cut_and_escaped() -> None:
    tally = Tally(passed={"a"}, failed={f"t.py::test[{n}|`<b>`]": f"/d/{n}" for n in range(30)})
    text = tally.text("iterate-sandbox:local")
    assert "### ✗ Tests of `iterate-sandbox:local`" in text
    assert "| 1 | 30 | 0 |" in text
    assert text.count("/d/") == 25
    assert "and 5 more" in text
    assert "<b>" not in text
    assert Tally(passed={"a"}).text("x").startswith("### ✓")
    assert Tally().text("x").startswith("### !")
