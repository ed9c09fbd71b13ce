"""Records as the JSON that the SDK expects; each reply is checked against its own models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import daytona_api_client
import daytona_api_client.models
import daytona_toolbox_api_client
import daytona_toolbox_api_client.models
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from tasks.standin.states import Sandbox, Snapshot

ORGANIZATION = "11111111-2222-4333-8444-555555555555"


def checked(model: str, value: dict[str, Any], *, toolbox: bool = False) -> JSONResponse:
    """The reply, once the SDK's own model has taken it. What it would refuse is our mistake."""
    _check(daytona_toolbox_api_client if toolbox else daytona_api_client, model, value)
    return JSONResponse(value)


def _check(package: ModuleType, model: str, value: dict[str, Any]) -> None:
    getattr(package.models, model).from_json(json.dumps(value))


def when(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def error(
    path: str, status: int, message: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    body = {
        "path": path,
        "timestamp": when(datetime.now(UTC).timestamp()),
        "statusCode": status,
        "error": _PHRASES.get(status, "Error"),
        "message": message,
    }
    return JSONResponse(body, status, headers=dict(headers or {}))


def toolbox_error(method: str, path: str, status: int, message: str, code: str) -> JSONResponse:
    """The daemon's and the proxy's form."""
    body = {
        "statusCode": status,
        "message": message,
        "code": code,
        "timestamp": when(datetime.now(UTC).timestamp()),
        "path": path,
        "method": method,
    }
    return JSONResponse(body, status)


_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def number(value: float) -> float:
    """Whole numbers without a point: the SDK's integers are strict."""
    return int(value) if value == int(value) else value


def snapshot(record: Snapshot) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": record.id,
        "organizationId": ORGANIZATION,
        "general": False,
        "name": record.name,
        "state": record.state,
        "size": record.size,
        "entrypoint": record.entrypoint,
        "cpu": number(record.cpu),
        "gpu": number(record.gpu),
        "mem": number(record.memory),
        "disk": number(record.disk),
        "errorReason": record.error,
        "createdAt": when(record.created),
        "updatedAt": when(record.updated),
        "lastUsedAt": when(record.used),
        "regionIds": [record.region],
        "initialRunnerId": "stand-in",
        "sourceSandboxId": None,
        "sandboxClass": "container",
    }
    if record.ref:
        value["ref"] = record.ref
    if record.image_name:
        value["imageName"] = record.image_name
    if record.built:
        value["buildInfo"] = {
            "dockerfileContent": record.dockerfile,
            "contextHashes": record.context_hashes,
            "createdAt": when(record.created),
            "updatedAt": when(record.updated),
            "snapshotRef": record.ref,
        }
    return value


def sandbox(
    record: Sandbox, *, toolbox: str, minute: float, listed: bool = False
) -> dict[str, Any]:
    wanted = {
        "stopping": "stopped",
        "stopped": "stopped",
        "destroying": "destroyed",
        "destroyed": "destroyed",
    }
    value: dict[str, Any] = {
        "id": record.id,
        "organizationId": ORGANIZATION,
        "name": record.name,
        "snapshot": record.snapshot.name,
        "user": record.user,
        "env": record.env,
        "labels": record.labels,
        "public": record.public,
        "networkBlockAll": False,
        "kvm": False,
        "target": record.target,
        "cpu": int(record.snapshot.cpu),
        "gpu": int(record.snapshot.gpu),
        "memory": int(record.snapshot.memory),
        "disk": int(record.snapshot.disk),
        "state": record.state,
        "desiredState": wanted.get(record.state, "started"),
        "autoStopInterval": number(record.auto_stop),
        "autoArchiveInterval": number(record.auto_archive),
        "autoDeleteInterval": number(record.auto_delete),
        "volumes": [],
        "createdAt": when(record.created),
        "updatedAt": when(record.updated),
        "lastActivityAt": when(record.active),
        "sandboxClass": "container",
        "runnerId": "stand-in",
        "toolboxProxyUrl": toolbox,
    }
    if record.error:
        value |= {"errorReason": record.error, "recoverable": False}
    if record.ttl > 0:
        value["autoDestroyAt"] = when(record.created + record.ttl * minute)
    if listed:
        del value["env"], value["kvm"]
        _check(daytona_api_client, "SandboxListItem", value)
    return value
