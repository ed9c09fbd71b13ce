"""A sandbox as a container of a Docker Engine."""

from __future__ import annotations

import io
import tarfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import docker
import docker.errors

from tasks.base.errors import TaskError
from tasks.sandbox.errors import SandboxEnded
from tasks.sandbox.providers.docker_errors import engine_errors
from tasks.sandbox.providers.docker_exec import ExecConversation
from tasks.sandbox.sandbox import Sandbox
from tasks.sandbox.values import ExecResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker.models.containers import Container

    from tasks.sandbox.ownership import Ownership
    from tasks.sandbox.values import Spec


class DockerSandbox(Sandbox):
    def __init__(
        self, api: docker.APIClient, container: Container, spec: Spec, run: Ownership
    ) -> None:
        self._api = api
        self._id = str(container.id)
        self._urls: dict[int, str] = {}
        self.name = str(container.name)
        self.spec = spec
        self.run = run

    # ── life ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._urls = {}
        with engine_errors(f"starting {self.name}"):
            self._api.start(self._id)

    def stop(self, *, grace: float = 10) -> None:
        self._urls = {}
        with engine_errors(f"stopping {self.name}"):
            self._api.stop(self._id, timeout=int(grace))

    def kill(self) -> None:
        self._urls = {}
        with engine_errors(f"killing {self.name}"):
            self._api.kill(self._id, "SIGKILL")
            self._api.wait(self._id)

    def delete(self) -> None:
        with engine_errors(f"deleting {self.name}"), suppress(docker.errors.NotFound):
            self._api.remove_container(self._id, force=True, v=True)

    def end_reason(self) -> str | None:
        state = self._state()
        if state["Running"]:
            return None
        if state["Status"] == "created":
            return "was never started"
        memory = " (out of memory)" if state.get("OOMKilled") else ""
        return f"ended with status {state['ExitCode']}{memory}"

    def exit_status(self) -> int:
        state = self._state()
        if state["Running"]:
            raise TaskError(f"{self.name} still runs: it has no exit status yet")
        return int(state["ExitCode"])

    def health(self) -> str:
        health = self._state().get("Health") or {}
        return str(health.get("Status", "none"))

    def _state(self) -> dict[str, Any]:
        return dict(self._inspect()["State"])

    def _inspect(self) -> dict[str, Any]:
        with engine_errors(f"inspecting {self.name}"):
            return dict(self._api.inspect_container(self._id))

    # ── what goes on inside ─────────────────────────────────────────────────────────────────

    def run_inside(
        self,
        args: Sequence[str],
        *,
        user: str,
        env: Mapping[str, str],
        cwd: str | None,
        stdin: bytes,
        timeout: float,
    ) -> tuple[ExecResult, bool]:
        start = time.monotonic()
        with engine_errors(f"running a command in {self.name}"):
            identity = self._api.exec_create(
                self._id,
                list(args),
                user=user,
                environment=dict(env),
                workdir=cwd,
                stdin=bool(stdin),
            )["Id"]
            conversation = ExecConversation(self._api.exec_start(identity, socket=True), stdin)
            timed_out = conversation.ended_within(timeout) is False
            status = None if timed_out else self._api.exec_inspect(identity)["ExitCode"]
        result = ExecResult(
            command=" ".join(args),
            exit_code=124 if status is None else int(status),
            stdout_bytes=bytes(conversation.stdout),
            stderr_bytes=bytes(conversation.stderr),
            seconds=time.monotonic() - start,
        )
        return result, timed_out

    def read(self, path: str) -> bytes:
        """Of a container that has ended, too: that is when its logs matter most."""
        try:
            return super().read(path)
        except SandboxEnded:
            with engine_errors(f"reading {path} of {self.name}"):
                chunks, _ = self._api.get_archive(self._id, path)
                archive_file = io.BytesIO(b"".join(chunks))
        with tarfile.open(fileobj=archive_file) as archive:
            member = archive.extractfile(archive.next() or "")
            return b"" if member is None else member.read()

    # ── from outside ────────────────────────────────────────────────────────────────────────

    def url(self, port: int) -> str:
        # Asked for again after each start: the engine gives another free port each time.
        if port not in self._urls:
            attrs = self._inspect()
            bindings = attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp") or []
            if not bindings:
                if not attrs["State"]["Running"]:
                    raise SandboxEnded(f"{self.name} does not run: port {port} is not published")
                raise TaskError(f"port {port} of {self.name} is not published")
            self._urls[port] = f"http://{bindings[0]['HostIp']}:{bindings[0]['HostPort']}"
        return self._urls[port]

    def console(self, *, tail: int | None = None) -> str:
        with engine_errors(f"reading the console of {self.name}"):
            text = self._api.logs(self._id, tail="all" if tail is None else tail)
        return bytes(text).decode(errors="replace")

    def describe(self) -> Mapping[str, Any]:
        attrs = self._inspect()
        config = attrs["Config"]
        config["Env"] = [variable.partition("=")[0] for variable in config.get("Env") or []]
        return attrs

    def how_to_reach(self) -> str:
        return f"docker exec -it {self.name} bash -l"

    def how_to_delete(self) -> str:
        return f"docker rm -f -v {self.name}"
