"""Deleting the snapshots that can go, one by one, each judged again right before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.daytona import deletion, gc

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tasks.daytona.api import Daytona
    from tasks.daytona.gc import SnapshotVerdict
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Cleanup:
    """`failures`: name → why it could not be deleted."""

    verdicts: Sequence[SnapshotVerdict]
    deleted_names: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def doomed(self) -> list[Snapshot]:
        return [v.snapshot for v in self.verdicts if v.verdict == "delete"]

    @property
    def kept_count(self) -> int:
        return len(self.verdicts) - len(self.doomed)

    def record(self) -> dict[str, object]:
        return {
            "deleted": self.deleted_names,
            "failed": self.failures,
            "snapshots": [
                {"name": v.snapshot.name, "verdict": v.verdict, "reason": v.reason}
                for v in self.verdicts
            ],
        }


def judge(
    api: Daytona, ledger: Ledger, *, newest: int, only_stages: Collection[str] | None
) -> list[SnapshotVerdict]:
    """What `gc.judge` says, as things stand at this moment."""
    ledger.refresh()
    return gc.judge(
        api.snapshots.list_all(),
        points_at=ledger.points_at(),
        in_use=count_sandboxes(api),
        published_in=ledger.published_in(),
        newest=newest,
        only_stages=only_stages,
    )


def count_sandboxes(api: Daytona) -> Counter[str]:
    """Snapshot → sandboxes that were made from it."""
    return Counter(sandbox.snapshot for sandbox in api.sandboxes.list_all() if sandbox.snapshot)


def delete_doomed(
    api: Daytona,
    verdicts: Sequence[SnapshotVerdict],
    *,
    judge_again: Callable[[], Sequence[SnapshotVerdict]],
) -> Cleanup:
    """`judge_again` is asked before each deletion: a stage or a sandbox may use it by then."""
    cleanup = Cleanup(verdicts=verdicts)
    for snapshot in cleanup.doomed:
        doomed_now = {v.snapshot.id for v in judge_again() if v.verdict == "delete"}
        if snapshot.id not in doomed_now:
            console.warn(f"{snapshot.name} is needed again, or gone: left alone")
            if api.snapshots.find(snapshot.id) is None:
                cleanup.deleted_names.append(snapshot.name)
            continue
        try:
            deletion.delete(api, snapshot)
        except TaskError as error:
            console.fail(str(error))
            cleanup.failures[snapshot.name] = error.what
            continue
        console.step(f"deleted {snapshot.name}")
        cleanup.deleted_names.append(snapshot.name)
    return cleanup
