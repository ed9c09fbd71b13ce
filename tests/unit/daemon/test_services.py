from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from iterate_daemon.services import SupervisedService, names, parse, read_all

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
def test_the_state_of_a_service_follows_s6(
    line: str, notifies: bool, state: str, reason: str | None
) -> None:
    service = parse("opencode", line, notifies=notifies, restarts=2)
    assert (service.state, service.reason, service.restarts) == (state, reason, 2)
    assert service.pid == (71 if line.startswith("true") else None)


@pytest.mark.parametrize("line", ["", "true", "a b c d e f g h"])
def test_an_unknown_line_gives_an_unknown_state(line: str) -> None:
    service = parse("opencode", line, notifies=True, restarts=None)
    assert service.state == "unknown"
    assert service.reason


def test_hidden_folders_and_files_are_not_services(tmp_path: Path) -> None:
    for folder in ("opencode", "iterate-daemon", ".s6-svscan"):
        (tmp_path / folder).mkdir()
    (tmp_path / "README").touch()
    assert names(tmp_path) == ["iterate-daemon", "opencode"]
    assert names(tmp_path / "absent") == []


def test_every_service_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    missing, ready = asyncio.run(read_all(scan))
    assert ready == SupervisedService(
        name="good", state="ready", pid=7, since_seconds=42, restarts=2
    )
    assert missing.state == "unknown"
    assert "unable to read status" in str(missing.reason)


def test_a_missing_s6_gives_an_unknown_state_and_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scan" / "opencode").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    (service,) = asyncio.run(read_all(tmp_path / "scan"))
    assert service.state == "unknown"
    assert "s6-svstat" in str(service.reason)
