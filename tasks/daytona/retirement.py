"""The work of `snapshots retire`: what was seen at the start is what is taken away, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.daytona import retire
from tasks.daytona.cleanup import count_sandboxes

if TYPE_CHECKING:
    from tasks.daytona.api import Daytona
    from tasks.daytona.gc import SnapshotVerdict
    from tasks.daytona.ledger import Ledger


class Retirement:
    """Of one stage, or of all that is a branch's. `tips`: where its stages are in the ledger;
    `subject` names it in messages.
    """

    def __init__(
        self, api: Daytona, ledger: Ledger, *, stage: str | None, branch: str | None
    ) -> None:
        self._api = api
        self._ledger = ledger
        self.subject = stage or f"branch {console.printable(branch or '')}"
        current = {name: entry for name in ledger.stages() if (entry := ledger.current(name))}
        self.stages = [stage] if stage else retire.stages_of(branch or "", current)
        self.tips = {name: tip for name in self.stages if (tip := ledger.tip(name))}
        self._moved_to = {
            entry.snapshot
            for name in self.tips
            for entry in ledger.history(name)
            if branch and entry.branch == branch
        }

    def judge(self) -> list[SnapshotVerdict]:
        return retire.judge(
            self._api.snapshots.list_all(),
            stages=self.stages,
            moved_to=self._moved_to,
            points_at=self._ledger.points_at(),
            in_use=count_sandboxes(self._api),
        )

    def judge_again(self) -> list[SnapshotVerdict]:
        """Right before a deletion. Raises when somebody has published to a stage meanwhile."""
        self._ledger.refresh()
        for stage in self.stages:
            if self._ledger.tip(stage) not in {self.tips.get(stage), None}:
                raise _moved_error(stage)
        return self.judge()

    def drop_stages(self) -> list[str]:
        """The stages go from the ledger, each only if it is where it was."""
        for stage, tip in self.tips.items():
            if self._ledger.drop(stage, expected=tip):
                console.step(f"{stage} is no longer in the ledger ({self._ledger.place})")
                continue
            self._ledger.refresh()
            if self._ledger.tip(stage) is not None:  # else another run did the same
                raise _moved_error(stage)
        return list(self.tips)


def _moved_error(stage: str) -> TaskError:
    return TaskError(
        f"{stage} has been published to meanwhile",
        fix="run it again if its branch is to go all the same",
    )
