"""Engines elsewhere: over TCP and ssh, in docker contexts; each failure within two seconds."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.base.errors import BadInput
from tasks.engine import advice, discovery, endpoint, errors
from tasks.engine.engine import version_numbers
from tests.unit.engine.fake_engine import failure, fake_engine


def test_a_closed_tcp_port_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    error = failure()
    assert isinstance(error, errors.EngineUnreachable)
    assert "DOCKER_HOST" in error.what


def test_a_silent_tcp_engine_is_reported_as_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(advice.TIMEOUT_VARIABLE, "0.3")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        assert isinstance(failure(), errors.EngineHangs)


def test_a_hanging_name_server_makes_the_engine_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()

    def hang(*_args: object, **_kwargs: object) -> None:
        gate.wait(10)
        raise socket.gaierror

    monkeypatch.setattr("tasks.engine.transport.socket.getaddrinfo", hang)
    monkeypatch.setenv(advice.TIMEOUT_VARIABLE, "0.3")
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.invalid:2375")
    assert isinstance(failure(), errors.EngineUnreachable)
    gate.set()


@pytest.mark.parametrize(
    "ssh",
    [
        "#!/bin/sh\necho 'ssh: connect to host h port 22: Connection refused' >&2\nexit 255\n",
        "#!/bin/sh\nexec sleep 30\n",
        None,
    ],
)
def test_a_failing_ssh_makes_the_engine_unreachable(
    machine: Path, monkeypatch: pytest.MonkeyPatch, ssh: str | None
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@h")
    monkeypatch.setenv("PATH", str(machine / "bin") + (":/usr/bin:/bin" if ssh else ""))
    if ssh:
        (machine / "bin/ssh").write_text(ssh)
        (machine / "bin/ssh").chmod(0o755)
    error = failure()
    assert isinstance(error, errors.EngineUnreachable)
    assert "ssh" in error.what


def test_require_reaches_an_engine_over_ssh(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in `ssh` that relays to a socket, as `docker system dial-stdio` does."""
    relay = (
        "import os, socket, sys\nassert sys.argv[-4:-2] == ['h', 'docker']\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({str(machine / 'e.sock')!r})\n"
        "s.sendall(os.read(0, 4096))\nwhile data := s.recv(4096): os.write(1, data)\n"
    )
    (machine / "relay.py").write_text(relay)
    words = shlex.join([sys.executable, str(machine / "relay.py")])
    (machine / "bin/ssh").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (machine / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@h:2222")
    with fake_engine(machine / "e.sock"):
        engine = discovery.require()
    assert not engine.is_local
    assert engine.sdk_arguments() == {"base_url": "ssh://me@h:2222", "use_ssh_client": True}


@pytest.mark.parametrize(
    "host",
    [
        "npipe:////./pipe/docker",
        "junk",
        "tcp://",
        "tcp://h:port",
        "tcp://[::1",
        "tcp://h:99999",
        "tcp://" + "a" * 70,
        "ssh://h:port",
        "unix:///a\nb",
    ],
)
def test_a_malformed_host_is_unreachable(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert isinstance(failure(), errors.EngineUnreachable | errors.EngineDown)


def context_of(host: str, **fields: Any) -> str:
    """What `docker context inspect` prints (28.2)."""
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    return json.dumps([{"Name": "box", "Endpoints": endpoints, "TLSMaterial": {}, **fields}])


def test_require_uses_the_current_context(machine: Path) -> None:
    (machine / ".docker").mkdir()
    (machine / ".docker/config.json").write_text('{"currentContext": "box"}')
    with fake_engine(machine / "e.sock") as host:
        (machine / "bin/context.json").write_text(context_of(host))
        engine = discovery.require()
    assert engine.endpoint.context == "box"
    assert engine.host == host


def test_docker_host_takes_precedence_over_the_context(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "box")
    with fake_engine(machine / "e.sock") as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        assert discovery.require().endpoint.chosen_by == "DOCKER_HOST"


def test_the_error_of_a_silent_context_names_the_context(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "box")
    socket_path = f"unix://{machine}/.colima/default/docker.sock"
    (machine / "bin/context.json").write_text(context_of(socket_path))
    error = failure()
    assert isinstance(error, errors.EngineDown)
    assert "`box`" in error.what
    assert error.fix == "colima start"


@pytest.mark.parametrize("docker", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nexec sleep 20\n"])
def test_an_unreadable_context_is_reported(
    machine: Path, monkeypatch: pytest.MonkeyPatch, docker: str
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    monkeypatch.setenv(advice.TIMEOUT_VARIABLE, "0.3")
    (machine / "bin/docker").write_text(docker)
    assert isinstance(failure(), errors.ContextUnusable)


def test_a_context_brings_its_certificates(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).touch()
    inspected = json.loads(
        context_of(
            "tcp://engine:2376",
            TLSMaterial={"docker": ["ca.pem", "cert.pem", "key.pem"]},
            Storage={"TLSPath": str(tmp_path)},
        )
    )
    tls = endpoint.parse_context(inspected[0]).tls
    assert tls == endpoint.EngineTls(
        folder / "ca.pem", folder / "cert.pem", folder / "key.pem", True
    )


def test_require_discovers_a_rootless_engine(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(machine))
    with fake_engine(machine / "docker.sock") as host:
        engine = discovery.require()
    assert engine.host == host
    assert engine.environment == {"DOCKER_HOST": host}


def test_an_endpoint_chosen_by_the_user_is_never_replaced(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(machine))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{machine}/nothing.sock")
    with fake_engine(machine / "docker.sock"):
        assert isinstance(failure(), errors.EngineDown)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "1e9"])
def test_an_impossible_timeout_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(advice.TIMEOUT_VARIABLE, value)
    with pytest.raises(BadInput, match=advice.TIMEOUT_VARIABLE):
        discovery.require()


def test_every_engine_error_has_its_own_code_and_status() -> None:
    kinds = errors.EngineError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds) == 10
    assert len({kind.exit_status for kind in kinds} | {0, 1, 2}) == len(kinds) + 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [("26.1.5+dfsg1", (26, 1, 5)), ("v0.13.1", (0, 13, 1)), ("1.41", (1, 41)), ("dev", (0,))],
)
def test_version_numbers_are_read(text: str, expected: tuple[int, ...]) -> None:
    assert version_numbers(text) == expected


def test_discovery_needs_no_installed_package() -> None:
    """`setup`, `doctor` and `snapshot-local` run before anything is."""
    modules = "tasks.engine.discovery"
    code = (
        f"import sys; import {modules}; print([m for m in sys.modules if m in ('docker','httpx')])"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={"PATH": os.environ["PATH"]},
    )
    assert result.stdout == b"[]\n"
