from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from iterate_daemon.services import Service, names, parse, read_all

from tests.unit.daemon.support import program

if TYPE_CHECKING:
    from pathlib import Path


GAVE_UP = "not restarted any more"


@pytest.mark.parametrize(
    ("line", "notifies", "state", "reason"),
    [
        # up wantedup ready pid exitcode signum updownfor, as s6 2.11 and 2.13 print them
        ("true true true 71 -1 -1 9", True, "ready", None),
        ("true true false 71 -1 -1 9", True, "starting", None),
        ("true true false 71 -1 -1 9", False, "up", None),
        ("false true false -1 1 -1 0", True, "restarting", "exited with 1, restarting"),
        ("false true false -1 -1 9 0", True, "restarting", "ended by signal 9, restarting"),
        ("false false false -1 1 -1 9", True, "failed", f"exited with 1, {GAVE_UP}"),
        ("false false false -1 78 -1 9", True, "failed", f"exited with 78, {GAVE_UP}"),
        (
            "false false false -1 -1 9 9",
            True,
            "failed",
            "ended by signal 9, not restarted any more",
        ),
        ("false false false -1 0 -1 9", True, "down", "exited with 0, stopped on request"),
        ("false false false -1 143 -1 9", True, "down", "exited with 143, stopped on request"),
        ("false false false -1 -1 15 9", True, "down", "ended by signal 15, stopped on request"),
    ],
)
def test_what_s6_says(line: str, notifies: bool, state: str, reason: str | None) -> None:
    service = parse("opencode", line, notifies=notifies, restarts=2)
    assert (service.state, service.reason, service.restarts) == (state, reason, 2)
    assert service.pid == (71 if line.startswith("true") else None)


@pytest.mark.parametrize("line", ["", "true", "a b c d e f g h"])
def test_what_s6_never_said_is_unknown(line: str) -> None:
    service = parse("opencode", line, notifies=True, restarts=None)
    assert service.state == "unknown"
    assert service.reason


def test_s6_s_own_folders_and_files_are_no_services(tmp_path: Path) -> None:
    for folder in ("opencode", "iterate-daemon", ".s6-svscan"):
        (tmp_path / folder).mkdir()
    (tmp_path / "README").touch()
    assert names(tmp_path) == ["iterate-daemon", "opencode"]
    assert names(tmp_path / "absent") == []


def test_each_service_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = tmp_path / "scan"
    for name in ("good", "gone"):
        (scan / name).mkdir(parents=True)
    (scan / "good" / "notification-fd").write_text("3\n")
    program(
        tmp_path / "bin",
        "s6-svstat",
        'case "$3" in */good) echo true true true 7 -1 -1 42;;'
        ' *) echo "s6-svstat: fatal: unable to read status for $3" >&2; exit 111;; esac',
    )
    program(tmp_path / "bin", "s6-svdt", "echo one; echo two")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    gone, good = asyncio.run(read_all(scan))
    assert good == Service(name="good", state="ready", pid=7, since_seconds=42, restarts=2)
    assert gone.state == "unknown"
    assert "unable to read status" in str(gone.reason)


def test_without_s6_the_state_is_unknown_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scan" / "opencode").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    (service,) = asyncio.run(read_all(tmp_path / "scan"))
    assert service.state == "unknown"
    assert "s6-svstat" in str(service.reason)
