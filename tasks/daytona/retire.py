"""What goes when a branch goes: pure, so that every rule that keeps something can be tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base.errors import BadInput
from tasks.daytona import snapshot
from tasks.daytona.gc import Judged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tasks.daytona.ledger import Entry
    from tasks.daytona.snapshot import Snapshot


def stages_of(branch: str, current: Mapping[str, Entry]) -> list[str]:
    """The stages that are a branch's: its own, unless that is used for another one by now, and
    any that was moved to it by hand (`stg`). Never production.
    """
    own = snapshot.stage_for_branch(branch)
    found = {stage for stage, entry in current.items() if entry.branch == branch}
    there = current.get(own)
    if there is None or there.branch in {branch, ""}:
        found.add(own)
    return sorted(found - {snapshot.PRODUCTION})


def check_stage(stage: str) -> str:
    """`stage` if it can be retired as a whole; raises `BadInput`."""
    if stage in {snapshot.PRODUCTION, "stg"}:
        raise BadInput(
            f"{stage} is never retired",
            fix="move it: nox -s snapshots -- promote NAME, or rollback; or name a --branch",
        )
    return snapshot.check_stage(stage)


def judge(
    found: Iterable[Snapshot],
    *,
    stages: Collection[str],
    moved_to: Collection[str] = (),
    points_at: Mapping[str, list[str]],
    in_use: Mapping[str, int],
) -> list[Judged]:
    """A verdict on each snapshot of these stages: by its name, where the stage is one developer's
    or branch's own, or because (`moved_to`) the stage was moved to it for the branch.

    `points_at`: snapshot → stages of the ledger, also these; `in_use`: name or id → sandboxes.
    """
    judged = []
    for one in found:
        name = snapshot.Name.parse(one.name)
        if not snapshot.is_ours(one) or name is None:
            continue
        own = name.stage in stages and name.stage.startswith("dev-")
        if not own and one.name not in moved_to:
            continue
        others = [s for s in points_at.get(one.name, []) if s.split(" ")[0] not in stages]
        sandboxes = in_use.get(one.name, 0) + in_use.get(one.id, 0)
        reasons = (
            (bool(others), "in the ledger: " + ", ".join(others)),
            (name.stage == snapshot.PRODUCTION, "made for prd"),
            (sandboxes > 0, f"{sandboxes} sandbox{'es' if sandboxes > 1 else ''} of it"),
            (one.state in snapshot.UNDER_WAY, "is being made"),
            (one.state == "removing", "is being deleted already"),
            (one.state not in snapshot.KNOWN, "in a state unknown to this program"),
        )
        why = next((reason for holds, reason in reasons if holds), "")
        judged.append(
            Judged(
                snapshot=one,
                verdict="keep" if why else "delete",
                reason=why or "its branch's sandbox goes",
            )
        )
    return judged
