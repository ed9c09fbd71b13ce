from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.base import project

ROOT = Path(__file__).parents[3]
IDS = {
    "python", "git", "nox", "uv", "docker-cli", "engine", "engine-api", "buildx", "base-image",
    "engine-disk", "node", "pnpm", "checkout-disk", "browser", "registry", "proxies", "ca-bundle",
    f"port-{project.DAEMON_PORT}", f"port-{project.OPENCODE_PORT}", "daytona",
}  # fmt: skip


def run(tmp_path: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command itself, on a machine without an engine."""
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


def test_json_lists_every_row_without_an_engine(tmp_path: Path) -> None:
    start = time.monotonic()
    result = run(tmp_path, "--json")
    assert time.monotonic() - start < 10
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


def test_secrets_are_never_shown(tmp_path: Path) -> None:
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
def test_the_output_fits_the_terminal(tmp_path: Path, columns: str) -> None:
    lines = run(tmp_path, COLUMNS=columns).stderr.splitlines()
    assert any("Python" in line for line in lines)
    padded = [line for line in lines if line.startswith("✓") and "   " in line]
    assert bool(padded) is (columns == "400")


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "TMPDIR": "/nowhere"}]
)
def test_odd_environments_cause_no_traceback(tmp_path: Path, environment: dict[str, str]) -> None:
    result = run(tmp_path, **environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
