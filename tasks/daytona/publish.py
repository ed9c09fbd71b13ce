"""Bringing a snapshot to `active`, whatever is there already and whatever happens on the way.

One loop asks for the state, does the next step (`snapshot.next_step`), and asks again. It
has no memory that Daytona does not have: ended at any moment and started again, on any machine, it
goes on. Its deadline, its patience and its log are its own; the SDK's waits are not used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console, redaction
from tasks.base.errors import TaskError, TimedOut
from tasks.base.retry import RemoteFailed
from tasks.daytona import snapshot
from tasks.daytona.buildstream import Follower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.daytona.adapter import Daytona
    from tasks.daytona.snapshot import Snapshot

How = Literal["reused", "activated", "attached", "built"]

#: Seconds for all of it; the server's own limit for a build is 60 minutes.
DEADLINE: Final = 3900.0
#: Seconds for a deleted snapshot to be gone (10 or so, usually).
GONE: Final = 120.0
#: Seconds without any answer before a build is given up on; it goes on at Daytona.
_SILENCE: Final = 300.0
_CREATES: Final = 5


class BuildFault(TaskError):
    """Daytona could not build or pull it. `step` is the Dockerfile's step that broke."""

    code = "build-fault"

    def __init__(self, what: str, *, step: str, reason: str, fix: str) -> None:
        super().__init__(what, fix=fix)
        self.step = step
        self.reason = reason


class NameTaken(TaskError):
    """The name belongs to another content."""

    code = "conflict"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`create` sends what is needed and asks Daytona for the snapshot; it may be called again."""

    name: str
    identity: str
    create: Callable[[], Snapshot]
    #: What a person types to go on after an interrupt.
    again: str


@dataclass(frozen=True, kw_only=True)
class Published:
    snapshot: Snapshot
    how: How
    seconds: float
    log: Path | None


class Publisher:
    def __init__(
        self,
        api: Daytona,
        *,
        log: Path,
        timeout: float = DEADLINE,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._api = api
        self._log = log
        self._timeout = timeout
        self._sleep = sleep

    def ensure(self, wanted: Wanted) -> Published:
        """The snapshot of that name and content, active. Raises what stands against it."""
        work = _Work(self._api, wanted, log=self._log, timeout=self._timeout, sleep=self._sleep)
        try:
            return work.run()
        except TaskError:
            work.end_log()
            raise
        except BaseException:
            # Ctrl-C: nothing is waited for, and nothing can be cancelled at Daytona.
            work.abandon()
            raise

    def delete(self, found: Snapshot, *, timeout: float = GONE) -> None:
        delete(self._api, found, timeout=timeout, sleep=self._sleep)


def delete(
    api: Daytona,
    found: Snapshot,
    *,
    timeout: float = GONE,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Delete it and wait until it is gone: a deletion may be slow, or not happen at all."""
    api.delete_snapshot(found)
    deadline = time.monotonic() + timeout
    while True:
        now = api.snapshot(found.id)
        if now is None:
            return
        if time.monotonic() >= deadline:
            raise TimedOut(
                f"snapshot {found.name} ({found.id}) was to be deleted and is still there after"
                f" {console.seconds(timeout)}: {now.state}",
                fix="run it again later, or delete it in Daytona's dashboard",
            )
        sleep(0.5)


class _Work:
    """One call of `ensure`."""

    def __init__(
        self,
        api: Daytona,
        wanted: Wanted,
        *,
        log: Path,
        timeout: float,
        sleep: Callable[[float], object],
    ) -> None:
        self._api = api
        self._wanted = wanted
        self._log = log
        self._timeout = timeout
        self._sleep = sleep
        self._watch = console.Stopwatch()
        self._heard = time.monotonic()
        self._how: How = "reused"
        self._creates = 0
        self._conflicts_since: float | None = None
        self._follower: Follower | None = None
        self._last: Snapshot | None = None
        self._found: Snapshot | None = None
        self._interval = 0.3

    def run(self) -> Published:
        while True:
            if self._look():
                done = self._step()
                if done is not None:
                    self.end_log()
                    return Published(
                        snapshot=done,
                        how=self._how,
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
            found = self._api.snapshot(self._wanted.name)
        except RemoteFailed as error:
            silent = time.monotonic() - self._heard
            if not error.passing or self._last is None or silent > _SILENCE:
                raise
            console.warn(f"{error.what}; the build goes on, asking again")
            return False
        self._heard = time.monotonic()
        if found and (self._found is None or found.state != self._found.state):
            known = "" if found.state in snapshot.KNOWN else ", a state unknown to this program"
            console.step(
                f"{self._watch!s:>6} snapshot {found.name}: {console.printable(found.state)}{known}"
            )
            self._interval = 0.3
        self._found = found
        self._last = found or self._last
        return True

    def _step(self) -> Snapshot | None:
        """Do what comes next; the snapshot when it is as wanted."""
        found = self._found
        step = snapshot.next_step(found, identity=self._wanted.identity)
        if found is None:
            self._create()
            return None
        match step:
            case "reuse":
                return found
            case "refuse":
                raise self._taken(found)
            case "activate":
                self._activate(found)
            case "attach":
                self._attach(found)
            case "replace":
                if self._how in {"built", "attached"}:
                    raise self._fault(found)
                self._replace(found)
            case _:
                pass  # it has to change by itself; the deadline says when that takes too long
        return None

    def _create(self) -> None:
        if self._creates >= _CREATES:
            raise TaskError(
                f"snapshot {self._wanted.name} vanished {self._creates} times while it was made",
                fix="see who deletes it, in Daytona's audit log; then run it again",
            )
        try:
            made = self._wanted.create()
        except RemoteFailed as error:
            self._create_failed(error)
            return
        self._creates += 1
        self._how = "built"
        self._conflicts_since = None
        self._found = self._last = made
        console.step(f"{self._watch!s:>6} snapshot {made.name} is made: {made.state}, {made.id}")

    def _create_failed(self, error: RemoteFailed) -> None:
        """It may have been made all the same: the next look finds it by name and content."""
        if error.kind == "conflict":
            # Somebody was first, or its row lives a little longer than itself: GET says 404.
            now = time.monotonic()
            if self._conflicts_since is None:
                self._conflicts_since = now
                console.warn(f"{error.what}; looking who has it")
            elif now - self._conflicts_since > GONE:
                raise error
            return
        if not error.passing:
            raise error
        self._creates += 1
        if self._creates >= _CREATES:
            raise error
        console.warn(f"{error.what}; looking whether it was made all the same")
        self._sleep(min(error.after or 1.0, 60.0))

    def _activate(self, found: Snapshot) -> None:
        try:
            self._api.activate(found)
        except RemoteFailed as error:
            said = error.message.lower()
            if "already active" in said:
                return
            # For 10 minutes after its deactivation; anything else will not change.
            if "in progress" not in said and error.kind != "conflict":
                raise
            console.warn(f"{error.what}; waiting for it")
            self._sleep(5)
            return
        self._how = "activated"

    def _attach(self, found: Snapshot) -> None:
        if self._how == "reused":
            self._how = "attached"
            console.step(f"{found.name} is being made already: waiting for that one")
        if found.state == "building":
            self._follow(found)

    def _follow(self, found: Snapshot) -> None:
        if found.dockerfile and self._follower is None:  # what is pulled has no log
            console.step(f"its log goes to {self._log}")
            self._follower = Follower(self._api, found, file=self._log)
            self._follower.start()

    def _replace(self, found: Snapshot) -> None:
        console.warn(
            f"an earlier {found.name} had failed: {self._masked(found.reason)}; making it anew"
        )
        delete(self._api, found, sleep=self._sleep)
        self._found = None

    # ── how it can go wrong ─────────────────────────────────────────────────────────────────

    def _taken(self, found: Snapshot) -> NameTaken:
        return NameTaken(
            f"the name {found.name} is taken by another content: it holds"
            f" {console.printable(snapshot.digest_of(found))}, wanted is {self._wanted.identity}",
            fix="choose another --name, or delete that snapshot first",
        )

    def _fault(self, found: Snapshot) -> BuildFault:
        self._follow(found)  # it may have failed between two looks
        self.end_log()
        reason = self._masked(found.reason) or "no reason given"
        step = ""
        if self._follower is not None:
            step = self._masked(self._follower.failed_step(found.reason))
            if step:
                console.fail(f"failed: {step}")
            for line in self._follower.tail:
                console.say(f"    {line}")
        at = f" at {step}" if step else ""
        log = f"the whole log is in {self._log}; " if self._log.exists() else ""
        return BuildFault(
            f"snapshot {found.name} ended as {found.state}{at}: {reason}",
            step=step,
            reason=reason,
            fix=f"{log}running it again deletes it and builds anew",
        )

    def _too_late(self) -> TimedOut:
        self.end_log()
        last = self._last
        state = f"{last.state}, id {last.id}" if last else "not there"
        lines = list(self._follower.tail)[-3:] if self._follower else []
        tail = f"; its log ends: {' | '.join(lines)}" if lines else ""
        return TimedOut(
            f"snapshot {self._wanted.name} was not active within"
            f" {console.seconds(self._timeout)}: {console.printable(state)}{tail}",
            fix=f"it goes on at Daytona; {self._wanted.again} waits for it again",
        )

    def end_log(self) -> None:
        if self._follower is not None:
            self._follower.stop()

    def abandon(self) -> None:
        if self._follower is not None:
            self._follower.abandon()
        if self._last is not None and self._last.state in snapshot.UNDER_WAY:
            console.warn(
                f"snapshot {self._last.name} ({self._last.id}) goes on at Daytona, which cannot"
                f" cancel it; to wait for it again: {self._wanted.again}"
            )

    def _masked(self, text: str) -> str:
        return console.printable(redaction.redact(text, [self._api.credentials.api_key]))
