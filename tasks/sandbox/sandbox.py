"""What a sandbox can do, whoever runs it. Tests and commands know this module and no provider."""

from __future__ import annotations

import json
import shlex
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from tasks.base import console, project
from tasks.base.errors import TaskError, TimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tasks.sandbox.run import Run

Capability = Literal[
    "local_mode",  # a checkout of this machine can be mounted
    "init_control",  # PID 1 is the image's, and can be killed or given a parent
    "exit_status",  # the status a stopped sandbox ended with can be asked for
    "console",  # what PID 1 writes can be read
    "health",  # the image's HEALTHCHECK is carried out
    "host_ports",  # ports appear on this machine's loopback, at a port of one's choice
]

#: Environment variable marking every process that one `exec` starts, so that it can be ended.
EXEC_MARK: Final = "ITERATE_EXEC"
#: $1: the mark. Prints the processes that carry it.
_LIST_MARKED: Final = """
for environ in /proc/[0-9]*/environ; do
  if grep -qzx "$1" "$environ" 2>/dev/null; then p=${environ#/proc/}; echo "${p%/environ}"; fi
done
"""
#: $1: the mark; the rest: processes known to carry it. Kills all, with their descendants.
_KILL_MARKED: Final = f"""
marked=$(echo $({_LIST_MARKED}))  # on one line, as awk wants it
shift
grep -s ^PPid: /proc/[0-9]*/status | awk -F '[/:\t]+' -v marked="$marked $*" '
  BEGIN {{ n = split(marked, m, " "); for (i = 1; i <= n; i++) doomed[m[i]] = 1 }}
  {{ parent[$3] = $6 }}
  END {{
    do {{
      more = 0
      for (p in parent) if (!(p in doomed) && parent[p] in doomed) {{ doomed[p] = 1; more = 1 }}
    }} while (more)
    for (p in doomed) print p
  }}' | xargs -r kill -9 2>/dev/null
"""


class SandboxEnded(TaskError):
    """The sandbox stopped running while something was wanted from it."""

    code = "sandbox-ended"


class ServiceFailed(TaskError):
    """A service has given up for good: waiting any longer is of no use."""

    code = "service-failed"


class ExecFailed(TaskError):
    """A command inside the sandbox failed although it had to succeed."""

    code = "exec-failed"

    def __init__(self, what: str, result: ExecResult) -> None:
        super().__init__(what)
        self.result = result


class ExecTimedOut(TimedOut):
    """A command inside the sandbox was ended at its deadline; `result` has what it had said."""

    def __init__(self, what: str, result: ExecResult) -> None:
        super().__init__(what)
        self.result = result


@dataclass(frozen=True, kw_only=True)
class ExecResult:
    command: str
    exit_code: int
    stdout_bytes: bytes
    stderr_bytes: bytes
    seconds: float

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode(errors="replace")

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def last_words(self) -> str:
        """The last line it wrote, printable: what error messages quote."""
        for text in (self.stderr, self.stdout):
            lines = text.strip().splitlines()
            if lines:
                return console.printable(lines[-1])
        return "it wrote nothing"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a new sandbox should be like. Each provider refuses what it cannot give."""

    image: str = project.LOCAL_IMAGE
    #: Goes into names and labels: which test or command this sandbox is for.
    purpose: str = "sandbox"
    env: Mapping[str, str] = field(default_factory=dict)
    #: Needs `local_mode`: a checkout on this machine, mounted read-only.
    checkout: Path | None = None
    #: Sandbox port → port of this machine's loopback (0: any). Needs `host_ports` when not 0.
    ports: Mapping[int, int] = field(
        default_factory=lambda: {project.DAEMON_PORT: 0, project.OPENCODE_PORT: 0}
    )
    #: Needs `init_control`: run the image's entry point as a child of another init.
    under_init: bool = False


class Sandbox(ABC):
    """One sandbox, from its birth to its deletion; as a context manager it deletes itself.

    Everything a provider must implement is abstract; the rest is made of that.
    """

    name: str
    spec: Spec
    run: Run

    # ── life ────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again. Returns at once: see `wait_until_ready`."""

    @abstractmethod
    def stop(self, *, grace: float = 10) -> None:
        """Ask it to end (SIGTERM), and after `grace` seconds end it. Files stay."""

    @abstractmethod
    def kill(self) -> None:
        """End it as a power failure would: SIGKILL to PID 1. Needs `init_control`."""

    @abstractmethod
    def delete(self) -> None:
        """Delete it and all that belongs to it. Deleting again does nothing."""

    @abstractmethod
    def ended(self) -> str | None:
        """None while it runs; otherwise how it ended, in a few words."""

    @abstractmethod
    def exit_status(self) -> int:
        """The status PID 1 ended with. Needs `exit_status`."""

    def restart(self, *, grace: float = 10) -> None:
        self.stop(grace=grace)
        self.start()

    # ── what goes on inside ─────────────────────────────────────────────────────────────────

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
        """Run `args`; the flag says whether `timeout` ended the reading. See `exec`."""

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
        too, and `ExecTimedOut` is raised. `check` makes a status other than 0 an error.
        """
        args = shell(command) if isinstance(command, str) else list(command)
        shown = command if isinstance(command, str) else shlex.join(args)
        mark = uuid.uuid4().hex
        result, timed_out = self.run_inside(
            args,
            user=user,
            env={**(env or {}), EXEC_MARK: mark},
            cwd=cwd,
            stdin=stdin,
            timeout=timeout,
        )
        if timed_out:
            self._end_marked(mark, user)
            raise ExecTimedOut(
                f"`{console.printable(shown)}` in {self.name} did not end within {timeout:g} s"
                " and was killed",
                result,
            )
        if check and not result.ok:
            raise ExecFailed(
                f"`{console.printable(shown)}` in {self.name} ended with status"
                f" {result.exit_code}: {result.last_words()}",
                result,
            )
        return result

    def _end_marked(self, mark: str, user: str) -> None:
        """Kill what carries the mark, and all it started: `sudo` drops the mark."""
        given = [f"{EXEC_MARK}={mark}"]
        # First as the user: root without CAP_SYS_PTRACE cannot look into others' processes.
        for who, script in ((user, _LIST_MARKED), ("root", _KILL_MARKED)):
            with suppress(TaskError):  # a sandbox that has ended runs nothing any more
                said, _ = self.run_inside(
                    ["sh", "-c", script, "sh", *given],
                    user=who,
                    env={},
                    cwd="/",
                    stdin=b"",
                    timeout=15,
                )
                given += said.stdout.split()

    def login(self, text: str, **options: Any) -> ExecResult:
        """Run shell text as a person who logged in would: through /etc/profile and ~/.profile."""
        return self.exec(["bash", "-lc", text], **options)

    def read(self, path: str) -> bytes:
        return self.exec(["cat", "--", path], user="root").stdout_bytes

    def read_json(self, path: str) -> Any:
        return json.loads(self.read(path))

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

    # ── from outside ────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def url(self, port: int) -> str:
        """Where this machine reaches `port` of the sandbox. May change with each start."""

    @abstractmethod
    def headers(self, port: int) -> Mapping[str, str]:
        """What the provider wants with each request to `url` (a preview token, …)."""

    @abstractmethod
    def console(self, *, tail: int | None = None) -> str:
        """What the sandbox wrote to its console since its birth. Needs `console`."""

    @abstractmethod
    def health(self) -> str:
        """starting, healthy or unhealthy, by the image's own check. Needs `health`."""

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """All the provider knows about it, for diagnostics; values of the environment left out."""

    @abstractmethod
    def how_to_reach(self) -> str:
        """The command a person types to get a shell in it."""

    @abstractmethod
    def how_to_delete(self) -> str:
        """The command a person types to delete it."""

    def wait_until_ready(self, *, timeout: float = 90) -> dict[str, Any]:
        """Wait for the readiness contract and return what /readyz said."""
        from tasks.sandbox.readiness import wait_until_ready  # noqa: PLC0415 - it needs this module

        return wait_until_ready(self, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if not self.run.keep:
            self.delete()


class Provider(ABC):
    """Makes sandboxes, and finds those it made again by their labels."""

    name: ClassVar[str]
    #: What this provider cannot offer, and why. What is not listed is offered.
    not_offered: Mapping[Capability, str]

    def require(self, capability: Capability) -> None:
        if reason := self.not_offered.get(capability):
            raise TaskError(f"{self.name} sandboxes do not offer {capability}: {reason}")

    @abstractmethod
    def check(self, image: str) -> None:
        """Whether sandboxes of `image` can be made here at all; says what to do if not."""

    @abstractmethod
    def create(self, spec: Spec, run: Run) -> Sandbox:
        """Create a sandbox, not started yet, that carries the labels of `run`."""

    @abstractmethod
    def belongings(self) -> list[Belonging]:
        """Everything there that some run of this project owns."""

    @abstractmethod
    def remove(self, belonging: Belonging) -> None:
        """Delete it for good; that it is gone already is fine."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """A container, volume, network, … of a run, as its labels tell."""

    kind: str
    id: str
    name: str
    run: str
    owner: str
    created: float
    keep: bool


def shell(text: str) -> list[str]:
    """`text` run by a non-login shell, as a script of several lines may be."""
    return ["bash", "-c", text]
