"""What goes when a branch goes: pure, so that every rule that keeps something can be tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base.errors import BadInput
from tasks.base.stages import PRODUCTION, check_stage, stage_for_branch
from tasks.daytona import content, gc
from tasks.daytona.gc import SnapshotVerdict
from tasks.daytona.naming import SnapshotName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tasks.daytona.ledger_entry import LedgerEntry
    from tasks.daytona.snapshot import Snapshot


def stages_of(branch: str, current: Mapping[str, LedgerEntry]) -> list[str]:
    """The stages that are a branch's: its own, unless another branch uses that by now, and any
    that was moved to it by hand (`stg`). Never production.
    """
    own_stage = stage_for_branch(branch)
    stages = {stage for stage, entry in current.items() if entry.branch == branch}
    entry = current.get(own_stage)
    if entry is None or entry.branch in {branch, ""}:
        stages.add(own_stage)
    return sorted(stages - {PRODUCTION})


def check_retirable(stage: str) -> str:
    """`stage` if it can be retired as a whole; raises `BadInput`."""
    if stage in {PRODUCTION, "stg"}:
        raise BadInput(
            f"{stage} is never retired",
            fix="move it: nox -s snapshots -- promote NAME, or rollback; or name a --branch",
        )
    return check_stage(stage)


def judge(
    snapshots: Iterable[Snapshot],
    *,
    stages: Collection[str],
    moved_to: Collection[str] = (),
    points_at: Mapping[str, list[str]],
    in_use: Mapping[str, int],
) -> list[SnapshotVerdict]:
    """A verdict on each snapshot of these stages: by its name, where the stage is one developer's
    or branch's own, or because (`moved_to`) the stage was moved to it for the branch.

    `points_at`: snapshot → stages of the ledger, also these; `in_use`: name or id → sandboxes.
    """
    verdicts = []
    for snapshot in snapshots:
        name = SnapshotName.parse(snapshot.name)
        if not content.is_ours(snapshot) or name is None:
            continue
        made_for_stage = name.stage in stages and name.stage.startswith("dev-")
        if not made_for_stage and snapshot.name not in moved_to:
            continue
        pointers = points_at.get(snapshot.name, [])
        reason = gc.reason_to_keep(
            snapshot,
            stages=[pointer for pointer in pointers if pointer.split(" ")[0] not in stages],
            sandboxes=in_use.get(snapshot.name, 0) + in_use.get(snapshot.id, 0),
        )
        if name.stage == PRODUCTION:
            reason = reason or "made for prd"
        verdicts.append(
            SnapshotVerdict(
                snapshot=snapshot,
                verdict="keep" if reason else "delete",
                reason=reason or "its branch's sandbox goes",
            )
        )
    return verdicts
