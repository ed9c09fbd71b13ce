"""Bringing a snapshot to `active`, whatever is there already and whatever happens on the way.

One loop asks for the state, does the next step (`states.next_step`), and asks again. It remembers
nothing that Daytona does not know: ended at any moment and started again, on any machine, it goes
on. Its deadline, its patience and its log are its own; the SDK's waits are not used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console, retry
from tasks.base.errors import TaskError, TimedOut
from tasks.base.retry import RemoteFailed
from tasks.daytona import content, deletion, masking, service
from tasks.daytona.build_stream import BuildLogFollower
from tasks.daytona.request import DEADLINE
from tasks.daytona.selection import Placement
from tasks.daytona.snapshot import KNOWN_STATES, UNDER_WAY
from tasks.daytona.states import next_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.daytona.api import Daytona
    from tasks.daytona.snapshot import Snapshot

Outcome = Literal["reused", "activated", "attached", "built"]

#: Seconds without any answer before a build is given up on; it goes on at Daytona.
_SILENCE: Final = 300.0
_CREATES: Final = 5


class BuildFault(TaskError):
    """Daytona could not build or pull it. `step` is the Dockerfile's step that failed."""

    code = "build-fault"

    def __init__(self, message: str, *, step: str, reason: str, fix: str) -> None:
        super().__init__(message, fix=fix)
        self.step = step
        self.reason = reason


class NameTaken(TaskError):
    """The name belongs to another content."""

    code = "conflict"


class Misplaced(NameTaken):
    """The name belongs to the same content in another region, or with other resources."""


@dataclass(frozen=True, kw_only=True)
class SnapshotOrder:
    """`create` sends what is needed and asks Daytona for the snapshot; it may be called again.
    `resume_command` is what a person types to go on after an interrupt. `rebuild` is the id of a
    forced build, "" where any build will do.
    """

    name: str
    identity: str
    create: Callable[[], Snapshot]
    resume_command: str
    rebuild: str = ""
    placement: Placement = field(default_factory=Placement)


@dataclass(frozen=True, kw_only=True)
class ActiveSnapshot:
    """`seconds` is how long it took; `log` is the file with the log of its build, if any."""

    snapshot: Snapshot
    outcome: Outcome
    seconds: float
    log: Path | None


def ensure_active(
    api: Daytona,
    order: SnapshotOrder,
    *,
    log: Path,
    timeout: float = DEADLINE,
    sleep: Callable[[float], object] = time.sleep,
) -> ActiveSnapshot:
    """The snapshot of that name and content, active. Raises what stands against it."""
    work = _Work(api, order, log=log, timeout=timeout, sleep=sleep)
    try:
        return work.run()
    except TaskError:
        work.end_log()
        raise
    except BaseException:
        # Ctrl-C: nothing is waited for, and nothing can be cancelled at Daytona.
        work.abandon()
        raise


class _Work:
    """One call of `ensure_active`."""

    def __init__(
        self,
        api: Daytona,
        order: SnapshotOrder,
        *,
        log: Path,
        timeout: float,
        sleep: Callable[[float], object],
    ) -> None:
        self._api = api
        self._order = order
        self._log = log
        self._timeout = timeout
        self._sleep = sleep
        self._watch = console.Stopwatch()
        self._last_answer = time.monotonic()
        self._outcome: Outcome = "reused"
        self._creates = 0
        self._conflicts_since: float | None = None
        self._follower: BuildLogFollower | None = None
        #: The one that is there, and the last one that was.
        self._snapshot: Snapshot | None = None
        self._last_snapshot: Snapshot | None = None
        self._interval = 0.3

    def run(self) -> ActiveSnapshot:
        while True:
            if self._look():
                snapshot = self._take_step()
                if snapshot is not None:
                    self.end_log()
                    return ActiveSnapshot(
                        snapshot=snapshot,
                        outcome=self._outcome,
                        seconds=self._watch.elapsed,
                        log=self._log if self._log.exists() else None,
                    )
            if self._watch.elapsed >= self._timeout:
                raise self._too_late()
            self._sleep(self._interval)
            self._interval = min(self._interval * 1.3, 3.0)

    def _look(self) -> bool:
        """Ask for the state. An unreachable API ends the wait only after minutes."""
        try:
            snapshot = self._api.snapshots.find(self._order.name)
        except RemoteFailed as error:
            silence = time.monotonic() - self._last_answer
            if not error.passing or self._last_snapshot is None or silence > _SILENCE:
                raise
            console.warn(f"{error.what}; the build goes on, asking again")
            self._pause(error.after or 0.0)
            return False
        self._last_answer = time.monotonic()
        if snapshot and (self._snapshot is None or snapshot.state != self._snapshot.state):
            remark = "" if snapshot.state in KNOWN_STATES else ", which this program does not know"
            state = console.printable(snapshot.state)
            console.step(f"{self._watch!s:>6} snapshot {snapshot.name}: {state}{remark}")
            self._interval = 0.3
        self._snapshot = snapshot
        self._last_snapshot = snapshot or self._last_snapshot
        return True

    def _take_step(self) -> Snapshot | None:
        """Do what comes next; the snapshot once it is active."""
        snapshot = self._snapshot
        order = self._order
        step = next_step(
            snapshot, identity=order.identity, rebuild=order.rebuild, placement=order.placement
        )
        if snapshot is None:
            self._create()
            return None
        match step:
            case "reuse":
                return snapshot
            case "refuse":
                raise _name_taken(order, snapshot)
            case "activate":
                self._activate(snapshot)
            case "attach":
                self._attach(snapshot)
            case "replace":
                if self._outcome in {"built", "attached"}:
                    raise self._fault(snapshot)
                self._replace(snapshot)
            case _:
                pass  # it has to change by itself; the deadline ends the wait
        return None

    def _create(self) -> None:
        if self._creates >= _CREATES:
            raise TaskError(
                f"snapshot {self._order.name} vanished {self._creates} times while it was made",
                fix="see who deletes it, in Daytona's audit log; then run it again",
            )
        try:
            snapshot = self._order.create()
        except RemoteFailed as error:
            self._create_failed(error)
            return
        self._creates += 1
        self._outcome = "built"
        self._conflicts_since = None
        self._snapshot = self._last_snapshot = snapshot
        state = console.printable(snapshot.state)
        console.step(f"{self._watch!s:>6} snapshot {snapshot.name} is made: {state}, {snapshot.id}")

    def _create_failed(self, error: RemoteFailed) -> None:
        """It may have been made all the same: the next look finds it by name and content."""
        if error.kind == "conflict":
            # Somebody was first; or it was deleted, and its name is free a little later.
            moment = time.monotonic()
            if self._conflicts_since is None:
                self._conflicts_since = moment
                console.warn(f"{error.what}; looking who has it")
            elif moment - self._conflicts_since > deletion.DELETION_TIMEOUT:
                raise error
            return
        self._creates += 1
        too_long = (error.after or 0.0) > retry.DEFAULT.longest
        if not error.passing or too_long or self._creates >= _CREATES:
            raise error
        console.warn(f"{error.what}; looking whether it was made all the same")
        self._pause(error.after or 1.0)

    def _pause(self, seconds: float) -> None:
        """As long as a server asks, within the deadline."""
        self._sleep(min(seconds, max(0.0, self._timeout - self._watch.elapsed)))

    def _activate(self, snapshot: Snapshot) -> None:
        try:
            self._api.snapshots.activate(snapshot)
        except RemoteFailed as error:
            message = error.message.lower()
            if "already active" in message:
                return
            # For 10 minutes after its deactivation; anything else will not change.
            if "in progress" not in message and error.kind != "conflict":
                raise
            console.warn(f"{error.what}; waiting for it")
            self._sleep(5)
            return
        self._outcome = "activated"

    def _attach(self, snapshot: Snapshot) -> None:
        if self._outcome == "reused":
            self._outcome = "attached"
            console.step(f"{snapshot.name} is being made already: waiting for that build")
        if snapshot.state == "building":
            self._follow(snapshot)

    def _follow(self, snapshot: Snapshot) -> None:
        if snapshot.dockerfile and self._follower is None:  # what is pulled has no log
            console.step(f"its log goes to {self._log}")
            self._follower = BuildLogFollower(self._api, snapshot, file=self._log)
            self._follower.start()

    def _replace(self, snapshot: Snapshot) -> None:
        console.warn(
            f"an earlier {snapshot.name} had failed ({_masked(self._api, snapshot.reason)}):"
            " it is deleted and made anew"
        )
        deletion.delete(self._api, snapshot, sleep=self._sleep)
        self._snapshot = None

    # ── how it can go wrong ─────────────────────────────────────────────────────────────────

    def _fault(self, snapshot: Snapshot) -> BuildFault:
        self._follow(snapshot)  # it may have failed between two looks
        self.end_log()
        reason = _masked(self._api, snapshot.reason) or "no reason given"
        step = ""
        if self._follower is not None:
            step = _masked(self._api, self._follower.failed_step(snapshot.reason))
            if step:
                console.fail(f"failed: {step}")
            for line in self._follower.tail:
                console.say(f"    {line}")
        place = f" at {step}" if step else ""
        log = f"the whole log is in {self._log}; " if self._log.exists() else ""
        return BuildFault(
            f"snapshot {snapshot.name} ended as {snapshot.state}{place}: {reason}",
            step=step,
            reason=reason,
            fix=log
            + (service.advise_on_limit(reason) or "running it again deletes it and builds anew"),
        )

    def _too_late(self) -> TimedOut:
        self.end_log()
        snapshot = self._last_snapshot
        state = f"it is {snapshot.state}, id {snapshot.id}" if snapshot else "it is not there"
        lines = list(self._follower.tail)[-3:] if self._follower else []
        tail = f"; its log ends: {' | '.join(lines)}" if lines else ""
        return TimedOut(
            f"snapshot {self._order.name} was not active within"
            f" {console.seconds(self._timeout)}: {console.printable(state)}{tail}",
            fix=f"it goes on at Daytona; to wait for it again: {self._order.resume_command}",
        )

    def end_log(self) -> None:
        if self._follower is not None:
            self._follower.stop()

    def abandon(self) -> None:
        if self._follower is not None:
            self._follower.abandon()
        snapshot = self._last_snapshot
        if snapshot is None:
            console.warn(f"to go on with it: {self._order.resume_command}")
        elif snapshot.state in UNDER_WAY:
            console.warn(
                f"snapshot {snapshot.name} ({snapshot.id}) goes on at Daytona, which cannot cancel"
                f" it; to wait for it again: {self._order.resume_command}"
            )


def _name_taken(order: SnapshotOrder, snapshot: Snapshot) -> NameTaken:
    obstacle = order.placement.obstacle(snapshot)
    if content.identity_of(snapshot) == order.identity and obstacle:
        return Misplaced(
            f"the name {snapshot.name} is taken: that snapshot {obstacle}",
            fix="choose another --name, or leave it out",
        )
    if content.identity_of(snapshot) == order.identity:
        return NameTaken(
            f"the name {snapshot.name} is taken by an earlier build of the same content",
            fix="choose another --name to build it anew, or leave out --force to use that one",
        )
    return NameTaken(
        f"the name {snapshot.name} is taken by another content: it holds"
        f" {console.printable(content.describe(snapshot))}, not {order.identity}",
        fix="choose another --name, or delete that snapshot first",
    )


def _masked(api: Daytona, text: str) -> str:
    return masking.mask(text, api.credentials.api_key)
