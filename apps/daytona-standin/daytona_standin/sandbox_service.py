"""What happens to sandboxes: created, started, stopped, deleted, by request and by the clock."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from daytona_standin.containers import SandboxStartFailed
from daytona_standin.errors import ApiRefusal, not_imitated
from daytona_standin.presentation import ORGANIZATION
from daytona_standin.records import CHANGING, REGION, InvalidTransition, SandboxRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daytona_standin.containers import SandboxContainers
    from daytona_standin.faults import FaultBook
    from daytona_standin.image_builder import ImageBuilder
    from daytona_standin.records import SandboxState, SnapshotRecord
    from daytona_standin.settings import StandInSettings
    from daytona_standin.store import RecordStore


class SandboxService:
    def __init__(
        self,
        store: RecordStore,
        builder: ImageBuilder,
        containers: SandboxContainers,
        faults: FaultBook,
        settings: StandInSettings,
    ) -> None:
        self._store = store
        self._builder = builder
        self._containers = containers
        self._faults = faults
        self._settings = settings
        self._ending = threading.Event()
        self._jobs: list[threading.Thread] = []
        self._clock = threading.Thread(target=self._watch_the_clock, daemon=True)
        self._clock.start()

    def end(self) -> None:
        """No container is made any more once this returns."""
        self._ending.set()
        for thread in (self._clock, *self._jobs):
            thread.join(30)

    # ── requests ────────────────────────────────────────────────────────────────────────────

    def create(self, body: Mapping[str, Any]) -> SandboxRecord:
        """`body` is a valid `CreateSandbox`. Waits for the start as long as the server does."""
        sandbox = self._accept(body)
        self._store.add_sandbox(sandbox)
        end = self._run_in_background(lambda: self._bring_up(sandbox), sandbox)
        end.wait(self._settings.creation_wait_seconds)
        if sandbox.state == "error":
            raise ApiRefusal(400, f"Sandbox failed to start: {sandbox.error}")
        return sandbox

    def _accept(self, body: Mapping[str, Any]) -> SandboxRecord:
        if any(body.get(name) for name in ("cpu", "gpu", "memory", "disk")):
            raise ApiRefusal(400, "Cannot specify Sandbox resources when using a snapshot")
        sandbox = SandboxRecord(name="", snapshot=self._active_snapshot(body.get("snapshot")))
        sandbox.name = body.get("name") or sandbox.id
        sandbox.env = dict(body.get("env") or {})
        sandbox.labels = dict(body.get("labels") or {})
        sandbox.user = body.get("user") or sandbox.user
        sandbox.public = bool(body.get("public"))
        if (auto_stop := body.get("autoStopInterval")) is not None:
            sandbox.auto_stop = check_auto_stop(auto_stop)
        if (auto_delete := body.get("autoDeleteInterval")) is not None:
            sandbox.auto_delete = auto_delete
        if (time_to_live := body.get("ttlMinutes")) is not None:
            sandbox.time_to_live = check_time_to_live(time_to_live)
        if self._settings.require_sandbox_end and not (
            body.get("autoStopInterval") and sandbox.auto_delete >= 0 and sandbox.time_to_live
        ):
            raise ApiRefusal(400, "stand-in: this sandbox would have no end of its own")
        return sandbox

    def _active_snapshot(self, id_or_name: str | None) -> SnapshotRecord:
        if not id_or_name:
            raise not_imitated("the default snapshot: name one in `snapshot`")
        try:
            snapshot = self._store.snapshot(id_or_name)
        except ApiRefusal:
            raise ApiRefusal(
                400,
                f"Snapshot {id_or_name} not found. Did you add it through the Daytona Dashboard?",
            ) from None
        if snapshot.state != "active":
            raise ApiRefusal(400, f"Snapshot {id_or_name} is {snapshot.state}")
        snapshot.last_used = time.time()
        return snapshot

    def start(self, sandbox: SandboxRecord) -> SandboxRecord:
        with self._store.lock:
            if sandbox.state == "started":
                return sandbox
            _refuse_while_changing(sandbox)
            if sandbox.state not in {"stopped", "error"}:
                raise ApiRefusal(400, f"Sandbox is in state {sandbox.state}")
            sandbox.move("starting")
        self._run_in_background(lambda: self._bring_up(sandbox), sandbox)
        return sandbox

    def stop(self, sandbox: SandboxRecord, *, force: bool = False) -> SandboxRecord:
        with self._store.lock:
            _refuse_while_changing(sandbox)
            if sandbox.state != "started":
                raise ApiRefusal(400, "Sandbox is not started")
            sandbox.move("stopping")
        self._run_in_background(lambda: self._bring_down(sandbox, force=force), sandbox)
        return sandbox

    def delete(self, sandbox: SandboxRecord) -> SandboxRecord:
        """The name is free at once, as at Daytona."""
        if self._faults.strike("delete-ignored", sandbox.name, sandbox.id):
            return sandbox
        with self._store.lock:
            _refuse_while_changing(sandbox)
            sandbox.move("destroying")
            sandbox.is_deleted = True
            sandbox.name = f"DESTROYED_{sandbox.name}_{int(time.time() * 1000)}"
        self._run_in_background(lambda: self._destroy(sandbox), sandbox)
        return sandbox

    # ── in the background ───────────────────────────────────────────────────────────────────

    def _run_in_background(
        self, job: Callable[[], None], sandbox: SandboxRecord
    ) -> threading.Event:
        """The event is set when the job has ended."""
        end = threading.Event()

        def run() -> None:
            try:
                job()
            except InvalidTransition:
                pass  # it was deleted meanwhile
            except Exception as error:  # noqa: BLE001 - the record shows how a job ended
                with self._store.lock:
                    if sandbox.state != "destroyed":
                        sandbox.state, sandbox.error = "error", f"stand-in: {error!r}"
            finally:
                end.set()

        thread = threading.Thread(target=run, daemon=True, name=f"sandbox {sandbox.id}")
        self._jobs = [job for job in self._jobs if job.is_alive()] + [thread]
        thread.start()
        return end

    def _bring_up(self, sandbox: SandboxRecord) -> None:
        names = (sandbox.name, sandbox.id, sandbox.snapshot.name)
        if fault := self._faults.strike("slow-start", *names):
            self._ending.wait(fault.seconds)
        if self._ending.is_set():
            return
        if self._faults.strike("failed-start", *names):
            self._move(sandbox, "error", "timeout waiting for daemon to start")
            return
        try:
            if sandbox.container is None:
                sandbox.container = self._create_container(sandbox)
            self._containers.start(sandbox.container)
        except SandboxStartFailed as error:
            self._move(sandbox, "error", str(error))
        else:
            self._move(sandbox, "started")

    def _create_container(self, sandbox: SandboxRecord) -> str:
        snapshot = sandbox.snapshot
        environment = {
            **sandbox.env,
            "DAYTONA_SANDBOX_ID": sandbox.id,
            "DAYTONA_SANDBOX_SNAPSHOT": snapshot.ref or "",
            "DAYTONA_SANDBOX_USER": sandbox.user,
            "DAYTONA_ORGANIZATION_ID": ORGANIZATION,
            "DAYTONA_REGION_ID": REGION,
        }
        image = self._builder.tag(snapshot.ref or "")
        return self._containers.create(image, sandbox.id, snapshot.entrypoint or [], environment)

    def _bring_down(self, sandbox: SandboxRecord, *, force: bool) -> None:
        if sandbox.container:
            self._containers.stop(sandbox.container, force=force)
        self._move(sandbox, "stopped")

    def _destroy(self, sandbox: SandboxRecord) -> None:
        if sandbox.container:
            self._containers.remove(sandbox.container)
        self._move(sandbox, "destroyed")
        with self._store.lock:
            self._store.sandboxes.pop(sandbox.id, None)

    def _move(self, sandbox: SandboxRecord, state: SandboxState, error: str | None = None) -> None:
        with self._store.lock:
            sandbox.move(state, error=error)

    def _watch_the_clock(self) -> None:
        while not self._ending.wait(self._settings.clock_interval_seconds):
            moment, minute_seconds = time.time(), self._settings.minute_seconds
            with self._store.lock:
                due_actions = [
                    (sandbox, sandbox.due_action(moment, minute_seconds=minute_seconds))
                    for sandbox in self._store.sandboxes.values()
                ]
            for sandbox, action in due_actions:
                try:
                    if action == "stop":
                        self.stop(sandbox)
                    elif action == "delete":
                        self.delete(sandbox)
                except ApiRefusal as refusal:
                    sys.stderr.write(f"sandbox {sandbox.id}: {refusal.message}\n")


def check_auto_stop(minutes: int) -> int:
    if minutes < 0:
        raise ApiRefusal(400, "Auto-stop interval must be non-negative")
    return minutes


def check_time_to_live(minutes: int) -> int:
    if minutes < 0:
        raise ApiRefusal(400, "TTL must be non-negative")
    return minutes


def _refuse_while_changing(sandbox: SandboxRecord) -> None:
    if sandbox.state in CHANGING:
        raise ApiRefusal(409, "Sandbox state change in progress")
