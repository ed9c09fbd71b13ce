"""The records of snapshots and sandboxes with their states: only what may follow what."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

SnapshotState = Literal[
    "pending", "building", "pulling", "active", "inactive", "error", "build_failed", "removing"
]
SandboxState = Literal[
    "creating", "starting", "started", "stopping", "stopped", "error", "destroying", "destroyed"
]

#: The one region there is.
REGION: Final = "local"

#: State → the states that may follow. Every snapshot and sandbox can be deleted.
SNAPSHOT_TRANSITIONS: Final[Mapping[SnapshotState, frozenset[SnapshotState]]] = {
    "pending": frozenset({"building", "pulling", "active", "error", "build_failed", "removing"}),
    "building": frozenset({"active", "error", "build_failed", "removing"}),
    "pulling": frozenset({"active", "error", "removing"}),
    "active": frozenset({"inactive", "removing"}),
    "inactive": frozenset({"pending", "active", "removing"}),
    "error": frozenset({"removing"}),
    "build_failed": frozenset({"removing"}),
    "removing": frozenset(),
}
SANDBOX_TRANSITIONS: Final[Mapping[SandboxState, frozenset[SandboxState]]] = {
    "creating": frozenset({"started", "error", "destroying"}),
    "starting": frozenset({"started", "error", "destroying"}),
    "started": frozenset({"stopping", "error", "destroying"}),
    "stopping": frozenset({"stopped", "error", "destroying"}),
    "stopped": frozenset({"starting", "error", "destroying"}),
    "error": frozenset({"starting", "destroying"}),
    "destroying": frozenset({"destroyed", "error"}),
    "destroyed": frozenset(),
}
#: In these states a sandbox refuses every request that would change its state.
CHANGING: Final[frozenset[SandboxState]] = frozenset({"creating", "starting", "stopping"})


class InvalidTransition(Exception):
    """The state machine does not allow this step: the record may have been deleted meanwhile."""


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(kw_only=True)
class SnapshotRecord:
    name: str
    id: str = field(default_factory=_new_id)
    #: A test may set any text: one that Daytona may introduce one day.
    state: SnapshotState = "pending"
    image_name: str | None = None
    dockerfile: str | None = None
    context_hashes: list[str] = field(default_factory=list)
    entrypoint: list[str] | None = None
    ref: str | None = None
    cpu: int = 1
    memory_gb: int = 1
    disk_gb: int = 3
    size_gb: float | None = None
    error: str | None = None
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    last_used: float | None = None

    @property
    def is_built(self) -> bool:
        """Whether it is made from a Dockerfile, not from a pushed image."""
        return self.dockerfile is not None

    def move(self, state: SnapshotState, *, error: str | None = None) -> None:
        if state not in SNAPSHOT_TRANSITIONS.get(self.state, {"removing"}):
            raise InvalidTransition(f"snapshot {self.name}: {self.state} → {state}")
        self.state = state
        self.error = error
        self.updated_at = time.time()


@dataclass(kw_only=True)
class SandboxRecord:
    """Intervals and the time to live are in minutes, moments in seconds since the epoch."""

    name: str
    snapshot: SnapshotRecord
    id: str = field(default_factory=_new_id)
    state: SandboxState = "creating"
    error: str | None = None
    #: Whether its deletion was asked for; a failed deletion ends in the state `error`.
    is_deleted: bool = False
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    user: str = "daytona"
    public: bool = False
    auto_stop: int = 15
    auto_delete: int = -1
    #: 0: none.
    time_to_live: int = 0
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    last_active: float = field(default_factory=time.time)
    stopped_at: float | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    container: str | None = None

    def move(self, state: SandboxState, *, error: str | None = None) -> None:
        if state not in SANDBOX_TRANSITIONS[self.state]:
            raise InvalidTransition(f"sandbox {self.name}: {self.state} → {state}")
        self.state = state
        self.error = error
        self.updated_at = time.time()
        if state == "started":
            self.last_active = time.time()
            self.stopped_at = None
            self.token = secrets.token_hex(16)
        elif state == "stopped":
            self.stopped_at = time.time()

    def due_action(
        self, moment: float, *, minute_seconds: float = 60.0
    ) -> Literal["stop", "delete"] | None:
        """What its intervals demand at `moment`."""
        if self.state in CHANGING or self.state in {"destroying", "destroyed"}:
            return None
        if self.time_to_live > 0 and moment - self.created_at >= self.time_to_live * minute_seconds:
            return "delete"
        if self.state == "started" and self.auto_stop > 0:
            idle = moment - self.last_active
            return "stop" if idle >= self.auto_stop * minute_seconds else None
        if self.state == "stopped" and self.stopped_at is not None and self.auto_delete >= 0:
            rest = moment - self.stopped_at
            return "delete" if rest >= self.auto_delete * minute_seconds else None
        return None

    def grow_older(self, seconds: float) -> None:
        """Move all its moments into the past, as if `seconds` had passed without any activity."""
        self.created_at -= seconds
        self.last_active -= seconds
        if self.stopped_at is not None:
            self.stopped_at -= seconds
