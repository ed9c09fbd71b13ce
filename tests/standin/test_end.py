"""However a stand-in ends, nothing of it is left: containers, images, servers, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tasks.base import programs, project, waiting
from tasks.sandbox.stand_in import APPLICATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Command = Callable[[Path], list[str]]

TINY = 'FROM debian:trixie-slim\nRUN echo end\nENTRYPOINT ["sleep", "infinity"]\n'


def our_command(_folder: Path) -> list[str]:
    return [sys.executable, "-m", "tasks", "stand-in", "--json"]


def application(folder: Path) -> list[str]:
    """Without anything of ours around it, as somebody else would start it."""
    program = str(programs.require_registry())
    options = ["--registry-program", program, "--folder", str(folder / "stand-in"), "--leash"]
    return [sys.executable, "-m", "daytona_standin", *options]


@contextmanager
def run_until_exit(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start it, and kill it in the end if it still runs."""
    paths = os.pathsep.join([str(project.ROOT), str(project.ROOT / APPLICATION)])
    with subprocess.Popen(
        command,
        cwd=project.ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        yield child
        child.kill()


@dataclass(frozen=True)
class Traces:
    """What a stand-in has made on this machine."""

    container: str
    image: str
    processes: list[psutil.Process]
    folder: Path

    @property
    def are_gone(self) -> bool:
        return (
            not docker("ps", "-aq", "--filter", f"name={self.container}")
            and not docker("images", "-q", self.image)
            and not any(is_running(process) for process in self.processes)
            and not self.folder.exists()
        )


def is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def docker(*arguments: str) -> list[str]:
    result = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True)
    return result.stdout.split()


def read_description(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What it prints when it listens: the variables, in the one form or the other."""
    assert child.stdout is not None
    text = ""
    while not text.rstrip().endswith("}"):
        line = child.stdout.readline().decode()
        assert line, f"it ended instead of starting: {text}"
        text += line
    description = json.loads(text)
    return dict(description.get("environment", description))


def use(environment: dict[str, Any], child: subprocess.Popen[bytes]) -> Traces:
    """Build a snapshot, start a sandbox, and begin a command that takes longer than the test."""
    url = environment["DAYTONA_API_URL"]
    headers = {"Authorization": f"Bearer {environment['DAYTONA_API_KEY']}"}
    client = httpx.Client(headers=headers, timeout=120, trust_env=False)
    body = {"name": "x", "buildInfo": {"dockerfileContent": TINY, "contextHashes": []}}
    snapshot = client.post(f"{url}/snapshots", json=body).raise_for_status().json()

    def is_active() -> bool:
        return bool(client.get(f"{url}/snapshots/{snapshot['id']}").json()["state"] == "active")

    waiting.until(is_active, what="the build", timeout=120)
    sandbox = client.post(f"{url}/sandbox", json={"snapshot": "x"}).raise_for_status().json()

    def run_command() -> None:
        address = f"{sandbox['toolboxProxyUrl']}/{sandbox['id']}/process/execute"
        with suppress(httpx.TransportError):
            httpx.post(address, json={"command": "sleep 600"}, headers=headers, timeout=600)

    threading.Thread(target=run_command, daemon=True).start()
    state = client.get(url.removesuffix("api") + "_stand-in/state").json()
    client.close()
    (container,), (image,) = state["containers"], state["images"]
    processes = psutil.Process(child.pid).children(recursive=True)
    assert {"docker-registry"} <= {process.name() for process in processes}
    return Traces(container, image, processes, folder_of(child))


def folder_of(child: subprocess.Popen[bytes]) -> Path:
    """The folder that the application was given."""
    main = psutil.Process(child.pid)
    for process in (main, *main.children(recursive=True)):
        line = process.cmdline()
        if "--folder" in line:
            return Path(line[line.index("--folder") + 1])
    raise AssertionError("no process was given a folder")


def wait_until_gone(traces: Traces) -> None:
    waiting.until(lambda: traces.are_gone, what="the end of all of it", timeout=120)


@pytest.mark.parametrize("command", [our_command, application])
@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_signal_leaves_nothing(
    tmp_path: Path, command: Command, signum: signal.Signals, status: int
) -> None:
    with run_until_exit(command(tmp_path)) as child:
        traces = use(read_description(child), child)
        os.kill(child.pid, signum)
        assert child.wait(timeout=120) == status
        wait_until_gone(traces)


def test_a_closed_leash_leaves_nothing(tmp_path: Path) -> None:
    with run_until_exit(application(tmp_path)) as child:
        traces = use(read_description(child), child)
        assert child.stdin
        child.stdin.close()
        assert child.wait(timeout=120) == 0
        wait_until_gone(traces)


def test_a_killed_application_ends_our_command(tmp_path: Path) -> None:
    with run_until_exit(our_command(tmp_path)) as child:
        traces = use(read_description(child), child)
        (stand_in,) = (p for p in traces.processes if "--leash" in p.cmdline())
        stand_in.kill()
        assert child.wait(timeout=120) == 1
        wait_until_gone(traces)


def test_a_taken_port_is_reported_in_one_line(tmp_path: Path) -> None:
    with run_until_exit(application(tmp_path)) as child:
        port = httpx.URL(read_description(child)["DAYTONA_API_URL"]).port
        second_command = [*our_command(tmp_path), "--port", str(port)]
        result = subprocess.run(
            second_command, cwd=project.ROOT, check=False, capture_output=True, text=True
        )
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr
