"""`daytona_test` itself: the very tests of `local_test`, on a snapshot that is made only once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project

if TYPE_CHECKING:
    from tests.daytona.conftest import Bench

#: A part of the suite that has tests of each kind: looked at, broken, and not offered there.
CHOSEN = "test_boot or test_life"


def ids_in(text: str) -> set[str]:
    return set(re.findall(r"tests/sandbox/\S+::\S+?(?=[:\s]|$)", text, re.MULTILINE))


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=project.ROOT, check=False, capture_output=True, text=True,
        env={**os.environ, "PY_COLORS": "0"},
    )  # fmt: skip


def daytona_test(chosen: str) -> tuple[dict[str, Any], str]:
    """The result, which is alone on stdout, and the report."""
    options = ["--ref", "HEAD", "--stage", "dev-suite", "-k", chosen, "--json"]
    ended = command("-m", "tasks", "daytona-test", *options)
    assert ended.returncode == 0, ended.stderr[-4000:]
    result: dict[str, Any] = json.loads(ended.stdout)
    return result, ended.stderr


@pytest.mark.timeout(600)
def test_it_has_the_same_tests_and_the_second_run_builds_nothing(bench: Bench) -> None:
    result, report = daytona_test(CHOSEN)
    assert result["tests_passed"] is True
    assert result["how"] == "built"
    assert "skipped" not in report
    passed, not_offered = set(), set()
    for line in report.splitlines():
        if line.startswith("not offered by daytona: "):
            not_offered |= ids_in(line)
            assert re.search(r": \w+: .{20,}", line.removeprefix("not offered by daytona: ")), line
        elif " PASSED" in line:
            passed |= ids_in(line)
    listed = command("-m", "pytest", "tests/sandbox", "--collect-only", "-q", "-k", CHOSEN).stdout
    assert len(passed) > 10
    assert not_offered
    assert passed | not_offered == ids_in(listed)
    assert not passed & not_offered

    again, report = daytona_test("test_healthz")
    assert again["snapshot_name"] == result["snapshot_name"]
    assert again["reused"] is True
    assert again["upload"] is None
    assert f"{result['snapshot_name']} is there already" in report
    assert bench.asked("POST /api/snapshots") == 1
    bench.leaves(result["snapshot_name"], "active")
