"""Sandboxes as containers: Daytona's daemon is PID 1, the image's entry point its child."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import docker
import docker.errors
from docker.types import Mount
from docker.utils.socket import frames_iter

from tasks.base import certificates
from tasks.sandbox.run import RUN_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasks.sandbox.run import Run

_DAEMON: Final = "/usr/local/bin/daytona"
_GUEST: Final = Path(__file__).with_name("guest.sh")
#: What the exec interface of the engine says when it cannot start a command.
_CANNOT: Final = (126, 127)


class CannotStart(Exception):
    """Why a sandbox did not start, in the engine's words."""


@dataclass(frozen=True)
class Result:
    status: int
    output: bytes
    errors: bytes = b""


class Containers:
    def __init__(self, client: docker.DockerClient, run: Run) -> None:
        self._api: Any = client.api
        self._run = run
        #: Container of an image without WORKDIR → the home folder, where the daemon goes then.
        self._homes: dict[str, str] = {}

    def create(
        self, image: str, name: str, entrypoint: Sequence[str], env: Mapping[str, str]
    ) -> str:
        attrs = self._api.inspect_image(image)
        workdir = attrs["Config"].get("WorkingDir")
        mounts = [Mount(_DAEMON, str(_GUEST), type="bind", read_only=True)]
        # The stand-in's own addition: machines behind a TLS-inspecting proxy, as in builds.
        if bundle := certificates.find_ca_bundle():
            target = "/run/secrets/ca_bundle"
            mounts.append(Mount(target, str(bundle.resolve()), type="bind", read_only=True))
        given = dict(env) if workdir else {**env, "DAYTONA_USER_HOME_AS_WORKDIR": "true"}
        labels = {**self._run.labels(f"daytona {name}"), "dev.iterate.stand-in.sandbox": name}
        host = self._api.create_host_config(mounts=mounts)
        made = self._api.create_container(
            image,
            entrypoint=[_DAEMON],
            command=list(entrypoint),
            name=f"iterate-{self._run.id}-{name[:13]}",
            hostname=name,
            environment=given,
            labels=labels,
            working_dir=workdir or None,
            host_config=host,
        )
        return str(made["Id"])

    def start(self, container: str, *, timeout: float = 30) -> None:
        """Start, and wait for the daemon in it."""
        try:
            self._api.start(container)
        except docker.errors.APIError as error:
            raise CannotStart(str(error.explanation or error)) from error
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = self._api.inspect_container(container)["State"]
            if not state["Running"]:
                raise CannotStart(
                    "timeout waiting for the sandbox to start - please ensure that your"
                    f" entrypoint is long-running (exit code {state['ExitCode']})"
                )
            script = 'test -e "${HOME:-/root}/.daytona/ready"'
            ready = self.exec(container, ["sh", "-c", script + ' && printf %s "$HOME"'])
            if ready.status == 0:
                if not self.config(container).get("WorkingDir"):
                    self._homes[container] = ready.output.decode() or "/"
                return
            time.sleep(0.05)
        raise CannotStart("timeout waiting for daemon to start")

    def stop(self, container: str, *, force: bool = False) -> None:
        with suppress(docker.errors.NotFound):
            self._api.stop(container, timeout=0 if force else 10)

    def remove(self, container: str) -> None:
        with suppress(docker.errors.NotFound):
            self._api.remove_container(container, force=True, v=True)

    def address(self, container: str) -> str:
        networks = self._api.inspect_container(container)["NetworkSettings"]["Networks"]
        return next((n["IPAddress"] for n in networks.values() if n["IPAddress"]), "")

    def config(self, container: str) -> dict[str, Any]:
        return dict(self._api.inspect_container(container)["Config"])

    def mine(self) -> list[dict[str, Any]]:
        label = f"{RUN_LABEL}={self._run.id}"
        return list(self._api.containers(all=True, filters={"label": label}))

    def images(self) -> list[str]:
        label = f"{RUN_LABEL}={self._run.id}"
        found = self._api.images(filters={"label": label})
        return sorted(tag for image in found for tag in image["RepoTags"] or [image["Id"]])

    # ── what goes on inside ─────────────────────────────────────────────────────────────────

    def exec(
        self,
        container: str,
        args: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        merged: bool = False,
        timeout: float | None = None,
        overdue: Callable[[], None] = lambda: None,
    ) -> Result:
        """Run as the image's user. Raises `TimeoutError` after `overdue` at the deadline."""
        made = self._api.exec_create(
            container,
            list(args),
            stdin=True,
            environment=dict(env or {}),
            workdir=cwd or self._homes.get(container),
        )["Id"]
        talk = _Talk(self._api.exec_start(made, socket=True), stdin, merged=merged)
        if not talk.ended(timeout):
            overdue()
            talk.close()
            raise TimeoutError
        talk.close()
        status = self._api.exec_inspect(made)["ExitCode"]
        return Result(-1 if status is None else int(status), bytes(talk.out), bytes(talk.err))

    def script(
        self,
        container: str,
        text: str,
        *,
        mark: str,
        cwd: str | None,
        env: Mapping[str, str],
        timeout: float | None,
    ) -> Result:
        """The text on the stdin of the shell that Daytona would take; outputs are one."""
        return self.exec(
            container,
            [_DAEMON, "--exec", mark],
            stdin=text.encode() + b"\n",
            cwd=cwd,
            env=env,
            merged=True,
            timeout=timeout,
            overdue=lambda: self._kill(container, mark),
        )

    def _kill(self, container: str, mark: str) -> None:
        self.exec(container, [_DAEMON, "--kill", mark], timeout=10)

    def daemon(self, container: str, *args: str) -> None:
        """Start one of the daemon's helpers in the background."""
        made = self._api.exec_create(container, [_DAEMON, *args])["Id"]
        self._api.exec_start(made, detach=True)


class _Talk:
    """Feeds and drains one exec, each in a thread."""

    def __init__(self, connection: Any, stdin: bytes, *, merged: bool) -> None:
        self.out = bytearray()
        self.err = self.out if merged else bytearray()
        self._connection = connection
        self._raw = getattr(connection, "_sock", connection)
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._writer = threading.Thread(target=self._feed, args=(stdin,), daemon=True)
        self._reader.start()
        self._writer.start()

    def ended(self, timeout: float | None) -> bool:
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def _drain(self) -> None:
        with suppress(OSError, ValueError):
            frames: Any = frames_iter
            for stream, chunk in frames(self._connection, tty=False):
                (self.out if stream == 1 else self.err).extend(chunk)

    def _feed(self, stdin: bytes) -> None:
        with suppress(OSError, ValueError):
            self._raw.sendall(stdin)
            self._raw.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)
        for thread in (self._reader, self._writer):
            thread.join(5)
        # docker-py hands out a reader, over a response, over the socket: each wants its close.
        layers: list[Any] = [getattr(self._connection, "_response", None), self._connection]
        for layer in (*layers, self._raw):
            with suppress(OSError, ValueError, AttributeError):
                layer.close()
