"""The work of `snapshots retire`: what was seen at the start is what is taken away, or nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.daytona import retire

if TYPE_CHECKING:
    from tasks.daytona.adapter import Daytona
    from tasks.daytona.gc import Judged
    from tasks.daytona.ledger import Ledger


def in_use(api: Daytona) -> Counter[str]:
    """Snapshot → sandboxes that were made from it."""
    return Counter(sandbox.snapshot for sandbox in api.sandboxes() if sandbox.snapshot)


class Retirement:
    """Of one stage, or of all that is a branch's. `tips`: where its stages are in the ledger."""

    def __init__(
        self, api: Daytona, book: Ledger, *, stage: str | None, branch: str | None
    ) -> None:
        self._api = api
        self._book = book
        self.whose = stage or f"branch {console.printable(branch or '')}"
        current = {name: now for name in book.stages() if (now := book.current(name))}
        self.stages = [stage] if stage else retire.stages_of(branch or "", current)
        self.tips = {name: tip for name in self.stages if (tip := book.tip(name))}
        self._moved_to = {
            move.snapshot
            for name in self.tips
            for move in book.history(name)
            if branch and move.branch == branch
        }

    def judge(self) -> list[Judged]:
        return retire.judge(
            self._api.snapshots(),
            stages=self.stages,
            moved_to=self._moved_to,
            points_at=self._book.points_at(),
            in_use=in_use(self._api),
        )

    def judge_again(self) -> list[Judged]:
        """Right before a deletion. Raises when somebody has published to a stage meanwhile."""
        self._book.refresh()
        for stage in self.stages:
            if self._book.tip(stage) not in {self.tips.get(stage), None}:
                raise _moved(stage)
        return self.judge()

    def drop(self) -> list[str]:
        """The stages go from the ledger, each only if it is where it was."""
        for stage, tip in self.tips.items():
            if self._book.drop(stage, expected=tip):
                console.step(f"{stage} is no stage of the ledger any more ({self._book.place})")
                continue
            self._book.refresh()
            if self._book.tip(stage) is not None:  # else another one did the same
                raise _moved(stage)
        return list(self.tips)


def _moved(stage: str) -> TaskError:
    return TaskError(
        f"{stage} has been published to meanwhile",
        fix="run it again if its branch is to go all the same",
    )
