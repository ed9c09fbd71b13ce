"""Sandboxes at Daytona. Each has an end from its creation on, whatever becomes of this program."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tasks.base import console, project, waiting
from tasks.base.errors import TaskError
from tasks.base.retry import RemoteFailed
from tasks.daytona import api as daytona_api
from tasks.sandbox.errors import SandboxEnded
from tasks.sandbox.ownership import RUN_LABEL, belonging_from_labels
from tasks.sandbox.provider import Provider
from tasks.sandbox.providers.daytona_sandbox import FAILED_STATES, START_TIMEOUT, DaytonaSandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.daytona.api import Daytona
    from tasks.daytona.sandbox_client import RemoteSandbox
    from tasks.sandbox.ownership import Ownership
    from tasks.sandbox.sandbox import Sandbox
    from tasks.sandbox.values import Belonging, Capability, Spec

#: Carried by all of ours, so that a list of them can be asked for.
OUR_LABEL: Final = {f"{project.LABEL}.managed": "1"}
#: Minutes: without a request, after its end, and in all, kept or not.
AUTO_STOP: Final = 30
AUTO_DELETE: Final = 30
LIFE: Final = 120
LIFE_WHEN_KEPT: Final = 480

#: Seconds until a deleted sandbox must be gone.
_DELETION_TIMEOUT: Final = 60.0
#: A new snapshot is active some seconds before a runner has it.
_RUNNER_TIMEOUT: Final = 60.0
_CREATES: Final = 20
_NOT_OFFERED: Final[Mapping[Capability, str]] = MappingProxyType(
    {
        "local_mode": "a folder of this machine cannot be mounted in Daytona's cloud",
        "init_control": "PID 1 is Daytona's own daemon; the image's entry point is a child of it",
        "exit_status": "the API does not tell the status that an entry point ended with",
        "health": "Daytona does not carry out an image's HEALTHCHECK",
        "host_ports": "ports are reached through Daytona's preview proxy",
    }
)


class DaytonaProvider(Provider):
    name: ClassVar[str] = "daytona"
    not_offered: Mapping[Capability, str] = _NOT_OFFERED

    def __init__(self, api: Daytona) -> None:
        self.api = api
        #: Sandbox id → why it could not be deleted. Each is reported once; Daytona ends them.
        self.leaks: dict[str, str] = {}

    @classmethod
    def connect(cls) -> DaytonaProvider:
        return cls(daytona_api.connect())

    def close(self) -> None:
        self.api.close()

    def check(self, image: str) -> None:
        """`image` is a snapshot's name here."""
        snapshot = self.api.snapshots.find(image)
        if snapshot is None:
            raise TaskError(
                f"there is no snapshot {console.printable(image)}",
                fix="nox -s snapshots -- list shows those there are; snapshot_daytona makes one",
            )
        if snapshot.state == "active":
            return
        reason = f": {console.printable(snapshot.reason)}" if snapshot.reason else ""
        advice = {
            "inactive": "nox -s daytona_test activates it; so does nox -s snapshot_daytona",
            "removing": "it is being deleted; nox -s snapshot_daytona makes another",
        }
        raise TaskError(
            f"snapshot {snapshot.name} is {console.printable(snapshot.state)}{reason}",
            fix=advice.get(
                snapshot.state, "nox -s snapshot_daytona makes it anew, or waits for it"
            ),
        )

    def create_sandbox(self, spec: Spec, run: Ownership) -> Sandbox:
        """Daytona starts what it creates: `start` has nothing left to do the first time."""
        name = run.name(spec.purpose)
        options = {
            "name": name,
            "snapshot": spec.image,
            "env": dict(spec.env),
            "labels": {**run.labels(spec.purpose), **OUR_LABEL},
            "public": False,
            "auto_stop_interval": AUTO_STOP,
            "auto_delete_interval": AUTO_DELETE,
            "ttl_minutes": LIFE_WHEN_KEPT if run.keep else LIFE,
        }
        try:
            remote = self._wait_for_start(name, self._create(name, options))
        except BaseException as error:
            # Whatever it was, Ctrl-C included: the server may have made it all the same.
            self._take_back(name, run)
            if isinstance(error, RemoteFailed):
                raise _explain_failed_start(error, spec.image) from error
            raise
        return DaytonaSandbox(
            self.api.sandboxes,
            remote,
            spec,
            run,
            delete=partial(self.delete, remote.id, remote.name),
        )

    def _create(self, name: str, options: Mapping[str, Any]) -> RemoteSandbox:
        """Created once: after a lost reply the one that is there is taken."""
        start = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return self.api.sandboxes.create(**options)
            except RemoteFailed as error:
                late = time.monotonic() - start > _RUNNER_TIMEOUT
                busy = "No available runners" in error.message
                if late or attempt > _CREATES or not (error.passing or busy):
                    raise
                console.warn(f"{error.what}; trying again")
                time.sleep(error.after if error.after is not None else min(1.0 * attempt, 5.0))
            if existing_sandbox := self.api.sandboxes.find(name):
                return existing_sandbox

    def _wait_for_start(self, name: str, sandbox: RemoteSandbox) -> RemoteSandbox:
        latest = [sandbox]

        def probe() -> RemoteSandbox | None:
            started = latest[-1].state == "started"
            remote = latest[-1] if started else self.api.sandboxes.find(sandbox.id)
            if remote is None:
                raise SandboxEnded(f"sandbox {name} vanished while it started")
            latest[:] = [remote]
            if remote.state in FAILED_STATES:
                reason = console.printable(remote.reason) or remote.state
                raise SandboxEnded(f"sandbox {name} failed to start: {reason}")
            return remote if remote.state == "started" else None

        return waiting.until(
            probe,
            what=f"the start of sandbox {name} ({sandbox.id})",
            timeout=START_TIMEOUT,
            state=lambda: f"it is {console.printable(latest[-1].state)}",
            interval=0.3,
        )

    def _take_back(self, name: str, run: Ownership) -> None:
        """Delete what there is of that name or run's label, if anything: names are unique."""
        with suppress(TaskError):
            if remote := self.api.sandboxes.find(name):
                self.delete(remote.id, remote.name)
                return
            # The server may know its label before its name, and the other way round.
            for sandbox in self.api.sandboxes.list_all({RUN_LABEL: run.id}):
                if sandbox.name == name:
                    self.delete(sandbox.id, sandbox.name)

    def belongings(self) -> list[Belonging]:
        return [
            belonging_from_labels("sandbox", remote.id, remote.name, remote.labels)
            for remote in self.api.sandboxes.list_all(OUR_LABEL)
            if remote.id not in self.leaks
        ]

    def remove(self, belonging: Belonging) -> None:
        self.delete(belonging.id, belonging.name)

    def delete(self, identity: str, name: str) -> None:
        """Delete it and wait until it is gone.

        A deletion that fails is reported and is not an error: what was to be found out with the
        sandbox stands, and Daytona deletes it by itself.
        """
        try:
            self._delete(identity, name)
        except TaskError as error:
            if identity not in self.leaks:
                self.leaks[identity] = error.what
                console.warn(
                    f"leaked: {error.what}; Daytona stops sandbox {name} after {AUTO_STOP}"
                    f" idle minutes and deletes it {AUTO_DELETE} minutes later"
                )

    def _delete(self, identity: str, name: str) -> None:
        is_requested = False

        def is_gone() -> bool:
            nonlocal is_requested
            remote = self.api.sandboxes.find(identity)
            if remote is None:
                return True
            if not is_requested and remote.state != "destroying":
                try:
                    self.api.sandboxes.delete(identity)
                    is_requested = True
                except RemoteFailed as error:
                    if error.kind != "conflict":  # its state changes at this moment: ask again
                        raise
            return False

        waiting.until(
            is_gone,
            what=f"the deletion of sandbox {name} ({identity})",
            timeout=_DELETION_TIMEOUT,
            interval=0.3,
        )


def _explain_failed_start(error: RemoteFailed, image: str) -> TaskError:
    message = error.message
    if error.status == 400 and message.startswith("Snapshot ") and image in message:
        return TaskError(
            f"no sandbox of {image}: {console.printable(message)}",
            fix="nox -s snapshots -- list shows what there is",
        )
    if "failed to start" in message:
        return SandboxEnded(f"a sandbox of {image}: {console.printable(message)}")
    return error
