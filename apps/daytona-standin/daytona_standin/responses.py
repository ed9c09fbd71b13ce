"""Answers in the server's forms; each value is first validated by the SDK's own model."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def validated_response(model: Any, value: dict[str, Any], *, status: int = 200) -> JSONResponse:
    """The answer, once `model` of a client's package accepts it. A failure is our mistake."""
    model.from_json(json.dumps(value))
    return JSONResponse(value, status)


def validated_list_response(model: Any, values: Sequence[dict[str, Any]]) -> JSONResponse:
    for value in values:
        model.from_json(json.dumps(value))
    return JSONResponse(list(values))


def timestamp(moment: float) -> str:
    """ISO 8601 with milliseconds, as the server writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _current_timestamp() -> str:
    return timestamp(datetime.now(UTC).timestamp())


def api_error(
    path: str, status: int, message: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The form of the API's own refusals."""
    body = {
        "path": path,
        "timestamp": _current_timestamp(),
        "statusCode": status,
        "error": HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error",
        "message": message,
    }
    return JSONResponse(body, status, headers=dict(headers or {}))


_TOOLBOX_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    501: "NOT_IMPLEMENTED",
    502: "BAD_GATEWAY",
}


def toolbox_code(status: int) -> str:
    return _TOOLBOX_CODES.get(status, "INTERNAL_SERVER_ERROR")


def toolbox_error(method: str, path: str, status: int, message: str) -> JSONResponse:
    """The form of the proxy and of the daemon in a sandbox."""
    body = {
        "statusCode": status,
        "message": message,
        "code": toolbox_code(status),
        "timestamp": _current_timestamp(),
        "path": path,
        "method": method,
    }
    return JSONResponse(body, status)
