"""Which snapshots can go: pure, so that every rule that keeps one can be tested.

Only what is surely ours by name and by content is ever considered, and every doubt keeps it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.daytona import content
from tasks.daytona.naming import SnapshotName
from tasks.daytona.snapshot import FAILED_STATES, KNOWN_STATES, UNDER_WAY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tasks.daytona.snapshot import Snapshot

NEWEST: Final = 5


@dataclass(frozen=True, kw_only=True)
class SnapshotVerdict:
    snapshot: Snapshot
    verdict: Literal["keep", "delete"]
    reason: str


def judge(
    snapshots: Iterable[Snapshot],
    *,
    points_at: Mapping[str, list[str]],
    in_use: Mapping[str, int],
    published_in: Mapping[str, Collection[str]],
    newest: int = NEWEST,
    only_stages: Collection[str] | None = None,
) -> list[SnapshotVerdict]:
    """A verdict on each snapshot of ours, the newest first.

    `points_at`: snapshot → stages of the ledger; `in_use`: snapshot name or id → sandboxes;
    `published_in`: stage → regions in which the ledger knows it, "" for an entry without a region.
    The newest `newest` of each stage and region stay. `only_stages`: no others are considered.
    """
    our_snapshots = [snapshot for snapshot in snapshots if content.is_ours(snapshot)]
    our_snapshots.sort(key=lambda snapshot: (snapshot.created_at, snapshot.name), reverse=True)
    ranks: Counter[tuple[str, str]] = Counter()
    verdicts = []
    for snapshot in our_snapshots:
        stage, region = stage_of(snapshot), next(iter(snapshot.regions), "")
        if snapshot.state not in FAILED_STATES:
            ranks[stage, region] += 1
        reason = reason_to_keep(
            snapshot,
            stages=points_at.get(snapshot.name, []),
            sandboxes=in_use.get(snapshot.name, 0) + in_use.get(snapshot.id, 0),
        )
        if not reason and only_stages is not None and stage not in only_stages:
            reason = "of another stage"
        if not reason and snapshot.state not in FAILED_STATES:
            reason = _doubt(stage, region, published_in)
        rank = ranks[stage, region]
        verdicts.append(_verdict(snapshot, reason, rank=rank, newest=newest))
    return verdicts


def _doubt(stage: str, region: str, published_in: Mapping[str, Collection[str]]) -> str:
    """Somebody may publish with a ledger elsewhere, which points at it."""
    regions = published_in.get(stage, ())
    if not regions:
        return f"{stage} has no entry in this ledger"
    if region and not {region, ""} & set(regions):
        return f"{stage} has no entry in this ledger for region {region}"
    return ""


def stage_of(snapshot: Snapshot) -> str:
    """The stage that a snapshot of ours was made for."""
    name = SnapshotName.parse(snapshot.name)
    return name.stage if name else ""


def reason_to_keep(snapshot: Snapshot, *, stages: list[str], sandboxes: int) -> str:
    """Why a snapshot must not be deleted, whatever asks for it; "" when nothing speaks against."""
    reasons = (
        (bool(stages), "in the ledger: " + ", ".join(stages)),
        (sandboxes > 0, f"{sandboxes} sandbox{'es use' if sandboxes > 1 else ' uses'} it"),
        (snapshot.state in UNDER_WAY, "is being made"),
        (snapshot.state == "removing", "is being deleted already"),
        (snapshot.state not in KNOWN_STATES, "in a state unknown to this program"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _verdict(snapshot: Snapshot, reason: str, *, rank: int, newest: int) -> SnapshotVerdict:
    if reason:
        return SnapshotVerdict(snapshot=snapshot, verdict="keep", reason=reason)
    if snapshot.state in FAILED_STATES:
        return SnapshotVerdict(snapshot=snapshot, verdict="delete", reason="failed")
    if rank <= newest:
        reason = f"number {rank} of the newest {newest}"
        return SnapshotVerdict(snapshot=snapshot, verdict="keep", reason=reason)
    reason = f"number {rank}, after the newest {newest}"
    return SnapshotVerdict(snapshot=snapshot, verdict="delete", reason=reason)
