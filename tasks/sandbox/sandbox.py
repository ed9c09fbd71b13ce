"""What a sandbox can do, whoever runs it. Tests and commands know this module and no provider.

A provider implements seven methods: `start`, `stop`, `delete`, `end_reason`, `run_inside`, `url`
and `how_to_reach`. The rest is made of these, or belongs to a capability that it may not offer.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Self

from tasks.base import console, project
from tasks.base.parsing import parse_json
from tasks.sandbox import marked_processes, readiness
from tasks.sandbox.errors import ExecFailed, ExecTimedOut, NotOffered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.sandbox.ownership import Ownership
    from tasks.sandbox.values import Capability, ExecResult, Spec

#: Seconds to find and kill what a command has started.
_KILL_TIMEOUT: Final = 15.0


class Sandbox(ABC):
    """One sandbox, from its creation to its deletion; as a context manager it deletes itself."""

    name: str
    spec: Spec
    run: Ownership

    # ── what every provider implements ──────────────────────────────────────────────────────

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again. Returns at once: see `wait_until_ready`."""

    @abstractmethod
    def stop(self, *, grace: float = 10) -> None:
        """Ask it to end (SIGTERM), and after `grace` seconds end it. Files stay."""

    @abstractmethod
    def delete(self) -> None:
        """Delete it and all that belongs to it. Deleting again does nothing."""

    @abstractmethod
    def end_reason(self) -> str | None:
        """None while it runs; otherwise how it ended, in a few words."""

    @abstractmethod
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
        """Run `args`; the flag says whether it was still running after `timeout` seconds.

        See `exec`, which ends it then. Raises `SandboxEnded` when the sandbox does not run.
        """

    @abstractmethod
    def url(self, port: int) -> str:
        """Where this machine reaches `port` of the sandbox. May change with each start."""

    @abstractmethod
    def how_to_reach(self) -> str:
        """The command a person types to get a shell in it."""

    # ── what a provider may have better, or may not offer ───────────────────────────────────

    def headers(self, port: int) -> Mapping[str, str]:  # noqa: ARG002 - a provider's may depend on it
        """What the provider needs with each request to `url` (a preview token, …)."""
        return {}

    def describe(self) -> Mapping[str, Any]:
        """All the provider knows about it, for diagnostics; values of the environment left out."""
        return {"name": self.name, "image": self.spec.image, "env": sorted(self.spec.env)}

    def how_to_delete(self) -> str:
        """The command a person types to delete it."""
        return f"python -m tasks reap --provider {self.run.provider_name} --run {self.run.id}"

    def kill(self) -> None:
        """End it as a power failure would: SIGKILL to PID 1. Needs `init_control`."""
        raise self._not_offered("init_control")

    def exit_status(self) -> int:
        """The status PID 1 ended with. Needs `exit_status`."""
        raise self._not_offered("exit_status")

    def console(self, *, tail: int | None = None) -> str:  # noqa: ARG002 - see above
        """What the sandbox wrote to its console since its creation. Needs `console`."""
        raise self._not_offered("console")

    def health(self) -> str:
        """starting, healthy or unhealthy, by the image's own check. Needs `health`."""
        raise self._not_offered("health")

    def _not_offered(self, capability: Capability) -> NotOffered:
        return NotOffered(f"the provider of {self.name} does not offer {capability}")

    # ── what is made of that ────────────────────────────────────────────────────────────────

    def restart(self, *, grace: float = 10) -> None:
        self.stop(grace=grace)
        self.start()

    def wait_until_ready(self, *, timeout: float = 90) -> dict[str, Any]:
        """Wait for the readiness contract and return the answer of /readyz."""
        return readiness.wait_until_ready(self, timeout=timeout)

    def exec(
        self,
        command: Sequence[str] | str,
        *,
        user: str = project.USER,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes = b"",
        timeout: float = 30,
        check: bool = True,
    ) -> ExecResult:
        """Run a command inside: a list is run as it is, text by a non-login `bash`.

        The environment and folder are the image's, as `docker exec` gives them. At `timeout`
        every process that the command started is killed, those that left its process group
        too, and `ExecTimedOut` is raised. `check` makes a status other than 0 an `ExecFailed`.
        """
        args = shell(command) if isinstance(command, str) else list(command)
        text = command if isinstance(command, str) else shlex.join(args)
        subject = f"`{console.printable(text)}` in {self.name}"
        mark = marked_processes.new_mark()
        marked_env = {**(env or {}), marked_processes.VARIABLE: mark}
        result, timed_out = self.run_inside(
            args, user=user, env=marked_env, cwd=cwd, stdin=stdin, timeout=timeout
        )
        if timed_out:
            marked_processes.kill(mark, user, self._run_for_cleanup)
            raise ExecTimedOut(f"{subject} did not end within {timeout:g} s and was killed", result)
        if check and not result.ok:
            raise ExecFailed(
                f"{subject} ended with status {result.exit_code}: {result.last_line()}", result
            )
        return result

    def _run_for_cleanup(self, args: list[str], user: str) -> ExecResult:
        result, _ = self.run_inside(
            args, user=user, env={}, cwd="/", stdin=b"", timeout=_KILL_TIMEOUT
        )
        return result

    def login(self, text: str, **options: Any) -> ExecResult:
        """Run shell text as a person who logged in would: through /etc/profile and ~/.profile."""
        return self.exec(["bash", "-lc", text], **options)

    def read(self, path: str) -> bytes:
        return self.exec(["cat", "--", path], user="root").stdout_bytes

    def read_json(self, path: str) -> Any:
        return parse_json(self.read(path))

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, user: str = project.USER
    ) -> None:
        """Write a file and the folders above it, as `user`."""
        script = (
            'mkdir -p -- "$(dirname -- "$1")" && : >"$1" && chmod "$2" -- "$1"'
            ' && head -c "$3" >"$1"'
        )
        args = ["sh", "-c", script, "sh", path, f"{mode:o}", str(len(content))]
        self.exec(args, user=user, stdin=content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if not self.run.keep:
            self.delete()


def shell(text: str) -> list[str]:
    """`text` run by a non-login shell, as a script of several lines may be."""
    return ["bash", "-c", text]
