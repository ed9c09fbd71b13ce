"""What happens to snapshots: accepted, built or pulled in the background, activated, removed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from tasks.standin import rules
from tasks.standin.rules import Refused
from tasks.standin.runner import BuildBroke
from tasks.standin.states import Snapshot, WrongMove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.standin.faults import Faults
    from tasks.standin.registry import Registry
    from tasks.standin.runner import Built, Runner
    from tasks.standin.settings import Settings
    from tasks.standin.states import Store

_BROKEN = 'failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1'


class Snapshots:
    def __init__(
        self, store: Store, runner: Runner, registry: Registry, faults: Faults, settings: Settings
    ) -> None:
        self._store = store
        self._runner = runner
        self._registry = registry
        self._faults = faults
        self._settings = settings
        self._ending = threading.Event()
        self._jobs: list[threading.Thread] = []

    def end(self) -> None:
        """Nothing is made any more once this returns."""
        self._ending.set()
        self._runner.stop()
        for job in self._jobs:
            job.join(30)

    def create(self, body: Mapping[str, Any]) -> Snapshot:
        snapshot = self._accept(body)
        if self._faults.strike("quota-full", snapshot.name):
            raise Refused(
                403, f"Snapshot quota exceeded. Maximum allowed: {self._settings.max_snapshots}"
            )
        stuck = self._faults.strike("pending-forever", snapshot.name)
        with self._store.lock:
            if (
                not stuck
                and snapshot.built
                and snapshot.ref
                and (same := self._store.ready(snapshot.ref))
            ):
                # The image is there: active at once, without a build and without logs.
                snapshot.state, snapshot.size = "active", same.size
            self._store.add_snapshot(snapshot, limit=self._settings.max_snapshots)
        if snapshot.state == "pending" and not stuck:
            self._in_background(self._bring_up, snapshot)
        return snapshot

    def _accept(self, body: Mapping[str, Any]) -> Snapshot:
        name = rules.check_name(body.get("name"))
        info, image = body.get("buildInfo"), body.get("imageName")
        if info and image:
            raise Refused(400, "Cannot specify both an image name and build info")
        if info and body.get("entrypoint"):
            raise Refused(400, "Cannot specify an entrypoint when using build info")
        if not info and not image:
            raise Refused(400, "Must specify either an image name or build info")
        snapshot = Snapshot(
            name=name,
            cpu=self._within(body, "cpu", 1, self._settings.max_cpu),
            memory=self._within(body, "memory", 1, self._settings.max_memory_gb),
            disk=self._within(body, "disk", 3, self._settings.max_disk_gb),
            region=body.get("regionId") or "local",
        )
        if info:
            text = info.get("dockerfileContent")
            if not isinstance(text, str) or not text:
                raise Refused(400, "buildInfo.dockerfileContent should not be empty")
            snapshot.dockerfile = text
            snapshot.context_hashes = list(info.get("contextHashes") or [])
            snapshot.ref = rules.build_ref(text, snapshot.context_hashes)
            snapshot.entrypoint = rules.entrypoint_of(text)
        else:
            snapshot.image_name = rules.check_image_name(image)
            snapshot.entrypoint = body.get("entrypoint") or None
        return snapshot

    def _within(self, body: Mapping[str, Any], what: str, default: float, limit: float) -> float:
        value = body.get(what)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or value <= 0:
            raise Refused(400, f"{what} must be a positive number")
        if value > limit:
            raise Refused(
                403, f"{what} request {value:g} exceeds maximum allowed per sandbox ({limit:g})"
            )
        return value

    def activate(self, snapshot: Snapshot) -> Snapshot:
        with self._store.lock:
            if snapshot.state == "active":
                raise Refused(400, f"Snapshot {snapshot.id} is already active")
            if snapshot.state != "inactive":
                raise Refused(
                    400,
                    f"Snapshot {snapshot.id} cannot be activated - it is in state {snapshot.state}",
                )
            snapshot.move("pending")
        self._in_background(self._bring_up, snapshot)
        return snapshot

    def deactivate(self, snapshot: Snapshot) -> None:
        with self._store.lock:
            if snapshot.state != "active":
                raise Refused(400, f"Snapshot {snapshot.id} cannot be deactivated")
            snapshot.move("inactive")

    def delete(self, snapshot: Snapshot) -> None:
        if self._faults.strike("delete-ignored", snapshot.name, snapshot.id):
            return
        with self._store.lock:
            if snapshot.state == "removing":
                return
            snapshot.move("removing")
        self._in_background(self._remove, snapshot)

    # ── in the background ───────────────────────────────────────────────────────────────────

    def _in_background(self, job: Callable[[Snapshot], None], snapshot: Snapshot) -> None:
        def carry_out() -> None:
            try:
                job(snapshot)
            except WrongMove:
                return  # it was deleted meanwhile
            except Exception as error:  # noqa: BLE001 - a job's end is told in the record
                with self._store.lock:
                    if snapshot.state not in {"removing", "active"}:
                        snapshot.state, snapshot.error = "error", f"stand-in: {error!r}"

        thread = threading.Thread(target=carry_out, daemon=True, name=f"snapshot {snapshot.name}")
        self._jobs = [job for job in self._jobs if job.is_alive()] + [thread]
        thread.start()

    def _bring_up(self, snapshot: Snapshot) -> None:
        self._ending.wait(self._settings.pace)
        if self._ending.is_set():
            return
        try:
            made = self._pull(snapshot) if snapshot.dockerfile is None else self._build(snapshot)
        except BuildBroke as error:
            self._move(snapshot, "error", str(error))
            return
        if self._ending.is_set():
            return
        limit = self._settings.max_snapshot_gb
        size = made.size / 1e9 if snapshot.built else (snapshot.size or 0.0)
        if size > limit:
            self._move(
                snapshot,
                "error",
                f"Snapshot size ({size:.2f}GB) exceeds maximum allowed size of {limit:g}GB",
            )
            return
        snapshot.size = size
        if snapshot.entrypoint is None:
            snapshot.entrypoint = made.entrypoint or None
        self._move(snapshot, "active")

    def _build(self, snapshot: Snapshot) -> Built:
        ref, dockerfile = snapshot.ref or "", snapshot.dockerfile or ""
        self._move(snapshot, "building")
        if fault := self._faults.strike("slow-build", snapshot.name):
            self._ending.wait(fault.seconds)
        failed_state = self._faults.strike("build-failed-state", snapshot.name)
        if failed_state or self._faults.strike("build-fails", snapshot.name):
            with self._runner.log(ref).open("a") as log:
                log.write("#1 [1/2] FROM debian\n#2 [2/2] RUN false\nasked to fail\n")
                log.write(f"ERROR: {_BROKEN}\n")
            if failed_state:
                self._move(snapshot, "build_failed", _BROKEN)
                raise WrongMove
            raise BuildBroke(_BROKEN)
        with self._runner.exclusive(ref):
            return self._runner.build(ref, dockerfile, snapshot.context_hashes)

    def _pull(self, snapshot: Snapshot) -> Built:
        image = snapshot.image_name or ""
        found = self._registry.find(image)
        if found is None:
            raise BuildBroke(f"failed to get image info: manifest unknown: {image}")
        snapshot.size = found.size / 1e9
        snapshot.ref = rules.pull_ref(found.digest)
        self._move(snapshot, "pulling")
        self._ending.wait(self._settings.pace)
        with self._runner.exclusive(snapshot.ref):
            return self._runner.pull(snapshot.ref, found.image)

    def _move(self, snapshot: Snapshot, state: Any, error: str | None = None) -> None:
        with self._store.lock:
            snapshot.move(state, error=error)

    def _remove(self, snapshot: Snapshot) -> None:
        self._ending.wait(self._settings.removal)
        with self._store.lock:
            self._store.snapshots.pop(snapshot.id, None)
            used = {s.ref for s in self._store.snapshots.values()}
        if snapshot.ref and snapshot.ref not in used and not self._ending.is_set():
            with self._runner.exclusive(snapshot.ref):
                self._runner.remove(snapshot.ref)

    def wait_for_log(self, snapshot: Snapshot, *, patience: float = 30.0) -> str:
        """The ref whose log can be read. 404 while no runner has taken the build up."""
        if not snapshot.built or snapshot.ref is None:
            raise Refused(404, f"Snapshot {snapshot.id} has no build info")
        deadline = time.monotonic() + patience
        while snapshot.state == "pending" and time.monotonic() < deadline:
            if self._ending.wait(0.1):
                break
        if snapshot.state == "pending":
            raise Refused(404, f"Timeout waiting for a runner for snapshot {snapshot.id}")
        return snapshot.ref
