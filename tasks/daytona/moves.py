"""Letting a stage use another snapshot that is there already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.base.errors import TaskError
from tasks.daytona import content, existing
from tasks.daytona.ledger_entry import new_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.daytona.api import Daytona
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.ledger_entry import LedgerEntry
    from tasks.daytona.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class StageMove:
    """`replaced_entry` is what the stage used; `is_change` is False when that was the same."""

    stage: str
    entry: LedgerEntry
    replaced_entry: LedgerEntry | None
    is_change: bool

    def record(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "snapshot_name": self.entry.snapshot,
            "sha": self.entry.sha,
            "previous": self.replaced_entry.snapshot if self.replaced_entry else None,
            "moved": self.is_change,
        }


def promote(
    api: Daytona,
    ledger: Ledger,
    *,
    stage: str,
    name: str,
    commit_in: Callable[[Snapshot], str],
) -> StageMove:
    """`commit_in` verifies a snapshot that was never verified, and says which commit it holds."""
    snapshot = existing.find(api, name)
    if not content.is_ours(snapshot):
        raise TaskError(
            f"this project did not make snapshot {snapshot.name}",
            fix="promote one that nox -s snapshots -- list shows",
        )
    current = ledger.current(stage)
    snapshot = _activate(api, snapshot.name)
    earlier_move = ledger.find_move(snapshot.name)
    entry = new_entry(
        snapshot=snapshot.name,
        sha=earlier_move.sha if earlier_move else commit_in(snapshot),
        identity=content.identity_of(snapshot) or "",
        reason="promote",
    )
    return _move(ledger, stage, entry, current)


def rollback(api: Daytona, ledger: Ledger, *, stage: str) -> StageMove:
    current, previous = ledger.current(stage), ledger.previous(stage)
    if current is None or previous is None:
        raise TaskError(
            f"{stage} has no earlier snapshot to go back to",
            fix="nox -s snapshots -- list shows what could be promoted",
        )
    _activate(api, previous.snapshot)
    entry = new_entry(
        snapshot=previous.snapshot,
        sha=previous.sha,
        identity=previous.identity,
        reason="rollback",
    )
    return _move(ledger, stage, entry, current)


def _activate(api: Daytona, name: str) -> Snapshot:
    return existing.require_active(api, name, resume_command="the same command")


def _move(ledger: Ledger, stage: str, entry: LedgerEntry, current: LedgerEntry | None) -> StageMove:
    is_change = ledger.move(stage, entry, expected=current)
    return StageMove(stage=stage, entry=entry, replaced_entry=current, is_change=is_change)
