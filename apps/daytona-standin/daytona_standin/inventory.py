"""Everything that a stand-in has, as JSON for its control interface (docs/stand-in.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daytona_standin.engine import LocalEngine
    from daytona_standin.front_door import RequestLog
    from daytona_standin.image_builder import ImageBuilder
    from daytona_standin.object_storage import ObjectStorage
    from daytona_standin.push_registry import PushRegistry
    from daytona_standin.store import RecordStore


class Inventory:
    def __init__(
        self,
        *,
        store: RecordStore,
        engine: LocalEngine,
        builder: ImageBuilder,
        storage: ObjectStorage,
        registry: PushRegistry,
        log: RequestLog,
    ) -> None:
        self._store = store
        self._engine = engine
        self._builder = builder
        self._storage = storage
        self._registry = registry
        self._log = log

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """Name → record."""
        with self._store.lock:
            return {
                record.name: {
                    "id": record.id,
                    "state": record.state,
                    "error": record.error,
                    "ref": record.ref,
                }
                for record in self._store.snapshots.values()
            }

    def sandboxes(self) -> dict[str, dict[str, Any]]:
        """Id → record; intervals in minutes."""
        with self._store.lock:
            return {
                record.id: {
                    "name": record.name,
                    "state": record.state,
                    "snapshot": record.snapshot.name,
                    "labels": dict(record.labels),
                    "auto_stop": record.auto_stop,
                    "auto_delete": record.auto_delete,
                    "time_to_live": record.time_to_live,
                }
                for record in self._store.sandboxes.values()
            }

    def images(self) -> dict[str, list[str]]:
        """Tag (id where there is none) → the names of the snapshots that use the image."""
        users: dict[str, list[str]] = {}
        with self._store.lock:
            for record in self._store.snapshots.values():
                if record.ref:
                    users.setdefault(self._builder.tag(record.ref), []).append(record.name)
        names = [
            tag for identity, tags in self._engine.images().items() for tag in tags or [identity]
        ]
        return {name: sorted(users.get(name, [])) for name in sorted(names)}

    def complete_state(self) -> dict[str, Any]:
        return {
            "snapshots": self.snapshots(),
            "sandboxes": self.sandboxes(),
            "containers": sorted(self._engine.containers().values()),
            "images": self.images(),
            "uploads": self._storage.state(),
            "pushed": self._registry.tags(),
            "unfinished_pushes": self._registry.unfinished_uploads(),
            "requests": self._log.matching(),
        }
