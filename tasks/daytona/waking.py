"""Keeping awake what the stages use: Daytona puts aside what nobody has used for 14 days, and no
sandbox starts of that until it is activated.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.daytona import existing, history

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tasks.daytona.api import Daytona
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.ledger_entry import LedgerEntry
    from tasks.daytona.snapshot import Snapshot

#: Seconds without use after which one is used, half of what Daytona waits.
_IDLE: Final = 7 * 86400.0

Wakefulness = Literal["awake", "activated", "used", "failed"]


@dataclass(frozen=True, kw_only=True)
class WakeResult:
    """What became of a stage's current snapshot; `problem` is "" unless that failed."""

    stage: str
    snapshot: str
    outcome: Wakefulness
    problem: str = ""

    def record(self) -> dict[str, str]:
        return {
            "stage": self.stage,
            "snapshot_name": self.snapshot,
            "outcome": self.outcome,
            "problem": self.problem,
        }


def wake(
    api: Daytona,
    ledger: Ledger,
    *,
    only_stages: Collection[str] | None,
    use: Callable[[Snapshot], object],
) -> list[WakeResult]:
    """`use` starts a sandbox of a snapshot, which Daytona then counts as used."""
    results = []
    for stage in ledger.stages():
        if only_stages is not None and stage not in only_stages:
            continue
        entries = ledger.history(stage)
        names: set[str] = set()
        for region in history.regions(entries):
            own_entries = [entry for entry in entries if entry.region == region]
            if own_entries and own_entries[0].snapshot not in names:
                names.add(own_entries[0].snapshot)
                results.append(_wake(api, stage, own_entries[0], use))
    return results


def _wake(
    api: Daytona, stage: str, entry: LedgerEntry, use: Callable[[Snapshot], object]
) -> WakeResult:
    outcome: Wakefulness = "awake"
    problem = ""
    try:
        snapshot = existing.find(api, entry.snapshot)
        if snapshot.state != "active":
            existing.activate(api, snapshot, resume_command="the same command")
            outcome = "activated"
        elif is_idle(snapshot) and entry.region in {"", api.credentials.target or entry.region}:
            use(snapshot)
            outcome = "used"
    except TaskError as error:
        outcome, problem = "failed", str(error)
        console.fail(f"{stage}: {problem}")
    else:
        console.step(f"{stage}: {console.printable(entry.snapshot)} is {outcome}")
    return WakeResult(stage=stage, snapshot=entry.snapshot, outcome=outcome, problem=problem)


def is_idle(snapshot: Snapshot) -> bool:
    """Whether nobody has used it for a week. Times are in UTC, and compare as texts."""
    week_ago = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - _IDLE))
    return max(snapshot.created_at, snapshot.used_at) < week_ago
