"""Letting a stage use another snapshot that is there already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.daytona import content, existing, history, provenance
from tasks.daytona.ledger_entry import new_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks import git
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
    repo: git.Repo,
    commit_in: Callable[[Snapshot], str],
) -> StageMove:
    """`commit_in` verifies a snapshot that was never verified in this region, and says which
    commit it holds. `repo` tells whether the stage moves back.
    """
    earlier_entries = ledger.history(stage)
    snapshot = existing.find(api, name)
    if not content.is_ours(snapshot):
        raise TaskError(
            f"this project did not make snapshot {snapshot.name}",
            fix="promote one that nox -s snapshots -- list shows",
        )
    snapshot = existing.require_active(api, name, resume_command="the same command")
    region = api.credentials.target or next(iter(snapshot.regions), "")
    current = next(iter(history.in_region(earlier_entries, region)), None)
    earlier_move = ledger.find_move(snapshot.name, region)
    entry = new_entry(
        snapshot=snapshot.name,
        sha=earlier_move.sha if earlier_move else commit_in(snapshot),
        identity=content.identity_of(snapshot) or "",
        reason="promote",
        branch=earlier_move.branch if earlier_move else "",
        region=region,
    )
    remarks = [provenance.absence_remark(repo, stage, entry.sha)]
    if current:
        remarks.append(provenance.backward_remark(repo, stage, current, entry.sha))
    for remark in filter(None, remarks):
        console.warn(remark)
    return _move(ledger, stage, entry, current)


def rollback(api: Daytona, ledger: Ledger, *, stage: str) -> StageMove:
    """Back to the last snapshot before the current one that is still there."""
    entries = history.in_region(ledger.history(stage), api.credentials.target or "")
    region = api.credentials.target or (entries[0].region if entries else "")
    positions = history.positions(history.in_region(entries, region))
    for entry in positions[1:]:
        if api.snapshots.find(entry.snapshot) is None:
            console.warn(f"{entry.describe()} is not there any more: going further back")
            continue
        existing.require_active(api, entry.snapshot, resume_command="the same command")
        rollback_entry = new_entry(
            snapshot=entry.snapshot,
            sha=entry.sha,
            identity=entry.identity,
            reason="rollback",
            branch=entry.branch,
            region=region,
        )
        return _move(ledger, stage, rollback_entry, positions[0])
    raise TaskError(
        f"{stage} has no earlier snapshot to go back to",
        fix="nox -s snapshots -- list shows what could be promoted",
    )


def _move(ledger: Ledger, stage: str, entry: LedgerEntry, current: LedgerEntry | None) -> StageMove:
    is_change = ledger.move(stage, entry, expected=current)
    return StageMove(stage=stage, entry=entry, replaced_entry=current, is_change=is_change)
