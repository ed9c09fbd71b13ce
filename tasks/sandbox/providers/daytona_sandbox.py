"""One sandbox at Daytona."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tasks.base import console, waiting
from tasks.base.errors import TaskError
from tasks.base.retry import RemoteFailed
from tasks.sandbox import guest_exec
from tasks.sandbox.errors import SandboxEnded
from tasks.sandbox.sandbox import Sandbox
from tasks.sandbox.values import ExecResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasks.daytona.sandbox_client import Preview, RemoteSandbox, SandboxClient
    from tasks.sandbox.ownership import Ownership
    from tasks.sandbox.values import Spec

#: Seconds until a sandbox must have started, or stopped.
START_TIMEOUT: Final = 120.0
_STOP_TIMEOUT: Final = 60.0
FAILED_STATES: Final = frozenset({"error", "build_failed"})
_COMING: Final = frozenset({
    "creating", "restoring", "starting", "pulling_snapshot", "pending_build", "building_snapshot",
    "resuming", "unknown",
})  # fmt: skip


class DaytonaSandbox(Sandbox):
    """`delete` deletes it, and reports what cannot be deleted."""

    def __init__(
        self,
        sandboxes: SandboxClient,
        remote: RemoteSandbox,
        spec: Spec,
        run: Ownership,
        *,
        delete: Callable[[], None],
    ) -> None:
        self._sandboxes = sandboxes
        self._delete = delete
        self._remote = remote
        self._previews: dict[int, Preview] = {}
        self._was_started = False
        self.name = remote.name
        self.spec = spec
        self.run = run

    # ── life ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._was_started = True
        self._previews.clear()  # their tokens end with each start
        if self._refresh().state != "started":
            self._sandboxes.start(self._remote.id)
            self._wait_for("started", timeout=START_TIMEOUT)

    def stop(self, *, grace: float = 10) -> None:  # noqa: ARG002 - Daytona's own is 10 s, always
        self._previews.clear()
        self._sandboxes.stop(self._remote.id)
        self._wait_for("stopped", timeout=_STOP_TIMEOUT)

    def delete(self) -> None:
        self._delete()

    def end_reason(self) -> str | None:
        if not self._was_started:
            return "was never started"
        remote = self._sandboxes.find(self._remote.id)
        if remote is None:
            return "was deleted"
        if remote.state == "started" or remote.state in _COMING:
            return None
        reason = f": {console.printable(remote.reason)}" if remote.reason else ""
        return f"ended: it is {console.printable(remote.state)}{reason}"

    def _refresh(self) -> RemoteSandbox:
        remote = self._sandboxes.find(self._remote.id)
        if remote is None:
            raise SandboxEnded(f"{self.name} was deleted")
        self._remote = remote
        return remote

    def _wait_for(self, state: str, *, timeout: float) -> None:
        def has_state() -> bool:
            remote = self._refresh()
            if remote.state in FAILED_STATES:
                reason = console.printable(remote.reason) or remote.state
                raise SandboxEnded(f"{self.name}: {reason}")
            return remote.state == state

        waiting.until(
            has_state,
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
        start = time.monotonic()
        script = guest_exec.script(args, user=user, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
        try:
            # Beside the command's own time: a busy sandbox starts the runner slowly.
            answer = self._sandboxes.execute(self._remote, script, timeout=timeout + 30)
        except RemoteFailed as error:
            if reason := self.end_reason():
                raise SandboxEnded(f"running a command in {self.name}: it {reason}") from error
            raise
        result = guest_exec.parse(answer.result)
        if result is None:
            raise TaskError(
                f"running a command in {self.name}: status {answer.exit_code},"
                f" {console.printable(answer.result[-300:])}"
            )
        return (
            ExecResult(
                command=" ".join(args),
                exit_code=result.status,
                stdout_bytes=result.stdout,
                stderr_bytes=result.stderr,
                seconds=time.monotonic() - start,
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
                self._previews[port] = self._sandboxes.preview(self._remote.id, port)
            except RemoteFailed as error:
                if reason := self.end_reason():
                    raise SandboxEnded(f"{self.name} {reason}: port {port} is not there") from error
                raise
        return self._previews[port]

    def console(self, *, tail: int | None = None) -> str:
        text = self._sandboxes.entrypoint_log(self._remote)
        return text if tail is None else "\n".join(text.splitlines()[-tail:])

    def describe(self) -> Mapping[str, Any]:
        fields = dict(self._refresh().fields)
        fields["env"] = sorted(fields.get("env") or {})
        return fields

    def how_to_reach(self) -> str:
        return f"daytona ssh {self.name}"

    def how_to_delete(self) -> str:
        return f"daytona delete {self.name}"
