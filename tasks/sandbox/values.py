"""The values that sandboxes are described with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console, project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Capability = Literal[
    "local_mode",  # a checkout of this machine can be mounted
    "init_control",  # PID 1 is the image's, and can be killed or given a parent
    "exit_status",  # the status a stopped sandbox ended with can be asked for
    "console",  # what PID 1 writes can be read
    "health",  # the image's HEALTHCHECK is carried out
    "host_ports",  # ports appear on this machine's loopback, at a port of one's choice
]

#: Capability → the method of `Sandbox` that a provider with that capability has to implement.
CAPABILITY_METHODS: Final[Mapping[Capability, str]] = {
    "init_control": "kill",
    "exit_status": "exit_status",
    "console": "console",
    "health": "health",
}


@dataclass(frozen=True, kw_only=True)
class ExecResult:
    """What a command in a sandbox wrote, and how it ended. `seconds` is its wall-clock time."""

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

    def last_line(self) -> str:
        """The last line it wrote, printable: what error messages quote."""
        for text in (self.stderr, self.stdout):
            lines = text.strip().splitlines()
            if lines:
                return console.printable(lines[-1])
        return "it wrote nothing"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a new sandbox should be like. A provider refuses what it does not offer."""

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

    def capabilities(self) -> list[Capability]:
        """What a provider must offer to make such a sandbox."""
        needs: dict[Capability, bool] = {
            "local_mode": self.checkout is not None,
            "init_control": self.under_init,
            "host_ports": any(self.ports.values()),
        }
        return [capability for capability, is_needed in needs.items() if is_needed]


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """A container, volume, network, … of a run, as its labels describe it.

    `created_at` is in seconds since the epoch, `owner` the text of a `liveness.Owner`.
    """

    kind: str
    id: str
    name: str
    run: str
    owner: str
    created_at: float
    keep: bool
