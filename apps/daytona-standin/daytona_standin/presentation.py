"""Records as the JSON that the API shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from daytona_standin.records import REGION
from daytona_standin.responses import timestamp

if TYPE_CHECKING:
    from daytona_standin.records import SandboxRecord, SnapshotRecord

ORGANIZATION: Final = "11111111-2222-4333-8444-555555555555"
_RUNNER: Final = "stand-in"
#: Minutes until a stopped sandbox would be archived, Daytona's default. Nothing is archived here.
_AUTO_ARCHIVE: Final = 7 * 24 * 60


def snapshot_json(record: SnapshotRecord) -> dict[str, Any]:
    """A `SnapshotDto`."""
    value: dict[str, Any] = {
        "id": record.id,
        "organizationId": ORGANIZATION,
        "general": False,
        "name": record.name,
        "state": record.state,
        "size": record.size_gb,
        "entrypoint": record.entrypoint,
        "cpu": record.cpu,
        "gpu": 0,
        "mem": record.memory_gb,
        "disk": record.disk_gb,
        "errorReason": record.error,
        "createdAt": timestamp(record.created_at),
        "updatedAt": timestamp(record.updated_at),
        "lastUsedAt": None if record.last_used is None else timestamp(record.last_used),
        "regionIds": [REGION],
        "initialRunnerId": _RUNNER,
        "sourceSandboxId": None,
        "sandboxClass": "container",
    }
    if record.ref:
        value["ref"] = record.ref
    if record.image_name:
        value["imageName"] = record.image_name
    if record.is_built:
        value["buildInfo"] = {
            "dockerfileContent": record.dockerfile,
            "contextHashes": record.context_hashes,
            "createdAt": timestamp(record.created_at),
            "updatedAt": timestamp(record.updated_at),
            "snapshotRef": record.ref,
        }
    return value


def sandbox_list_item(
    record: SandboxRecord, *, toolbox_url: str, minute_seconds: float
) -> dict[str, Any]:
    """A `SandboxListItem`."""
    value: dict[str, Any] = {
        "id": record.id,
        "organizationId": ORGANIZATION,
        "name": record.name,
        "snapshot": record.snapshot.name,
        "user": record.user,
        "labels": record.labels,
        "public": record.public,
        "networkBlockAll": False,
        "target": REGION,
        "cpu": record.snapshot.cpu,
        "gpu": 0,
        "memory": record.snapshot.memory_gb,
        "disk": record.snapshot.disk_gb,
        "state": record.state,
        "desiredState": _desired_state(record),
        "autoStopInterval": record.auto_stop,
        "autoArchiveInterval": _AUTO_ARCHIVE,
        "autoDeleteInterval": record.auto_delete,
        "createdAt": timestamp(record.created_at),
        "updatedAt": timestamp(record.updated_at),
        "lastActivityAt": timestamp(record.last_active),
        "sandboxClass": "container",
        "runnerId": _RUNNER,
        "toolboxProxyUrl": toolbox_url,
    }
    if record.error:
        value |= {"errorReason": record.error, "recoverable": False}
    if record.time_to_live > 0:
        end = record.created_at + record.time_to_live * minute_seconds
        value["autoDestroyAt"] = timestamp(end)
    return value


def sandbox_json(
    record: SandboxRecord, *, toolbox_url: str, minute_seconds: float
) -> dict[str, Any]:
    """A `Sandbox`: a list item and what only the whole record has."""
    item = sandbox_list_item(record, toolbox_url=toolbox_url, minute_seconds=minute_seconds)
    return {**item, "env": record.env, "kvm": False, "volumes": []}


def _desired_state(record: SandboxRecord) -> str:
    if record.is_deleted:
        return "destroyed"
    return "stopped" if record.state in {"stopping", "stopped"} else "started"
