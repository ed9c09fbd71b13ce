"""Sandboxes at Daytona. Everything there is mortal from its birth, whatever becomes of us."""

from __future__ import annotations

import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from tasks.base import console, project, waiting
from tasks.base.errors import TaskError
from tasks.base.retry import RemoteFailed
from tasks.daytona import adapter
from tasks.sandbox import guest_exec
from tasks.sandbox.errors import SandboxEnded
from tasks.sandbox.ownership import RUN_LABEL, belonging_from_labels
from tasks.sandbox.provider import Provider
from tasks.sandbox.sandbox import Sandbox
from tasks.sandbox.values import ExecResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.daytona.adapter import Daytona, Preview, RemoteSandbox
    from tasks.sandbox.ownership import Ownership
    from tasks.sandbox.values import Belonging, Capability, Spec

#: Carried by all of ours, so that a list of them can be asked for.
OURS: Final = {f"{project.LABEL}.managed": "1"}
#: Minutes: without a request, after its end, and in all, kept or not.
AUTO_STOP: Final = 30
AUTO_DELETE: Final = 30
LIFE: Final = 120
LIFE_WHEN_KEPT: Final = 480

_STARTED_IN: Final = 120.0
_GONE_IN: Final = 60.0
#: A fresh snapshot is active some seconds before a runner has it.
_RUNNER_IN: Final = 60.0
_FAILED: Final = frozenset({"error", "build_failed"})
_COMING: Final = frozenset({
    "creating", "restoring", "starting", "pulling_snapshot", "pending_build", "building_snapshot",
    "resuming", "unknown",
})  # fmt: skip
_NOT_OFFERED: Final[Mapping[Capability, str]] = MappingProxyType(
    {
        "local_mode": "a folder of this machine cannot be mounted in Daytona's cloud",
        "init_control": "PID 1 is Daytona's own daemon; the image's entry point is a child of it",
        "exit_status": "the API does not tell the status that an entry point ended with",
        "health": "Daytona does not carry out an image's HEALTHCHECK",
        "host_ports": "ports are reached through Daytona's preview proxy",
    }
)


class DaytonaProvider(Provider):
    name: ClassVar[str] = "daytona"
    not_offered: Mapping[Capability, str] = _NOT_OFFERED

    def __init__(self, api: Daytona) -> None:
        self.api = api
        #: Sandbox id → why it could not be deleted. They are reported once; Daytona ends them.
        self.leaks: dict[str, str] = {}

    @classmethod
    def connect(cls) -> DaytonaProvider:
        return cls(adapter.connect())

    def close(self) -> None:
        self.api.close()

    def check(self, image: str) -> None:
        """`image` is a snapshot's name here."""
        found = self.api.snapshot(image)
        if found is None:
            raise TaskError(
                f"there is no snapshot {console.printable(image)}",
                fix="nox -s snapshots -- list shows those there are; snapshot_daytona makes one",
            )
        if found.state == "active":
            return
        why = f": {console.printable(found.reason)}" if found.reason else ""
        advice = {
            "inactive": "nox -s daytona_test activates it; so does nox -s snapshot_daytona",
            "removing": "it is being deleted; nox -s snapshot_daytona makes another",
        }
        raise TaskError(
            f"snapshot {found.name} is {console.printable(found.state)}{why}",
            fix=advice.get(found.state, "nox -s snapshot_daytona makes it anew, or waits for it"),
        )

    def create_sandbox(self, spec: Spec, run: Ownership) -> Sandbox:
        """Daytona starts what it creates: `start` has nothing left to do the first time."""
        name = run.name(spec.purpose)
        wanted = {
            "name": name,
            "snapshot": spec.image,
            "env": dict(spec.env),
            "labels": {**run.labels(spec.purpose), **OURS},
            "public": False,
            "auto_stop_interval": AUTO_STOP,
            "auto_delete_interval": AUTO_DELETE,
            "ttl_minutes": LIFE_WHEN_KEPT if run.keep else LIFE,
        }
        try:
            made = self._until_started(name, self._made(name, wanted))
        except BaseException as error:
            # Whatever it was, Ctrl-C included: the server may have made it all the same.
            self._take_back(name, run)
            if isinstance(error, RemoteFailed):
                raise _as_ended(error, spec.image) from error
            raise
        return DaytonaSandbox(self, made, spec, run)

    def _made(self, name: str, wanted: Mapping[str, Any]) -> RemoteSandbox:
        """Created once: after a lost reply the one that is there is taken."""
        begun = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return self.api.create_sandbox(**wanted)
            except RemoteFailed as error:
                late = time.monotonic() - begun > _RUNNER_IN
                busy = "No available runners" in error.message
                if late or attempt > 20 or not (error.passing or busy):
                    raise
                console.warn(f"{error.what}; trying again")
                time.sleep(error.after if error.after is not None else min(1.0 * attempt, 5.0))
            if found := self.api.sandbox(name):
                return found

    def _until_started(self, name: str, made: RemoteSandbox) -> RemoteSandbox:
        last = [made]

        def probe() -> RemoteSandbox | None:
            now = last[-1] if last[-1].state == "started" else self.api.sandbox(made.id)
            if now is None:
                raise SandboxEnded(f"sandbox {name} vanished while it started")
            last[:] = [now]
            if now.state in _FAILED:
                raise SandboxEnded(
                    f"sandbox {name} failed to start: {console.printable(now.reason) or now.state}"
                )
            return now if now.state == "started" else None

        return waiting.until(
            probe,
            what=f"the start of sandbox {name} ({made.id})",
            timeout=_STARTED_IN,
            state=lambda: f"it is {console.printable(last[-1].state)}",
            interval=0.3,
        )

    def _take_back(self, name: str, run: Ownership) -> None:
        """Delete what there is of that name or run's label, if anything: names are unique."""
        with suppress(TaskError):
            if found := self.api.sandbox(name):
                self.delete(found.id, found.name)
                return
            # Its name may be told later than its label, and the other way round.
            for thing in self.api.sandboxes({RUN_LABEL: run.id}):
                if thing.name == name:
                    self.delete(thing.id, thing.name)

    def belongings(self) -> list[Belonging]:
        return [
            belonging_from_labels("sandbox", sandbox.id, sandbox.name, sandbox.labels)
            for sandbox in self.api.sandboxes(OURS)
            if sandbox.id not in self.leaks
        ]

    def remove(self, belonging: Belonging) -> None:
        self.delete(belonging.id, belonging.name)

    def delete(self, identity: str, name: str) -> None:
        """Delete it and wait until it is gone.

        That this fails is told and no error: what was to be found out with the sandbox stands,
        and Daytona deletes it by itself.
        """
        try:
            self._delete(identity, name)
        except TaskError as error:
            if identity not in self.leaks:
                self.leaks[identity] = error.what
                console.warn(
                    f"leaked: {error.what}; Daytona stops sandbox {name} after {AUTO_STOP}"
                    f" idle minutes and deletes it {AUTO_DELETE} minutes later"
                )

    def _delete(self, identity: str, name: str) -> None:
        asked = False

        def gone() -> bool:
            nonlocal asked
            now = self.api.sandbox(identity)
            if now is None:
                return True
            if not asked and now.state != "destroying":
                try:
                    self.api.delete_sandbox(identity)
                    asked = True
                except RemoteFailed as error:
                    if error.kind != "conflict":  # it changes its state: ask again
                        raise
            return False

        waiting.until(
            gone,
            what=f"the deletion of sandbox {name} ({identity})",
            timeout=_GONE_IN,
            interval=0.3,
        )


def _as_ended(error: RemoteFailed, image: str) -> TaskError:
    said = error.message
    if error.status == 400 and said.startswith("Snapshot ") and image in said:
        return TaskError(
            f"no sandbox of {image}: {console.printable(said)}",
            fix="nox -s snapshots -- list shows what there is",
        )
    if "failed to start" in said:
        return SandboxEnded(f"a sandbox of {image}: {console.printable(said)}")
    return error


class DaytonaSandbox(Sandbox):
    def __init__(
        self, provider: DaytonaProvider, remote: RemoteSandbox, spec: Spec, run: Ownership
    ) -> None:
        self._provider = provider
        self._api = provider.api
        self._remote = remote
        self._previews: dict[int, Preview] = {}
        self._begun = False
        self.name = remote.name
        self.spec = spec
        self.run = run

    # ── life ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._begun = True
        self._previews.clear()  # their tokens end with each start
        if self._now().state != "started":
            self._api.start_sandbox(self._remote.id)
            self._until("started", timeout=_STARTED_IN)

    def stop(self, *, grace: float = 10) -> None:  # noqa: ARG002 - Daytona's own is 10 s, always
        self._previews.clear()
        self._api.stop_sandbox(self._remote.id)
        self._until("stopped", timeout=60)

    def delete(self) -> None:
        self._provider.delete(self._remote.id, self.name)

    def ended(self) -> str | None:
        if not self._begun:
            return "was never started"
        now = self._api.sandbox(self._remote.id)
        if now is None:
            return "was deleted"
        if now.state == "started" or now.state in _COMING:
            return None
        reason = f": {console.printable(now.reason)}" if now.reason else ""
        return f"ended: it is {console.printable(now.state)}{reason}"

    def _now(self) -> RemoteSandbox:
        now = self._api.sandbox(self._remote.id)
        if now is None:
            raise SandboxEnded(f"{self.name} was deleted")
        self._remote = now
        return now

    def _until(self, state: str, *, timeout: float) -> None:
        def there() -> bool:
            now = self._now()
            if now.state in _FAILED:
                raise SandboxEnded(f"{self.name}: {console.printable(now.reason) or now.state}")
            return now.state == state

        waiting.until(
            there,
            what=f"{self.name} being {state}",
            timeout=timeout,
            state=lambda: f"it is {console.printable(self._remote.state)}",
            interval=0.2,
        )

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
        begun = time.monotonic()
        script = guest_exec.script(args, user=user, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
        try:
            # Beside the command's own time: a busy sandbox starts the runner slowly.
            said = self._api.execute(self._remote, script, timeout=timeout + 30)
        except RemoteFailed as error:
            if how := self.ended():
                raise SandboxEnded(f"running a command in {self.name}: it {how}") from error
            raise
        result = guest_exec.parse(said.result)
        if result is None:
            raise TaskError(
                f"running a command in {self.name}: status {said.exit_code},"
                f" {console.printable(said.result[-300:])}"
            )
        return (
            ExecResult(
                command=" ".join(args),
                exit_code=result.status,
                stdout_bytes=result.stdout,
                stderr_bytes=result.stderr,
                seconds=time.monotonic() - begun,
            ),
            result.timed_out,
        )

    # ── from outside ────────────────────────────────────────────────────────────────────────

    def url(self, port: int) -> str:
        preview = self._preview(port)
        parts = urlsplit(preview.url)
        if (parts.hostname or "").endswith(".localhost"):
            # The stand-in's: glibc does not resolve these; the name goes into `headers`.
            return f"{parts.scheme}://127.0.0.1:{parts.port}"
        return preview.url

    def headers(self, port: int) -> Mapping[str, str]:
        preview = self._preview(port)
        headers = {
            "X-Daytona-Preview-Token": preview.token,
            "X-Daytona-Skip-Preview-Warning": "true",
        }
        host = urlsplit(preview.url).netloc
        if ".localhost" in host:
            headers["Host"] = host
        return headers

    def _preview(self, port: int) -> Preview:
        if port not in self._previews:
            try:
                self._previews[port] = self._api.preview(self._remote.id, port)
            except RemoteFailed as error:
                if how := self.ended():
                    raise SandboxEnded(f"{self.name} {how}: port {port} is not there") from error
                raise
        return self._previews[port]

    def console(self, *, tail: int | None = None) -> str:
        text = self._api.entrypoint_log(self._remote)
        return text if tail is None else "\n".join(text.splitlines()[-tail:])

    def describe(self) -> Mapping[str, Any]:
        attrs = dict(self._now().raw)
        attrs["env"] = sorted(attrs.get("env") or {})
        return attrs

    def how_to_reach(self) -> str:
        return f"daytona ssh {self.name}"

    def how_to_delete(self) -> str:
        return f"daytona delete {self.name}"
