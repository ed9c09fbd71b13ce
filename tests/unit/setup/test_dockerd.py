from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tasks.setup import dockerd


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with a dockerd, a zombie of one, and something else."""
    for pid, stat in {
        "100": "100 (dockerd) S 1",
        "200": "200 (dockerd) Z 1",
        "300": "300 (nginx) S 1",
        "400": "400 (containerd) S 100",
    }.items():
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "stat").write_text(stat)
    return tmp_path / "proc"


@pytest.fixture
def run(short_path: Path) -> Path:
    for folder in ("docker/containerd", "containerd"):
        (short_path / folder).mkdir(parents=True)
    return short_path


def test_is_running_matches_the_whole_name(proc: Path) -> None:
    assert dockerd.is_running("dockerd", proc)
    (proc / "100/stat").write_text("100 (dockerd-rootless) S 1")
    assert not dockerd.is_running("dockerd", proc)


def test_a_fresh_machine_has_no_stale_files(run: Path, proc: Path) -> None:
    assert dockerd.stale_files(run, proc) == []


@pytest.mark.parametrize("pid", ["300", "200", "999", "", "junk"])
def test_a_pid_of_another_program_is_stale(run: Path, proc: Path, pid: str) -> None:
    (run / "docker.pid").write_text(pid)
    assert dockerd.stale_files(run, proc) == [run / "docker.pid"]


def test_pids_of_live_engines_are_not_stale(run: Path, proc: Path) -> None:
    (run / "docker.pid").write_text("100\n")
    (run / "docker/containerd/containerd.pid").write_text("400")
    assert dockerd.stale_files(run, proc) == []


def test_a_containerd_pid_of_another_program_is_stale(run: Path, proc: Path) -> None:
    (run / "docker/containerd/containerd.pid").write_text("300")
    assert dockerd.stale_files(run, proc) == [run / "docker/containerd/containerd.pid"]


def test_a_socket_without_a_listener_is_stale(run: Path, proc: Path) -> None:
    dead, alive = run / "containerd/containerd.sock", run / "docker.sock"
    with socket.socket(socket.AF_UNIX) as unused:
        unused.bind(str(dead))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(alive))
        listening.listen()
        assert dockerd.stale_files(run, proc) == [dead]


def test_version_asks_an_engine_that_does_not_run(tmp_path: Path) -> None:
    program = tmp_path / "dockerd"
    program.write_text("#!/bin/sh\necho 'Docker version 26.1.5+dfsg1, build 411e817'\n")
    program.chmod(0o755)
    assert dockerd.version(program) == "26.1.5+dfsg1"


def test_the_error_in_the_log_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "dockerd.log"
    log.write_text('level=info msg=a\nfailed to start daemon: \x1b[31mno\nlevel=info msg="bye"\n')
    monkeypatch.setattr(dockerd, "LOG", log)
    assert dockerd._error_in_log() == ": failed to start daemon: \\x1b[31mno"
    monkeypatch.setattr(dockerd, "LOG", Path("/nothing/there"))
    assert not dockerd._error_in_log()
