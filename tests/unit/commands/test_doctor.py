from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.commands import doctor
from tasks.engine.endpoint import Endpoint
from tasks.engine.engine import Engine

ROOT = Path(__file__).parents[3]
IDS = {
    "python", "git", "nox", "uv", "docker-cli", "engine", "engine-api", "buildx", "base-image",
    "engine-disk", "node", "pnpm", "checkout-disk", "browser", "registry", "proxies", "ca-bundle",
    "port-3000", "port-4096", "daytona",
}  # fmt: skip


def run(tmp_path: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real thing, on a machine without an engine."""
    return subprocess.run(
        [sys.executable, "-m", "tasks", "doctor", *args],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_json_without_an_engine(tmp_path: Path) -> None:
    begun = time.monotonic()
    result = run(tmp_path, "--json")
    assert time.monotonic() - begun < 10
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert set(report) == {"schema", "ok", "checks"}
    assert report["ok"] is False
    by_id = {check["id"]: check for check in report["checks"]}
    assert set(by_id) == IDS
    assert by_id["engine"]["state"] == "missing"
    keys = {"id", "name", "state", "found", "needed", "fix", "required"}
    assert all(set(check) == keys for check in report["checks"])
    assert "Docker Engine" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        DAYTONA_API_KEY="dtn_sekret",
        HTTPS_PROXY="http://me:pa55word@proxy.example:3128",
        http_proxy="me:pa55word@proxy.example:3128",
    )
    assert "DAYTONA_API_KEY is set" in result.stderr
    assert "proxy.example:3128" in result.stderr
    assert "sekret" not in result.stderr
    assert "pa55word" not in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("columns", ["40", "400"])
def test_it_fits_the_terminal(tmp_path: Path, columns: str) -> None:
    lines = run(tmp_path, COLUMNS=columns).stderr.splitlines()
    assert any("Python" in line for line in lines)
    padded = [line for line in lines if line.startswith("✓") and "   " in line]
    assert bool(padded) is (columns == "400")


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "TMPDIR": "/nowhere"}]
)
def test_odd_environments(tmp_path: Path, environment: dict[str, str]) -> None:
    result = run(tmp_path, **environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


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
def test_judging_an_engine(change: dict[str, str | None], missing: set[str]) -> None:
    checks = doctor.judge_engine(engine(**change))
    assert {check.id for check in checks if check.stops} == missing
    assert all(check.fix for check in checks if check.stops)


def test_disk(tmp_path: Path) -> None:
    enough = doctor.judge_disk("d", "disk", str(tmp_path), 1, "free some")
    assert enough.state == "ok"
    too_little = doctor.judge_disk("d", "disk", str(tmp_path), 10**18, "free some")
    assert too_little.stops


def test_tool_versions(tmp_path: Path) -> None:
    assert doctor.tool_version(["echo", "git version 2.39.5"]) == "2.39.5"
    assert doctor.tool_version(["echo", "v20.20.2"]) == "20.20.2"
    assert not doctor.tool_version([str(tmp_path / "missing")])
    assert not doctor.tool_version(["true"])
