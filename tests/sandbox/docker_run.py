"""Containers of the image, started as a person types it: `docker run` with any of its options."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.base import certificates, project, waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.sandbox.run import Run

Result = subprocess.CompletedProcess[str]


def docker(*args: str, timeout: float = 60, **options: Any) -> Result:
    """The docker client; its status is for the caller to judge."""
    command = ["docker", *args]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=timeout, **options
    )


@dataclass(frozen=True)
class Container:
    name: str

    def exec(self, *command: str, user: str = project.USER) -> Result:
        return docker("exec", "--user", user, self.name, *command)

    def state(self) -> dict[str, Any]:
        form = "{{json .State}}"
        return dict(json.loads(docker("inspect", "--format", form, self.name).stdout))

    def log(self) -> str:
        result = docker("logs", self.name)
        return result.stdout + result.stderr

    def healthz(self) -> dict[str, Any]:
        curl = [
            "curl",
            "--silent",
            "--max-time",
            "5",
            f"http://127.0.0.1:{project.DAEMON_PORT}/healthz",
        ]
        return dict(json.loads(self.exec(*curl).stdout))

    def is_ready(self) -> bool:
        return self.exec("/usr/local/lib/sandbox/health.sh").returncode == 0

    def wait_until_ready(self, timeout: float = 90) -> None:
        self._wait(self.is_ready, what=f"readiness of {self.name}", timeout=timeout)

    def wait_until_answering(self, timeout: float = 60) -> None:
        curl = ("curl", "--silent", "--fail", "http://127.0.0.1:3000/healthz")
        self._wait(lambda: self.exec(*curl).returncode == 0, what="the daemon", timeout=timeout)

    def _wait(self, check: Callable[[], bool], *, what: str, timeout: float) -> None:
        def is_true() -> bool:
            assert self.state()["Running"], self.log()
            return check()

        waiting.until(is_true, what=what, timeout=timeout, state=self.log)

    def wait_until_ended(self, timeout: float = 30) -> int:
        waiting.until(
            lambda: not self.state()["Running"],
            what=f"the end of {self.name}", timeout=timeout, state=self.log,
        )  # fmt: skip
        return int(self.state()["ExitCode"])


class Containers:
    """What one test starts, with the labels of its run; `end` deletes it."""

    def __init__(self, run: Run, image: str, purpose: str) -> None:
        labels = run.labels(purpose).items()
        self._labels = [f"--label={name}={value}" for name, value in labels]
        self._run = run
        self._purpose = purpose
        self._image = image
        self._names: list[str] = []
        self._volumes: list[str] = []

    def run(self, *command: str, options: tuple[str, ...] = (), **run_options: Any) -> Result:
        """`docker run OPTIONS IMAGE COMMAND`, to its end."""
        return docker(*self.line(*command, options=options), **run_options)

    def line(self, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """The arguments of the docker client, for a new container."""
        name = self._run.name(self._purpose)
        self._names.append(name)
        return ["run", "--name", name, *self._labels, *options, self._image, *command]

    def start(self, *options: str, command: tuple[str, ...] = ()) -> Container:
        """In the background."""
        result = docker(*self.line(*command, options=("-d", *options)))
        assert result.returncode == 0, result.stderr
        return Container(self._names[-1])

    def volume(self) -> str:
        """The name of a new, empty volume."""
        name = self._run.name(self._purpose)
        assert docker("volume", "create", *self._labels, name).returncode == 0
        self._volumes.append(name)
        return name

    def end(self) -> None:
        if self._run.keep:
            return
        if self._names:
            docker("rm", "-f", "-v", *self._names)
        for volume in self._volumes:
            docker("volume", "rm", "-f", volume)


def ca_options() -> tuple[str, ...]:
    """Behind a proxy that inspects TLS, what an installation at the start needs."""
    bundle = certificates.find_ca_bundle()
    return ("-v", f"{bundle.resolve()}:/run/secrets/ca_bundle:ro") if bundle else ()
