"""Snapshots and sandboxes with their states. No engine, no HTTP: only what may follow what."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from tasks.standin.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SnapshotState = Literal[
    "pending", "building", "pulling", "active", "inactive", "error", "build_failed", "removing"
]
SandboxState = Literal[
    "creating", "starting", "started", "stopping", "stopped", "error", "destroying", "destroyed"
]

#: State → what may come next. Anything can be deleted, hence `removing` and `destroying`.
SNAPSHOT: Final[Mapping[SnapshotState, frozenset[SnapshotState]]] = {
    "pending": frozenset({"building", "pulling", "active", "error", "build_failed", "removing"}),
    "building": frozenset({"active", "error", "build_failed", "removing"}),
    "pulling": frozenset({"active", "error", "removing"}),
    "active": frozenset({"inactive", "removing"}),
    "inactive": frozenset({"pending", "active", "removing"}),
    "error": frozenset({"removing"}),
    "build_failed": frozenset({"removing"}),
    "removing": frozenset(),
}
SANDBOX: Final[Mapping[SandboxState, frozenset[SandboxState]]] = {
    "creating": frozenset({"started", "error", "destroying"}),
    "starting": frozenset({"started", "error", "destroying"}),
    "started": frozenset({"stopping", "error", "destroying"}),
    "stopping": frozenset({"stopped", "error", "destroying"}),
    "stopped": frozenset({"starting", "error", "destroying"}),
    "error": frozenset({"starting", "destroying"}),
    "destroying": frozenset({"destroyed", "error"}),
    "destroyed": frozenset(),
}
#: While one of these lasts, a sandbox takes no other order.
CHANGING: Final[frozenset[SandboxState]] = frozenset({"creating", "starting", "stopping"})


class WrongMove(Exception):
    """A mistake of the stand-in: the state machine does not go that way."""


def _id() -> str:
    return str(uuid.uuid4())


@dataclass(kw_only=True)
class Snapshot:
    name: str
    id: str = field(default_factory=_id)
    state: SnapshotState = "pending"
    image_name: str | None = None
    dockerfile: str | None = None
    context_hashes: list[str] = field(default_factory=list)
    entrypoint: list[str] | None = None
    ref: str | None = None
    cpu: float = 1
    memory: float = 1
    disk: float = 3
    gpu: float = 0
    size: float | None = None
    error: str | None = None
    region: str = "local"
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    used: float | None = None
    deactivated: float = 0.0

    @property
    def built(self) -> bool:
        return self.dockerfile is not None

    def move(self, state: SnapshotState, *, error: str | None = None) -> None:
        # A state that Daytona may have one day, and only tests set, can be removed.
        if state not in SNAPSHOT.get(self.state, {"removing"}):
            raise WrongMove(f"snapshot {self.name}: {self.state} → {state}")
        self.state = state
        self.error = error
        self.updated = time.time()


@dataclass(kw_only=True)
class Sandbox:
    name: str
    snapshot: Snapshot
    id: str = field(default_factory=_id)
    state: SandboxState = "creating"
    error: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    user: str = "daytona"
    public: bool = False
    target: str = "local"
    auto_stop: float = 15
    auto_archive: float = 7 * 24 * 60
    auto_delete: float = -1
    #: Minutes of life in all; 0 for no end.
    ttl: float = 0
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    active: float = field(default_factory=time.time)
    stopped: float | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    container: str | None = None

    def move(self, state: SandboxState, *, error: str | None = None) -> None:
        if state not in SANDBOX[self.state]:
            raise WrongMove(f"sandbox {self.name}: {self.state} → {state}")
        self.state = state
        self.error = error
        self.updated = time.time()
        if state == "started":
            self.active = time.time()
            self.stopped = None
            self.token = secrets.token_hex(16)
        elif state == "stopped":
            self.stopped = time.time()

    def due(self, now: float, *, minute: float = 60.0) -> Literal["stop", "delete"] | None:
        """What its intervals demand at `now`."""
        if self.state in CHANGING or self.state in {"destroying", "destroyed"}:
            return None
        if self.ttl > 0 and now - self.created >= self.ttl * minute:
            return "delete"
        if self.state == "started" and self.auto_stop > 0:
            return "stop" if now - self.active >= self.auto_stop * minute else None
        if self.state == "stopped" and self.stopped is not None and self.auto_delete >= 0:
            return "delete" if now - self.stopped >= self.auto_delete * minute else None
        return None


T = TypeVar("T", Snapshot, Sandbox)


class Store:
    """The records, under one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.snapshots: dict[str, Snapshot] = {}
        self.sandboxes: dict[str, Sandbox] = {}

    def add_snapshot(self, snapshot: Snapshot, *, limit: int) -> None:
        with self.lock:
            if any(s.name == snapshot.name for s in self.snapshots.values()):
                raise Refused(
                    409,
                    f'Snapshot with name "{snapshot.name}" already exists for this organization',
                )
            if len(self.snapshots) >= limit:
                raise Refused(403, f"Snapshot quota exceeded. Maximum allowed: {limit}")
            self.snapshots[snapshot.id] = snapshot

    def snapshot(self, wanted: str) -> Snapshot:
        with self.lock:
            found = self.snapshots.get(wanted) or _named(self.snapshots, wanted)
            if found is None:
                raise Refused(404, f"Snapshot with ID or name {wanted} not found")
            return found

    def snapshot_by_id(self, wanted: str) -> Snapshot:
        try:
            uuid.UUID(wanted)
        except ValueError:
            raise Refused(400, "Validation failed (uuid is expected)") from None
        with self.lock:
            if wanted not in self.snapshots:
                raise Refused(404, f"Snapshot with ID {wanted} not found")
            return self.snapshots[wanted]

    def ready(self, ref: str) -> Snapshot | None:
        """An active snapshot of that content: another of the same is active at once."""
        with self.lock:
            return next(
                (s for s in self.snapshots.values() if s.ref == ref and s.state == "active"), None
            )

    def add_sandbox(self, sandbox: Sandbox) -> None:
        with self.lock:
            if _named(self.sandboxes, sandbox.name):
                raise Refused(409, f"Sandbox with name {sandbox.name} already exists")
            self.sandboxes[sandbox.id] = sandbox

    def sandbox(self, wanted: str) -> Sandbox:
        with self.lock:
            found = self.sandboxes.get(wanted) or _named(self.sandboxes, wanted)
            if found is None or found.state in {"destroying", "destroyed"}:
                raise Refused(404, f"Sandbox with ID or name {wanted} not found")
            return found

    def change(self, sandbox: Sandbox, change: Callable[[Sandbox], None]) -> None:
        """Change it unless a state change is under way."""
        with self.lock:
            if sandbox.state in CHANGING:
                raise Refused(409, "Sandbox state change in progress")
            change(sandbox)


def _named(things: Mapping[str, T], name: str) -> T | None:
    return next((t for t in things.values() if t.name == name), None)
