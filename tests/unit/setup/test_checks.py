from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.engine.endpoint import Endpoint
from tasks.engine.engine import Engine
from tasks.setup.engine_checks import judge_engine
from tasks.setup.machine_checks import tool_version
from tasks.setup.prerequisite import check_disk

if TYPE_CHECKING:
    from pathlib import Path


def engine(**change: str | None) -> Engine:
    values = {"version": "26.1.5", "api": "1.45", "os": "linux", "buildx": "0.13.1"} | change
    return Engine(cli="docker", endpoint=Endpoint("unix:///s", "default"), arch="amd64", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({}, set()),
        ({"version": "20.10.24"}, {"engine"}),
        ({"os": "windows"}, {"engine"}),
        ({"api": "1.40"}, {"engine-api"}),
        ({"buildx": None}, {"buildx"}),
    ],
)
def test_an_unsuitable_engine_is_missing(change: dict[str, str | None], missing: set[str]) -> None:
    checks = judge_engine(engine(**change))
    assert {check.id for check in checks if check.stops_work} == missing
    assert all(check.fix for check in checks if check.stops_work)


def test_too_little_disk_is_missing(tmp_path: Path) -> None:
    large_disk = check_disk("d", "disk", str(tmp_path), 1, "free some")
    assert large_disk.state == "ok"
    small_disk = check_disk("d", "disk", str(tmp_path), 10**18, "free some")
    assert small_disk.stops_work


def test_tool_version_reads_the_number(tmp_path: Path) -> None:
    assert tool_version(["echo", "git version 2.39.5"]) == "2.39.5"
    assert tool_version(["echo", "v20.20.2"]) == "20.20.2"
    assert not tool_version([str(tmp_path / "missing")])
    assert not tool_version(["true"])
