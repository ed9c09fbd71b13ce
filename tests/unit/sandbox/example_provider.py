"""A provider with as little as a provider can have: its sandboxes are folders of this machine."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from tasks.sandbox.errors import SandboxEnded
from tasks.sandbox.ownership import Ownership, belonging_from_labels
from tasks.sandbox.provider import Provider
from tasks.sandbox.sandbox import Sandbox
from tasks.sandbox.values import CAPABILITY_METHODS, ExecResult, Spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.sandbox.values import Belonging


class MemoryProvider(Provider):
    """Remembers what it has created, and what it removed in which order."""

    name: ClassVar[str] = "memory"
    not_offered = dict.fromkeys(CAPABILITY_METHODS, "it is not worth it")

    def __init__(self, *belongings: Belonging) -> None:
        self.content = {belonging.id: belonging for belonging in belongings}
        self.removed_kinds: list[str] = []
        self.late: list[Belonging] = []
        self.stuck = False
        self._lock = threading.Lock()

    @classmethod
    def connect(cls) -> MemoryProvider:
        return cls()

    def create_sandbox(self, spec: Spec, run: Ownership) -> Sandbox:
        name = run.name(spec.purpose)
        self.content[name] = belonging_from_labels("process", name, name, run.labels(spec.purpose))
        return MachineSandbox(spec, run, name=name, provider=self)

    def belongings(self) -> list[Belonging]:
        with self._lock:
            content = list(self.content.values())
            if self.late:
                late = self.late.pop()
                self.content[late.id] = late
            return content

    def remove(self, belonging: Belonging) -> None:
        with self._lock:
            if not self.stuck:
                self.content.pop(belonging.id, None)
            self.removed_kinds.append(belonging.kind)


class MachineSandbox(Sandbox):
    """A sandbox that is this machine: what `exec` and the files are made of really runs."""

    def __init__(
        self,
        spec: Spec | None = None,
        run: Ownership | None = None,
        *,
        name: str = "machine",
        provider: MemoryProvider | None = None,
    ) -> None:
        self.spec = spec or Spec()
        self.run = run or Ownership("memory")
        self.name = name
        self.calls: list[list[str]] = []
        #: Report the next command as one that did not end in time.
        self.time_out = False
        self._provider = provider
        self._is_running = provider is None

    def start(self) -> None:
        self._is_running = True

    def stop(self, *, grace: float = 10) -> None:  # noqa: ARG002 - nothing needs time here
        self._is_running = False

    def delete(self) -> None:
        self._is_running = False
        if self._provider:
            self._provider.content.pop(self.name, None)

    def end_reason(self) -> str | None:
        return None if self._is_running else "does not run"

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    def how_to_reach(self) -> str:
        return "bash"

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
        assert user
        if not self._is_running:
            raise SandboxEnded(f"{self.name} does not run")
        self.calls.append(list(args))
        timed_out, self.time_out = self.time_out, False
        start = time.monotonic()
        completion = subprocess.run(
            list(args),
            env={"PATH": "/usr/bin:/bin", **env},
            cwd=cwd,
            input=stdin,
            timeout=timeout,
            capture_output=True,
            check=False,
        )
        result = ExecResult(
            command=" ".join(args),
            exit_code=completion.returncode,
            stdout_bytes=completion.stdout,
            stderr_bytes=completion.stderr,
            seconds=time.monotonic() - start,
        )
        return result, timed_out
