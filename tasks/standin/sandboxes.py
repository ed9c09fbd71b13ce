"""What happens to sandboxes: created, started, stopped, deleted, by request and by the clock."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console
from tasks.standin import wire
from tasks.standin.containers import CannotStart
from tasks.standin.rules import Refused
from tasks.standin.states import CHANGING, Sandbox, WrongMove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.standin.containers import Containers
    from tasks.standin.faults import Faults
    from tasks.standin.runner import Runner
    from tasks.standin.settings import Settings
    from tasks.standin.states import Store

_INTERVALS: Final = {
    "autoStopInterval": "auto_stop",
    "autoArchiveInterval": "auto_archive",
    "autoDeleteInterval": "auto_delete",
    "ttlMinutes": "ttl",
}


class Sandboxes:
    def __init__(
        self,
        store: Store,
        runner: Runner,
        containers: Containers,
        faults: Faults,
        settings: Settings,
    ) -> None:
        self._store = store
        self._runner = runner
        self._containers = containers
        self._faults = faults
        self._settings = settings
        self._ending = threading.Event()
        self._jobs: list[threading.Thread] = []
        self._clock = threading.Thread(target=self._watch_the_clock, daemon=True)
        self._clock.start()

    def end(self) -> None:
        """Nothing is made any more once this returns."""
        self._ending.set()
        for thread in (self._clock, *self._jobs):
            thread.join(30)

    # ── requests ────────────────────────────────────────────────────────────────────────────

    def create(self, body: Mapping[str, Any]) -> Sandbox:
        sandbox = self._accept(body)
        self._store.add_sandbox(sandbox)
        done = self._in_background(lambda: self._bring_up(sandbox, first=True), sandbox)
        done.wait(self._settings.patience)
        if sandbox.state == "error":
            raise Refused(400, f"Sandbox failed to start: {sandbox.error}")
        return sandbox

    def _accept(self, body: Mapping[str, Any]) -> Sandbox:
        if body.get("buildInfo"):
            raise Refused(400, "stand-in: sandboxes are created from snapshots only")
        wanted = body.get("snapshot")
        if not wanted:
            raise Refused(400, "No default snapshot: name one")
        for what in ("cpu", "memory", "disk"):
            if body.get(what) is not None:
                raise Refused(400, "Cannot specify Sandbox resources when using a snapshot")
        try:
            snapshot = self._store.snapshot(str(wanted))
        except Refused:
            raise Refused(
                400,
                f"Snapshot {wanted} not found. Did you add it through the Daytona Dashboard?",
            ) from None
        if snapshot.state != "active":
            raise Refused(400, f"Snapshot {wanted} is {snapshot.state}")
        snapshot.used = time.time()
        sandbox = Sandbox(name="", snapshot=snapshot)
        sandbox.name = body.get("name") or sandbox.id
        sandbox.env = _texts(body, "env")
        sandbox.labels = _texts(body, "labels")
        sandbox.user = body.get("user") or "daytona"
        sandbox.public = bool(body.get("public"))
        sandbox.target = body.get("target") or "local"
        for given, attribute in _INTERVALS.items():
            if body.get(given) is not None:
                setattr(sandbox, attribute, body[given])
        if self._settings.mortal and not (
            body.get("autoStopInterval", 0) > 0
            and body.get("autoDeleteInterval", -1) >= 0
            and body.get("ttlMinutes", 0) > 0
        ):
            raise Refused(400, "stand-in: this sandbox would have no end of its own")
        return sandbox

    def start(self, sandbox: Sandbox) -> Sandbox:
        with self._store.lock:
            if sandbox.state == "started":
                return sandbox
            self._refuse_while_changing(sandbox)
            if sandbox.state not in {"stopped", "error"}:
                raise Refused(400, f"Sandbox is in state {sandbox.state}")
            sandbox.move("starting")
        self._in_background(lambda: self._bring_up(sandbox, first=False), sandbox)
        return sandbox

    def stop(self, sandbox: Sandbox, *, force: bool = False) -> Sandbox:
        with self._store.lock:
            self._refuse_while_changing(sandbox)
            if sandbox.state != "started":
                raise Refused(400, "Sandbox is not started")
            sandbox.move("stopping")
        self._in_background(lambda: self._bring_down(sandbox, force=force), sandbox)
        return sandbox

    def delete(self, sandbox: Sandbox) -> Sandbox:
        if self._faults.strike("delete-ignored", sandbox.name, sandbox.id):
            return sandbox
        with self._store.lock:
            self._refuse_while_changing(sandbox)
            sandbox.move("destroying")
            sandbox.name = f"DESTROYED_{sandbox.name}_{int(time.time() * 1000)}"
        self._in_background(lambda: self._destroy(sandbox), sandbox)
        return sandbox

    def _refuse_while_changing(self, sandbox: Sandbox) -> None:
        if sandbox.state in CHANGING:
            raise Refused(409, "Sandbox state change in progress")

    # ── in the background ───────────────────────────────────────────────────────────────────

    def _in_background(self, job: Callable[[], None], sandbox: Sandbox) -> threading.Event:
        done = threading.Event()

        def carry_out() -> None:
            try:
                job()
            except WrongMove:
                pass
            except Exception as error:  # noqa: BLE001 - a job's end is told in the record
                with self._store.lock:
                    if sandbox.state != "destroyed":
                        sandbox.state, sandbox.error = "error", f"stand-in: {error!r}"
            finally:
                done.set()

        thread = threading.Thread(target=carry_out, daemon=True, name=f"sandbox {sandbox.id}")
        self._jobs = [job for job in self._jobs if job.is_alive()] + [thread]
        thread.start()
        return done

    def _bring_up(self, sandbox: Sandbox, *, first: bool) -> None:
        names = (sandbox.name, sandbox.id, sandbox.snapshot.name)
        if slow := self._faults.strike("slow-start", *names):
            self._ending.wait(slow.seconds)
        if self._ending.is_set():
            return
        if self._faults.strike("failed-start", *names):
            self._move(sandbox, "error", "timeout waiting for daemon to start")
            return
        try:
            if first or sandbox.container is None:
                sandbox.container = self._create_container(sandbox)
            self._containers.start(sandbox.container)
        except CannotStart as error:
            self._move(sandbox, "error", str(error))
        else:
            self._move(sandbox, "started")

    def _create_container(self, sandbox: Sandbox) -> str:
        snapshot = sandbox.snapshot
        env = {
            **sandbox.env,
            "DAYTONA_SANDBOX_ID": sandbox.id,
            "DAYTONA_SANDBOX_SNAPSHOT": snapshot.ref or "",
            "DAYTONA_SANDBOX_USER": sandbox.user,
            "DAYTONA_ORGANIZATION_ID": wire.ORGANIZATION,
            "DAYTONA_REGION_ID": sandbox.target,
        }
        image = self._runner.tag(snapshot.ref or "")
        return self._containers.create(image, sandbox.id, snapshot.entrypoint or [], env)

    def _bring_down(self, sandbox: Sandbox, *, force: bool = False) -> None:
        if sandbox.container:
            self._containers.stop(sandbox.container, force=force)
        self._move(sandbox, "stopped")

    def _destroy(self, sandbox: Sandbox) -> None:
        if sandbox.container:
            self._containers.remove(sandbox.container)
        self._move(sandbox, "destroyed")
        with self._store.lock:
            self._store.sandboxes.pop(sandbox.id, None)

    def _move(self, sandbox: Sandbox, state: Any, error: str | None = None) -> None:
        with self._store.lock:
            sandbox.move(state, error=error)

    def _watch_the_clock(self) -> None:
        while not self._ending.wait(self._settings.check_every):
            with self._store.lock:
                now, minute = time.time(), self._settings.minute
                due = [(s, s.due(now, minute=minute)) for s in self._store.sandboxes.values()]
            for sandbox, what in due:
                try:
                    if what == "stop":
                        self.stop(sandbox)
                    elif what == "delete":
                        self.delete(sandbox)
                except Refused as refused:
                    console.warn(f"stand-in: {sandbox.id}: {refused.message}")


def _texts(body: Mapping[str, Any], key: str) -> dict[str, str]:
    value = body.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise Refused(400, f"{key} must be an object of strings")
    return dict(value)
