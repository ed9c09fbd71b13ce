"""Whatever ends a stand-in, nothing of it is left: containers, images, servers, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tasks.base import project, waiting
from tasks.sandbox import reaper

if TYPE_CHECKING:
    from collections.abc import Iterator

TINY = 'FROM debian:trixie-slim\nRUN echo end\nENTRYPOINT ["sleep", "infinity"]\n'


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tasks", "stand-in", "--json"]
    with subprocess.Popen(command, cwd=project.ROOT, stdout=subprocess.PIPE) as child:
        yield child
        child.kill()


def docker(*args: str) -> list[str]:
    done = subprocess.run(["docker", *args], check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_nothing_is_left(
    child: subprocess.Popen[bytes], signum: signal.Signals, status: int
) -> None:
    assert child.stdout is not None
    text = ""
    while not text.rstrip().endswith("}"):
        text += child.stdout.readline().decode()
    given = json.loads(text)
    url, headers = given["DAYTONA_API_URL"], {"Authorization": f"Bearer {given['DAYTONA_API_KEY']}"}
    with httpx.Client(headers=headers, timeout=60) as client:
        body = {"name": "x", "buildInfo": {"dockerfileContent": TINY, "contextHashes": []}}
        made = client.post(f"{url}/snapshots", json=body).raise_for_status().json()

        def active() -> bool:
            return bool(client.get(f"{url}/snapshots/{made['id']}").json()["state"] == "active")

        waiting.until(active, what="the build", timeout=60)
        client.post(f"{url}/sandbox", json={"snapshot": "x"}).raise_for_status()
        state = client.get(url.removesuffix("api") + "_stand-in/state").json()
    (container,), (image,) = state["containers"], state["images"]
    run = image.partition("/")[2].partition(":")[0]
    servers = psutil.Process(child.pid).children(recursive=True)
    assert {"docker-registry"} <= {p.name() for p in servers}
    assert reaper.run_dir(run).is_dir()

    os.kill(child.pid, signum)
    assert child.wait(timeout=60) == status

    def gone() -> bool:
        return (
            not docker("ps", "-aq", "--filter", f"name={container}")
            and not docker("images", "-q", image)
            and not any(p.is_running() and p.status() != "zombie" for p in servers)
            and not reaper.run_dir(run).exists()
        )

    waiting.until(gone, what="the end of all of it", timeout=40)
