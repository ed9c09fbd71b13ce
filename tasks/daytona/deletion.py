"""Deleting a snapshot, and waiting until it is gone: a deletion may be slow, or not happen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.daytona.api import Daytona
    from tasks.daytona.snapshot import Snapshot

#: Seconds until a deleted snapshot must be gone (it usually takes about 10).
DELETION_TIMEOUT: Final = 120.0


def delete(
    api: Daytona,
    snapshot: Snapshot,
    *,
    timeout: float = DELETION_TIMEOUT,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Raises `TimedOut` when it is still there after `timeout` seconds."""
    api.snapshots.delete(snapshot)
    deadline = time.monotonic() + timeout
    while True:
        current = api.snapshots.find(snapshot.id)
        if current is None:
            return
        if time.monotonic() >= deadline:
            raise TimedOut(
                f"snapshot {snapshot.name} ({snapshot.id}) was to be deleted, but is still there"
                f" after {console.seconds(timeout)}: {current.state}",
                fix="run it again later, or delete it in Daytona's dashboard",
            )
        sleep(0.5)
