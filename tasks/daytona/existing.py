"""A snapshot that a person names: is it there, and can it be used?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.base import console, project
from tasks.base.errors import TaskError
from tasks.daytona import content, masking
from tasks.daytona.ensure import SnapshotOrder, ensure_active
from tasks.daytona.selection import Placement
from tasks.daytona.snapshot import FAILED_STATES

if TYPE_CHECKING:
    from tasks.daytona.api import Daytona
    from tasks.daytona.snapshot import Snapshot

#: Seconds to activate a snapshot that Daytona had put aside.
_ACTIVATION: Final = 900.0


def find(api: Daytona, name: str) -> Snapshot:
    """The snapshot of that name, in whatever state. Raises `TaskError` when there is none."""
    snapshot = api.snapshots.find(name)
    if snapshot is None:
        names = [
            s.name for s in api.snapshots.list_all() if content.is_ours(s) and s.state == "active"
        ]
        examples = f"; there are {', '.join(sorted(names)[-3:])}" if names else ""
        raise TaskError(
            f"there is no snapshot {console.printable(name)}{examples}",
            fix="nox -s snapshots -- list shows all of them",
        )
    return snapshot


def require_active(api: Daytona, name: str, *, resume_command: str) -> Snapshot:
    """The snapshot of that name, active, in the region of the account. Raises with what is the
    matter with it.
    """
    snapshot = find(api, name)
    region = api.credentials.target
    if obstacle := Placement(region=region).obstacle(snapshot):
        raise TaskError(
            f"snapshot {snapshot.name} {obstacle}",
            fix=f"set DAYTONA_TARGET to {snapshot.regions[0]}; or nox -s snapshot_daytona publishes"
            f" the same source in {region}",
        )
    return activate(api, snapshot, resume_command=resume_command)


def activate(api: Daytona, snapshot: Snapshot, *, resume_command: str) -> Snapshot:
    """The snapshot, active: one that sleeps is activated, one that is being made is waited for."""
    state = console.printable(snapshot.state)
    if snapshot.state in FAILED_STATES or snapshot.state == "removing":
        reason = masking.mask(snapshot.reason, api.credentials.api_key) or "no reason given"
        raise TaskError(
            f"snapshot {snapshot.name} is {state}: {reason}",
            fix="nox -s snapshot_daytona makes it anew",
        )
    if snapshot.state == "active":
        return snapshot
    identity = content.identity_of(snapshot)
    if identity is None:
        raise TaskError(
            f"snapshot {snapshot.name} is {state}, and this project did not make it",
            fix="activate it in Daytona's dashboard",
        )

    def refuse_creation() -> Snapshot:
        raise TaskError(f"snapshot {snapshot.name} was deleted meanwhile", fix="choose another")

    log = project.new_log("activation")
    order = SnapshotOrder(
        name=snapshot.name,
        identity=identity,
        create=refuse_creation,
        resume_command=resume_command,
    )
    return ensure_active(api, order, log=log, timeout=_ACTIVATION).snapshot
