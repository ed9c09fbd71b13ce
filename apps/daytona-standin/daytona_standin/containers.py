"""Sandboxes as containers: a script plays Daytona's daemon, and the entry point is its child."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import docker.errors
from docker.types import Mount

from daytona_standin.exec_channel import CommandResult, ExecChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daytona_standin.engine import LocalEngine

#: Where the script is in a sandbox; Daytona mounts its daemon there.
DAEMON: Final = "/usr/local/bin/daytona"
_GUEST: Final = Path(__file__).with_name("guest.sh")
_CA_BUNDLE: Final = "/run/secrets/ca_bundle"
_READY: Final = 'test -e "${HOME:-/root}/.daytona/ready" && printf %s "$HOME"'
#: Seconds for a container to start and for the daemon in it to be ready.
_START: Final = 30.0


class SandboxStartFailed(Exception):
    """Why a sandbox did not start, in the engine's words."""


class SandboxContainers:
    """`ca_bundle`: certificate authorities that every sandbox gets as a file."""

    def __init__(self, engine: LocalEngine, *, ca_bundle: Path | None) -> None:
        self._engine = engine
        self._api = engine.api
        self._ca_bundle = ca_bundle
        #: Container of an image without WORKDIR → the home folder, where the daemon works then.
        self._homes: dict[str, str] = {}

    def create(
        self, image: str, sandbox: str, entrypoint: Sequence[str], environment: Mapping[str, str]
    ) -> str:
        """The new container's id."""
        workdir = self._api.inspect_image(image)["Config"].get("WorkingDir")
        mounts = [Mount(DAEMON, str(_GUEST), type="bind", read_only=True)]
        if self._ca_bundle:
            source = str(self._ca_bundle.resolve())
            mounts.append(Mount(_CA_BUNDLE, source, type="bind", read_only=True))
        variables = dict(environment)
        if not workdir:
            variables["DAYTONA_USER_HOME_AS_WORKDIR"] = "true"
        container = self._api.create_container(
            image,
            entrypoint=[DAEMON],
            command=list(entrypoint),
            name=f"daytona-standin-{self._engine.identity}-{sandbox[:13]}",
            hostname=sandbox,
            environment=variables,
            labels={**self._engine.labels, "daytona-standin.sandbox": sandbox},
            working_dir=workdir or None,
            host_config=self._api.create_host_config(mounts=mounts),
        )
        return str(container["Id"])

    def start(self, container: str) -> None:
        """Start, and wait for the daemon in it. Raises `SandboxStartFailed`."""
        try:
            self._api.start(container)
        except docker.errors.APIError as error:
            raise SandboxStartFailed(str(error.explanation or error)) from error
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            details = self._api.inspect_container(container)
            if not details["State"]["Running"]:
                raise SandboxStartFailed(
                    "timeout waiting for the sandbox to start - please ensure that your"
                    f" entrypoint is long-running (exit code {details['State']['ExitCode']})"
                )
            response = self.run(container, ["sh", "-c", _READY])
            if response.status == 0:
                if not details["Config"].get("WorkingDir"):
                    self._homes[container] = response.output.decode() or "/"
                return
            time.sleep(0.05)
        raise SandboxStartFailed("timeout waiting for daemon to start")

    def stop(self, container: str, *, force: bool = False) -> None:
        with suppress(docker.errors.NotFound):
            self._api.stop(container, timeout=0 if force else 10)

    def remove(self, container: str) -> None:
        self._engine.remove_container(container)

    def address(self, container: str) -> str:
        networks = self._api.inspect_container(container)["NetworkSettings"]["Networks"]
        return next((n["IPAddress"] for n in networks.values() if n["IPAddress"]), "")

    def run(
        self,
        container: str,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        merge_outputs: bool = False,
        timeout: float | None = None,
        on_timeout: Callable[[], None] = lambda: None,
    ) -> CommandResult:
        """Run as the image's user. At the deadline: `on_timeout()`, then `TimeoutError`."""
        identity = self._api.exec_create(
            container,
            list(command),
            stdin=True,
            environment=dict(environment or {}),
            workdir=cwd or self._homes.get(container),
        )["Id"]
        connection = self._api.exec_start(identity, socket=True)
        channel = ExecChannel(connection, stdin, merge_outputs=merge_outputs)
        try:
            if not channel.wait(timeout):
                on_timeout()
                raise TimeoutError
        finally:
            channel.close()
        status: Any = self._api.exec_inspect(identity)["ExitCode"]
        return CommandResult(
            -1 if status is None else int(status),
            bytes(channel.output),
            bytes(channel.error_output),
        )

    def run_script(
        self,
        container: str,
        text: str,
        *,
        mark: str,
        cwd: str | None,
        environment: Mapping[str, str],
        timeout: float | None,
    ) -> CommandResult:
        """Give the text to the stdin of the shell that Daytona would choose; one output in all.

        `mark` names the shell's process group, which is killed at the deadline.
        """
        return self.run(
            container,
            [DAEMON, "--exec", mark],
            stdin=text.encode() + b"\n",
            cwd=cwd,
            environment=environment,
            merge_outputs=True,
            timeout=timeout,
            on_timeout=lambda: self._kill(container, mark),
        )

    def _kill(self, container: str, mark: str) -> None:
        self.run(container, [DAEMON, "--kill", mark], timeout=10)

    def start_daemon_helper(self, container: str, *arguments: str) -> None:
        """Start the daemon's script with `arguments` in the background."""
        identity = self._api.exec_create(container, [DAEMON, *arguments])["Id"]
        self._api.exec_start(identity, detach=True)
