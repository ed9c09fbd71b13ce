"""What to do next about a snapshot, by the state it is in. Pure: nothing here asks Daytona."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from tasks.daytona import content
from tasks.daytona.snapshot import FAILED_STATES, UNDER_WAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.daytona.selection import Placement
    from tasks.daytona.snapshot import Snapshot

NextStep = Literal["create", "reuse", "activate", "attach", "replace", "wait", "refuse"]

_STEPS: Final[Mapping[str, NextStep]] = MappingProxyType(
    {
        "active": "reuse",
        "inactive": "activate",
        **dict.fromkeys(FAILED_STATES, "replace"),
        **dict.fromkeys(UNDER_WAY, "attach"),
    }
)


def next_step(
    snapshot: Snapshot | None,
    *,
    identity: str,
    rebuild: str = "",
    placement: Placement | None = None,
) -> NextStep:
    """What brings the snapshot of that name nearer to `active` with this content. A `rebuild` is
    the id of a forced build, and no other build will do; nor will another `placement`.

    >>> next_step(None, identity="")
    'create'
    """
    if snapshot is None:
        return "create"
    if snapshot.state == "removing":
        return "wait"  # until it is gone: the name is free then, whatever was in it
    if content.identity_of(snapshot) != identity:
        return "refuse"
    if snapshot.state not in FAILED_STATES and placement and placement.obstacle(snapshot):
        return "refuse"
    if rebuild and content.rebuild_of(snapshot) != rebuild:
        return "refuse"
    # The deadline ends the wait for a state that is unknown.
    return _STEPS.get(snapshot.state, "wait")
