"""All records, under one lock, with the rules about names and ids."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, TypeVar

from daytona_standin.errors import ApiRefusal
from daytona_standin.records import SandboxRecord, SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

R = TypeVar("R", SnapshotRecord, SandboxRecord)


class RecordStore:
    """Hold `lock` while you read or change what must agree with each other."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.snapshots: dict[str, SnapshotRecord] = {}
        self.sandboxes: dict[str, SandboxRecord] = {}

    def add_snapshot(self, snapshot: SnapshotRecord, *, limit: int) -> None:
        with self.lock:
            if _find_by_name(self.snapshots, snapshot.name):
                raise ApiRefusal(
                    409,
                    f'Snapshot with name "{snapshot.name}" already exists for this organization',
                )
            if len(self.snapshots) >= limit:
                raise ApiRefusal(403, f"Snapshot quota exceeded. Maximum allowed: {limit}")
            self.snapshots[snapshot.id] = snapshot

    def snapshot(self, id_or_name: str) -> SnapshotRecord:
        with self.lock:
            snapshot = self.snapshots.get(id_or_name) or _find_by_name(self.snapshots, id_or_name)
            if snapshot is None:
                raise ApiRefusal(404, f"Snapshot with ID or name {id_or_name} not found")
            return snapshot

    def snapshot_by_id(self, identity: str) -> SnapshotRecord:
        try:
            uuid.UUID(identity)
        except ValueError:
            raise ApiRefusal(400, "Validation failed (uuid is expected)") from None
        with self.lock:
            if identity not in self.snapshots:
                raise ApiRefusal(404, f"Snapshot with ID {identity} not found")
            return self.snapshots[identity]

    def active_snapshot(self, ref: str) -> SnapshotRecord | None:
        """One with that content whose image exists: the next with the same needs no build."""
        with self.lock:
            candidates = (s for s in self.snapshots.values() if s.ref == ref)
            return next((s for s in candidates if s.state == "active"), None)

    def add_sandbox(self, sandbox: SandboxRecord) -> None:
        with self.lock:
            if _find_by_name(self.sandboxes, sandbox.name):
                raise ApiRefusal(409, f"Sandbox with name {sandbox.name} already exists")
            self.sandboxes[sandbox.id] = sandbox

    def sandbox(self, id_or_name: str) -> SandboxRecord:
        with self.lock:
            sandbox = self.sandboxes.get(id_or_name) or _find_by_name(self.sandboxes, id_or_name)
            if sandbox is None or sandbox.state in {"destroying", "destroyed"}:
                raise ApiRefusal(404, f"Sandbox with ID or name {id_or_name} not found")
            return sandbox


def _find_by_name(records: Mapping[str, R], name: str) -> R | None:
    return next((record for record in records.values() if record.name == name), None)
