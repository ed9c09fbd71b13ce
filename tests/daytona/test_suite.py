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
    from tests.daytona.conftest import PublishingBench

#: A part of the suite that has tests of each kind: looked at, broken, and not offered there.
SELECTION = "test_boot or test_life"


def ids_in(text: str) -> set[str]:
    return set(re.findall(r"tests/sandbox/\S+::\S+?(?=[:\s]|$)", text, re.MULTILINE))


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=project.ROOT, check=False, capture_output=True, text=True,
        env={**os.environ, "PY_COLORS": "0"},
    )  # fmt: skip


def daytona_test(selection: str) -> tuple[dict[str, Any], str]:
    """The result, which is alone on stdout, and the report."""
    options = ["--ref", "HEAD", "--stage", "dev-suite", "-k", selection, "--json"]
    child = command("-m", "tasks", "daytona-test", *options)
    assert child.returncode == 0, child.stderr[-4000:]
    result: dict[str, Any] = json.loads(child.stdout)
    return result, child.stderr


@pytest.mark.timeout(600)
def test_daytona_test_runs_the_local_tests_and_builds_once(bench: PublishingBench) -> None:
    result, report = daytona_test(SELECTION)
    assert result["tests_passed"] is True
    assert result["how"] == "built"
    assert "skipped" not in report
    passed_ids, not_offered = set(), set()
    for line in report.splitlines():
        if line.startswith("not offered by daytona: "):
            not_offered |= ids_in(line)
            assert re.search(r": \w+: .{20,}", line.removeprefix("not offered by daytona: ")), line
        elif " PASSED" in line:
            passed_ids |= ids_in(line)
    listed = command(
        "-m", "pytest", "tests/sandbox", "--collect-only", "-q", "-k", SELECTION
    ).stdout
    assert len(passed_ids) > 10
    assert not_offered
    assert passed_ids | not_offered == ids_in(listed)
    assert not passed_ids & not_offered

    second_result, report = daytona_test("test_healthz")
    assert second_result["snapshot_name"] == result["snapshot_name"]
    assert second_result["reused"] is True
    assert second_result["upload"] is None
    assert f"{result['snapshot_name']} is there already" in report
    assert bench.request_count("POST /api/snapshots") == 1
    bench.leaves(result["snapshot_name"], "active")
