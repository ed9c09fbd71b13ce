"""Which snapshots can go: pure, so that every rule that keeps one can be tested.

Only what is surely ours by name and by content is ever considered, and every doubt keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.daytona import snapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tasks.daytona.snapshot import Snapshot

Verdict = Literal["keep", "delete"]
NEWEST: Final = 5


@dataclass(frozen=True, kw_only=True)
class Judged:
    snapshot: Snapshot
    verdict: Verdict
    reason: str


def judge(
    found: Iterable[Snapshot],
    *,
    points_at: Mapping[str, list[str]],
    in_use: Mapping[str, int],
    newest: int = NEWEST,
    only: Collection[str] | None = None,
    stages: Collection[str] | None = None,
    abandoned: str = "",
) -> list[Judged]:
    """A verdict on each snapshot of ours, the newest first.

    `points_at`: snapshot → stages of the ledger; `in_use`: snapshot name or id → sandboxes. The
    newest `newest` active ones of each stage stay. `only` these stages are considered. A dev stage
    that is not among the ledger's `stages` has none that stay which was made and last used before
    `abandoned`: it was retired while a sandbox ran, or never published to.
    """
    ours = [s for s in found if snapshot.is_ours(s)]
    ours.sort(key=lambda s: (s.created, s.name), reverse=True)
    seen: dict[str, int] = {}
    judged = []
    for one in ours:
        name = snapshot.Name.parse(one.name)
        stage = name.stage if name else ""
        if one.state not in snapshot.FAILED:
            seen[stage] = seen.get(stage, 0) + 1
        verdict, reason = _verdict(
            one,
            stages=points_at.get(one.name, []),
            sandboxes=in_use.get(one.name, 0) + in_use.get(one.id, 0),
            rank=seen.get(stage, 0),
            newest=newest,
            considered=only is None or stage in only,
            abandoned=stages is not None
            and stage.startswith("dev-")
            and stage not in stages
            and max(one.created, one.used) < abandoned,
        )
        judged.append(Judged(snapshot=one, verdict=verdict, reason=reason))
    return judged


def _verdict(
    one: Snapshot,
    *,
    stages: list[str],
    sandboxes: int,
    rank: int,
    newest: int,
    considered: bool,
    abandoned: bool,
) -> tuple[Verdict, str]:
    reasons_to_keep = (
        (bool(stages), "in the ledger: " + ", ".join(stages)),
        (sandboxes > 0, f"{sandboxes} sandbox{'es' if sandboxes > 1 else ''} of it"),
        (one.state in snapshot.UNDER_WAY, "is being made"),
        (one.state == "removing", "is being deleted already"),
        (one.state not in snapshot.KNOWN, "in a state unknown to this program"),
        (not considered, "of another stage"),
    )
    for holds, reason in reasons_to_keep:
        if holds:
            return "keep", reason
    if one.state in snapshot.FAILED:
        return "delete", "failed"
    if abandoned:
        return "delete", "its stage is gone"
    if rank <= newest:
        return "keep", f"number {rank} of the newest {newest}"
    return "delete", f"number {rank}, after the newest {newest}"
