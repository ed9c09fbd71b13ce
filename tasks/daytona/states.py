"""What to do next about a snapshot, by the state it is in. Pure: nothing here asks Daytona."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tasks.daytona import content
from tasks.daytona.snapshot import FAILED, UNDER_WAY

if TYPE_CHECKING:
    from tasks.daytona.snapshot import Snapshot

NextStep = Literal["create", "reuse", "activate", "attach", "replace", "wait", "refuse"]


def next_step(snapshot: Snapshot | None, *, identity: str, rebuild: str = "") -> NextStep:
    """What brings the snapshot of that name nearer to `active` with this content. A `rebuild` is
    the id of a forced build, and no other build will do.

    >>> next_step(None, identity="")
    'create'
    """
    if snapshot is None:
        return "create"
    if snapshot.state == "removing":
        return "wait"  # until it is gone: the name is free then, whatever was in it
    if content.identity_of(snapshot) != identity:
        return "refuse"
    if rebuild and content.rebuild_of(snapshot) != rebuild:
        return "refuse"
    if snapshot.state in FAILED:
        return "replace"
    if snapshot.state in UNDER_WAY:
        return "attach"
    steps: dict[str, NextStep] = {"active": "reuse", "inactive": "activate"}
    return steps.get(snapshot.state, "wait")  # an unknown state: the deadline names it
