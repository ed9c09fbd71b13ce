"""Discovery against real sockets and real programs; each failure within two seconds."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tasks.engine import advice, discovery, errors
from tests.unit.engine.fake_engine import VERSION, failure, fake_engine

if TYPE_CHECKING:
    from pathlib import Path


def test_require_returns_an_engine_that_answers(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_engine(machine / "e.sock") as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        engine = discovery.require()
    assert (engine.host, engine.version, engine.api) == (host, "26.1.5+dfsg1", "1.45")
    assert engine.buildx == "0.13.1"
    assert engine.is_local
    assert engine.sdk_arguments() == {"base_url": host}
    assert not engine.environment


def test_a_missing_docker_command_is_reported(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "empty").mkdir()
    monkeypatch.setenv("PATH", str(machine / "empty"))
    error = failure()
    assert isinstance(error, errors.NoDocker)
    assert error.fix == "nox -s setup"


def test_a_missing_socket_means_the_engine_is_down() -> None:
    error = failure()
    assert isinstance(error, errors.EngineDown)
    assert error.fix == "nox -s setup"


def test_a_refusing_socket_means_the_engine_is_down(machine: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(machine / "default.sock"))
    stale.close()
    assert isinstance(failure(), errors.EngineDown)


def test_a_silent_engine_is_reported_as_hanging(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(advice.TIMEOUT_VARIABLE, "0.3")
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(machine / "default.sock"))
        hanging.listen()
        assert isinstance(failure(), errors.EngineHangs)


def test_an_engine_with_a_full_queue_is_reported_as_hanging(machine: Path) -> None:
    path = str(machine / "default.sock")
    waiting = []
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(path)
        hanging.listen(0)
        for _ in range(4):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            client.connect_ex(path)
        assert isinstance(failure(), errors.EngineHangs)
        for client in waiting:
            client.close()


def test_a_stopped_process_is_reported_as_hanging(machine: Path) -> None:
    """SIGSTOP, as a paused engine: the kernel still accepts for it."""
    path = machine / "default.sock"
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
        "print('up', flush=True)\nwhile True: s.accept()[0].sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n')"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        child.send_signal(19)
        try:
            assert isinstance(failure(), errors.EngineHangs)
        finally:
            child.kill()


def test_a_dripped_answer_does_not_stretch_the_deadline(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(advice.TIMEOUT_VARIABLE, "0.5")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(machine / "default.sock"))
    listener.listen()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            for byte in b"HTTP/1.0 200 OK" * 10:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return
                time.sleep(0.05)

    thread = threading.Thread(target=drip)
    thread.start()
    assert isinstance(failure(), errors.EngineHangs)
    thread.join()


def test_a_socket_without_permission_is_reported(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Denied(socket.socket):  # root, as which CI runs, is never denied
        def connect(self, address: Any) -> None:
            raise PermissionError(13, "Permission denied", address)

    monkeypatch.setattr("tasks.engine.transport.socket.socket", Denied)
    error = failure()
    assert isinstance(error, errors.EngineDenied)
    assert "docker" in error.fix
    assert str(machine) in error.what


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ApiVersion": "1.40", "Version": "19.03.15"}, errors.ApiTooOld),
        ({"ApiVersion": "1.9", "Version": "1.9.1"}, errors.ApiTooOld),
        ({"ApiVersion": "1.41", "Version": "20.10.24+dfsg1"}, errors.EngineTooOld),
        ({"Os": "windows"}, errors.NotDocker),
        ({"Components": [{"Name": "Podman Engine"}], "Version": "5.4"}, errors.NotDocker),
    ],
)
def test_an_unsuitable_engine_is_refused(
    machine: Path, change: dict[str, Any], expected: type[errors.EngineError]
) -> None:
    with fake_engine(machine / "default.sock", VERSION | change):
        assert isinstance(failure(), expected)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.0 200 OK\r\n\r\n[1"])
def test_another_program_on_the_socket_is_refused(machine: Path, answer: bytes) -> None:
    with fake_engine(machine / "default.sock", raw=answer):
        assert isinstance(failure(), errors.NotDocker | errors.EngineUnreachable)


def test_a_missing_buildx_is_reported(machine: Path) -> None:
    (machine / "bin/docker").write_text("#!/bin/sh\nexit 1\n")
    with fake_engine(machine / "default.sock"):
        error = failure()
    assert isinstance(error, errors.NoBuildx)
    assert error.fix == "nox -s setup"
