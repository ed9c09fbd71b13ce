"""What happens to snapshots: accepted, built or pulled in the background, activated, removed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from daytona_standin import rules
from daytona_standin.errors import ApiRefusal
from daytona_standin.image_builder import ImageBuildFailed
from daytona_standin.records import InvalidTransition, SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daytona_standin.faults import FaultBook
    from daytona_standin.image_builder import BuiltImage, ImageBuilder
    from daytona_standin.push_registry import PushRegistry
    from daytona_standin.records import SnapshotState
    from daytona_standin.settings import StandInSettings
    from daytona_standin.store import RecordStore

_INJECTED_ERROR: Final = (
    'failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1'
)


class SnapshotService:
    def __init__(
        self,
        store: RecordStore,
        builder: ImageBuilder,
        registry: PushRegistry,
        faults: FaultBook,
        settings: StandInSettings,
    ) -> None:
        self._store = store
        self._builder = builder
        self._registry = registry
        self._faults = faults
        self._settings = settings
        self._ending = threading.Event()
        self._jobs: list[threading.Thread] = []

    def end(self) -> None:
        """No image is made any more once this returns."""
        self._ending.set()
        self._builder.stop()
        for job in self._jobs:
            job.join(30)

    def create(self, body: Mapping[str, Any]) -> SnapshotRecord:
        """`body` is a valid `CreateSnapshot`."""
        snapshot = self._accept(body)
        limit = self._settings.max_snapshots
        if self._faults.strike("quota-full", snapshot.name):
            raise ApiRefusal(403, f"Snapshot quota exceeded. Maximum allowed: {limit}")
        is_stuck = bool(self._faults.strike("pending-forever", snapshot.name))
        with self._store.lock:
            twin = self._store.active_snapshot(snapshot.ref) if snapshot.ref else None
            if twin and not is_stuck:
                # The image exists: active at once, without a build and without a log.
                snapshot.state, snapshot.size_gb = "active", twin.size_gb
            self._store.add_snapshot(snapshot, limit=limit)
        if snapshot.state == "pending" and not is_stuck:
            self._run_in_background(self._bring_up, snapshot)
        return snapshot

    def _accept(self, body: Mapping[str, Any]) -> SnapshotRecord:
        name = rules.check_name(body["name"])
        build_info, image = body.get("buildInfo"), body.get("imageName")
        if build_info and image:
            raise ApiRefusal(400, "Cannot specify both an image name and build info")
        if build_info and body.get("entrypoint"):
            raise ApiRefusal(400, "Cannot specify an entrypoint when using build info")
        if not build_info and not image:
            raise ApiRefusal(400, "Must specify either an image name or build info")
        snapshot = SnapshotRecord(
            name=name,
            cpu=_resource(body, "cpu", default=1, limit=self._settings.max_cpu),
            memory_gb=_resource(body, "memory", default=1, limit=self._settings.max_memory_gb),
            disk_gb=_resource(body, "disk", default=3, limit=self._settings.max_disk_gb),
        )
        if build_info:
            text = build_info["dockerfileContent"]
            if not text:
                raise ApiRefusal(400, "buildInfo.dockerfileContent should not be empty")
            snapshot.dockerfile = text
            snapshot.context_hashes = list(build_info.get("contextHashes") or [])
            snapshot.ref = rules.build_ref(text, snapshot.context_hashes)
            snapshot.entrypoint = rules.entrypoint_of(text)
        else:
            snapshot.image_name = rules.check_image_name(image or "")
            snapshot.entrypoint = body.get("entrypoint") or None
        return snapshot

    def activate(self, snapshot: SnapshotRecord) -> SnapshotRecord:
        with self._store.lock:
            if snapshot.state == "active":
                raise ApiRefusal(400, f"Snapshot {snapshot.id} is already active")
            if snapshot.state != "inactive":
                raise ApiRefusal(
                    400,
                    f"Snapshot {snapshot.id} cannot be activated - it is in state {snapshot.state}",
                )
            snapshot.move("pending")
        self._run_in_background(self._bring_up, snapshot)
        return snapshot

    def deactivate(self, snapshot: SnapshotRecord) -> None:
        with self._store.lock:
            if snapshot.state != "active":
                raise ApiRefusal(400, f"Snapshot {snapshot.id} cannot be deactivated")
            snapshot.move("inactive")

    def delete(self, snapshot: SnapshotRecord) -> None:
        if self._faults.strike("delete-ignored", snapshot.name, snapshot.id):
            return
        with self._store.lock:
            if snapshot.state == "removing":
                return
            snapshot.move("removing")
        self._run_in_background(self._remove, snapshot)

    def wait_for_log(self, snapshot: SnapshotRecord, *, patience: float = 30.0) -> str:
        """The ref whose log can be read. 404 while no runner has begun the build."""
        if not snapshot.is_built or snapshot.ref is None:
            raise ApiRefusal(404, f"Snapshot {snapshot.id} has no build info")
        deadline = time.monotonic() + patience
        while snapshot.state == "pending" and time.monotonic() < deadline:
            if self._ending.wait(0.1):
                break
        if snapshot.state == "pending":
            raise ApiRefusal(404, f"Timeout waiting for a runner for snapshot {snapshot.id}")
        return snapshot.ref

    # ── in the background ───────────────────────────────────────────────────────────────────

    def _run_in_background(
        self, job: Callable[[SnapshotRecord], None], snapshot: SnapshotRecord
    ) -> None:
        def run() -> None:
            try:
                job(snapshot)
            except InvalidTransition:
                return  # it was deleted meanwhile
            except Exception as error:  # noqa: BLE001 - the record shows how a job ended
                with self._store.lock:
                    if snapshot.state not in {"removing", "active"}:
                        snapshot.state, snapshot.error = "error", f"stand-in: {error!r}"

        thread = threading.Thread(target=run, daemon=True, name=f"snapshot {snapshot.name}")
        self._jobs = [job for job in self._jobs if job.is_alive()] + [thread]
        thread.start()

    def _bring_up(self, snapshot: SnapshotRecord) -> None:
        self._ending.wait(self._settings.transition_seconds)
        if self._ending.is_set():
            return
        try:
            image = self._build(snapshot) if snapshot.is_built else self._pull(snapshot)
        except ImageBuildFailed as error:
            self._move(snapshot, "error", str(error))
            return
        if image is None or self._ending.is_set():
            return
        limit = self._settings.max_snapshot_gb
        size = image.size_bytes / 1e9 if snapshot.is_built else (snapshot.size_gb or 0.0)
        if size > limit:
            reason = f"Snapshot size ({size:.2f}GB) exceeds maximum allowed size of {limit:g}GB"
            self._move(snapshot, "error", reason)
            return
        snapshot.size_gb = size
        if snapshot.entrypoint is None:
            snapshot.entrypoint = image.entrypoint or None
        self._move(snapshot, "active")

    def _build(self, snapshot: SnapshotRecord) -> BuiltImage | None:
        """None: a fault has ended it as `build_failed`."""
        ref, dockerfile = snapshot.ref or "", snapshot.dockerfile or ""
        self._move(snapshot, "building")
        if fault := self._faults.strike("slow-build", snapshot.name):
            self._ending.wait(fault.seconds)
        ends_as_build_failed = self._faults.strike("build-failed-state", snapshot.name)
        if ends_as_build_failed or self._faults.strike("build-fails", snapshot.name):
            with self._builder.log(ref).open("a") as log:
                log.write("#1 [1/2] FROM debian\n#2 [2/2] RUN false\nan injected fault\n")
                log.write(f"ERROR: {_INJECTED_ERROR}\n")
            if not ends_as_build_failed:
                raise ImageBuildFailed(_INJECTED_ERROR)
            self._move(snapshot, "build_failed", _INJECTED_ERROR)
            return None
        with self._builder.exclusive(ref):
            return self._builder.build(ref, dockerfile, snapshot.context_hashes)

    def _pull(self, snapshot: SnapshotRecord) -> BuiltImage:
        image = snapshot.image_name or ""
        pushed_image = self._registry.find(image)
        if pushed_image is None:
            raise ImageBuildFailed(f"failed to get image info: manifest unknown: {image}")
        snapshot.size_gb = pushed_image.size_bytes / 1e9
        snapshot.ref = rules.pull_ref(pushed_image.digest)
        self._move(snapshot, "pulling")
        self._ending.wait(self._settings.transition_seconds)
        with self._builder.exclusive(snapshot.ref):
            return self._builder.pull(snapshot.ref, pushed_image.image)

    def _move(
        self, snapshot: SnapshotRecord, state: SnapshotState, error: str | None = None
    ) -> None:
        with self._store.lock:
            snapshot.move(state, error=error)

    def _remove(self, snapshot: SnapshotRecord) -> None:
        self._ending.wait(self._settings.removal_seconds)
        with self._store.lock:
            self._store.snapshots.pop(snapshot.id, None)
            used_refs = {s.ref for s in self._store.snapshots.values()}
        if snapshot.ref and snapshot.ref not in used_refs and not self._ending.is_set():
            with self._builder.exclusive(snapshot.ref):
                self._builder.remove(snapshot.ref)


def _resource(body: Mapping[str, Any], name: str, *, default: int, limit: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if value <= 0:
        raise ApiRefusal(400, f"{name} must be a positive number")
    if value > limit:
        raise ApiRefusal(
            403, f"{name} request {value:g} exceeds maximum allowed per sandbox ({limit:g})"
        )
    return int(value)
