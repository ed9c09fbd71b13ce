"""Daytona's API on the wire: routes under /api, and the stand-in's own under /_stand-in."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import secrets
import time
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tasks.standin import rules, wire
from tasks.standin.faults import Fault
from tasks.standin.rules import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from tasks.standin.service import StandIn
    from tasks.standin.states import Sandbox, Snapshot

    Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    def __init__(self, standin: StandIn) -> None:
        self._s = standin

    def routes(self) -> list[Route]:
        s, b = "/api/snapshots", "/api/sandbox"
        table: list[tuple[str, str, Callable[[Request, Any], Response]]] = [
            ("GET", "/api/object-storage/push-access", self._storage_access),
            ("GET", "/api/docker-registry/registry-push-access", self._registry_access),
            ("POST", s, self._create_snapshot),
            ("GET", s, self._list_snapshots),
            ("POST", s + "/{id}/activate", self._activate),
            ("POST", s + "/{id}/deactivate", self._deactivate),
            ("GET", s + "/{id}/build-logs-url", self._logs_url),
            ("DELETE", s + "/{id}", self._delete_snapshot),
            ("GET", s + "/{id:path}", self._get_snapshot),
            ("POST", b, self._create_sandbox),
            ("GET", b, self._list_sandboxes),
            ("GET", b + "/{id}/ports/{port:int}/preview-url", self._preview),
            ("GET", b + "/{id}/ports/{port:int}/signed-preview-url", self._signed),
            ("GET", b + "/{id}/toolbox-proxy-url", self._toolbox_url),
            ("POST", b + "/{id}/start", self._start),
            ("POST", b + "/{id}/stop", self._stop),
            ("PUT", b + "/{id}/labels", self._labels),
            ("POST", b + "/{id}/public/{value}", self._public),
            ("POST", b + "/{id}/last-activity", self._activity),
            ("POST", b + "/{id}/{interval}/{value}", self._interval),
            ("DELETE", b + "/{id}", self._delete_sandbox),
            ("GET", b + "/{id}", self._get_sandbox),
            ("GET", "/_stand-in/state", self._state),
            ("GET", "/_stand-in/faults", self._faults),
            ("POST", "/_stand-in/faults", self._add_fault),
            ("DELETE", "/_stand-in/faults", self._clear_faults),
        ]
        routes = [Route(path, self._guarded(do), methods=[verb]) for verb, path, do in table]
        return [*routes, Route("/snapshots/{id}/build-logs", self._logs)]

    def _guarded(self, do: Callable[[Request, Any], Response]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            try:
                self.authenticate(request)
                body = await _body(request)
                return await run_in_threadpool(do, request, body)
            except Refused as refused:
                path = request.url.path
                return wire.error(path, refused.status, refused.message, headers=refused.headers)

        return endpoint

    def authenticate(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {self._s.key}".encode()):
            raise Refused(401, "Invalid credentials")

    # ── uploads ─────────────────────────────────────────────────────────────────────────────

    def _storage_access(self, _request: Request, _body: Any) -> Response:
        return wire.checked("StorageAccessDto", self._s.storage.push_access())

    def _registry_access(self, _request: Request, _body: Any) -> Response:
        return wire.checked("RegistryPushAccessDto", self._s.registry.push_access())

    # ── snapshots ───────────────────────────────────────────────────────────────────────────

    def _create_snapshot(self, _request: Request, body: Any) -> Response:
        return _snapshot(self._s.snapshots.create(body))

    def _list_snapshots(self, request: Request, _body: Any) -> Response:
        page = _number(request, "page", 1, low=1)
        limit = _number(request, "limit", 100, low=1, high=200)
        with self._s.store.lock:
            every = sorted(self._s.store.snapshots.values(), key=lambda s: -s.created)
            items = [wire.snapshot(s) for s in every[(page - 1) * limit : page * limit]]
        value = {
            "items": items,
            "total": len(every),
            "page": page,
            "totalPages": math.ceil(len(every) / limit),
        }
        return wire.checked("PaginatedSnapshots", value)

    def _get_snapshot(self, request: Request, _body: Any) -> Response:
        return _snapshot(self._s.store.snapshot(request.path_params["id"]))

    def _delete_snapshot(self, request: Request, _body: Any) -> Response:
        self._s.snapshots.delete(self._s.store.snapshot_by_id(request.path_params["id"]))
        return Response()

    def _activate(self, request: Request, _body: Any) -> Response:
        snapshot = self._s.store.snapshot_by_id(request.path_params["id"])
        return _snapshot(self._s.snapshots.activate(snapshot))

    def _deactivate(self, request: Request, _body: Any) -> Response:
        self._s.snapshots.deactivate(self._s.store.snapshot_by_id(request.path_params["id"]))
        return Response(status_code=204)

    def _logs_url(self, request: Request, _body: Any) -> Response:
        snapshot = self._s.store.snapshot(request.path_params["id"])
        self._s.snapshots.wait_for_log(snapshot)
        return wire.checked("Url", {"url": f"{self._s.origin}/snapshots/{snapshot.id}/build-logs"})

    async def _logs(self, request: Request) -> Response:
        path = request.url.path
        try:
            self.authenticate(request)
            snapshot = self._s.store.snapshot(request.path_params["id"])
            ref = await run_in_threadpool(self._s.snapshots.wait_for_log, snapshot)
        except Refused as refused:
            code = {401: "UNAUTHORIZED", 404: "NOT_FOUND"}.get(refused.status, "ERROR")
            return wire.toolbox_error("GET", path, refused.status, refused.message, code)
        follow = request.query_params.get("follow") == "true"
        stuck = self._s.faults.strike("log-stuck", snapshot.name) is not None
        cut = self._s.faults.strike("log-cut", snapshot.name)
        stream = self._stream(snapshot, ref, follow=follow, stuck=stuck)
        return StreamingResponse(
            _cut(stream, cut.count) if cut else stream, media_type="application/octet-stream"
        )

    async def _stream(
        self, snapshot: Snapshot, ref: str, *, follow: bool, stuck: bool
    ) -> AsyncIterator[bytes]:
        """What the log holds and gets. After a failed build it never ends, as at Daytona."""
        log, offset = self._s.runner.log(ref), 0
        while not self._s.ending:
            there = snapshot.state in {"active", "inactive"}
            if not stuck and log.exists():
                with log.open("rb") as file:
                    file.seek(offset)
                    text = file.read(1 << 16)
                offset += len(text)
                if text:
                    yield text
                    continue
            if not follow:
                return
            if there and not stuck:
                await asyncio.sleep(1)
                return
            await asyncio.sleep(0.1)

    # ── sandboxes ───────────────────────────────────────────────────────────────────────────

    def _create_sandbox(self, _request: Request, body: Any) -> Response:
        return self._sandbox(self._s.sandboxes.create(body))

    def _list_sandboxes(self, request: Request, _body: Any) -> Response:
        query = request.query_params
        try:
            wanted = json.loads(query.get("labels") or "{}")
            offset = int(base64.b64decode(query.get("cursor") or "").decode() or 0)
        except ValueError:
            raise Refused(400, "Invalid labels JSON format") from None
        if not isinstance(wanted, dict):
            raise Refused(400, "Invalid labels JSON format")
        limit = _number(request, "limit", 100, low=1, high=200)
        with self._s.store.lock:
            found = [
                s
                for s in self._s.store.sandboxes.values()
                if s.state not in {"destroying", "destroyed"}
                and rules.matches(s.labels, wanted)
                and s.name.startswith(query.get("name") or "")
                and s.id.startswith(query.get("id") or "")
                and s.state in (query.getlist("states") or [s.state])
            ]
        found.sort(key=lambda s: -s.active)
        shown = found[offset : offset + limit]
        more = offset + limit < len(found)
        cursor = base64.b64encode(str(offset + limit).encode()).decode() if more else None
        value = {"items": [self._json(s, listed=True) for s in shown], "nextCursor": cursor}
        return wire.checked("ListSandboxesResponse", value)

    def _get_sandbox(self, request: Request, _body: Any) -> Response:
        return self._sandbox(self._find(request))

    def _delete_sandbox(self, request: Request, _body: Any) -> Response:
        return self._sandbox(self._s.sandboxes.delete(self._find(request)))

    def _start(self, request: Request, _body: Any) -> Response:
        return self._sandbox(self._s.sandboxes.start(self._find(request)))

    def _stop(self, request: Request, _body: Any) -> Response:
        force = request.query_params.get("force") == "true"
        return self._sandbox(self._s.sandboxes.stop(self._find(request), force=force))

    def _labels(self, request: Request, body: Any) -> Response:
        sandbox = self._find(request)
        labels = body.get("labels")
        if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
            raise Refused(400, "labels must be an object of strings")
        with self._s.store.lock:
            sandbox.labels = dict(labels)
        return wire.checked("SandboxLabels", {"labels": sandbox.labels})

    def _public(self, request: Request, _body: Any) -> Response:
        sandbox = self._find(request)
        sandbox.public = request.path_params["value"] == "true"
        return self._sandbox(sandbox)

    def _activity(self, request: Request, _body: Any) -> Response:
        self._find(request).active = time.time()
        return Response()

    def _interval(self, request: Request, _body: Any) -> Response:
        names = {"autostop": "auto_stop", "autodelete": "auto_delete", "ttl": "ttl"}
        names["autoarchive"] = "auto_archive"
        sandbox = self._find(request)
        try:
            attribute = names[request.path_params["interval"]]
            setattr(sandbox, attribute, float(request.path_params["value"]))
        except KeyError:
            raise Refused(404, f"Cannot POST {request.url.path}") from None
        except ValueError:
            raise Refused(400, "Validation failed (numeric string is expected)") from None
        return self._sandbox(sandbox)

    def _preview(self, request: Request, _body: Any) -> Response:
        sandbox, port = self._find(request), request.path_params["port"]
        url = self._s.preview_url(f"{port}-{sandbox.id}")
        value = {"sandboxId": sandbox.id, "url": url, "token": sandbox.token}
        return wire.checked("PortPreviewUrl", value)

    def _signed(self, request: Request, _body: Any) -> Response:
        sandbox, port = self._find(request), request.path_params["port"]
        seconds = _number(request, "expiresInSeconds", 60, low=1, high=86400)
        token = self._s.previews.sign(sandbox, port, seconds)
        value = {
            "sandboxId": sandbox.id,
            "port": port,
            "token": token,
            "url": self._s.preview_url(f"{port}-{token}"),
        }
        return wire.checked("SignedPortPreviewUrl", value)

    def _toolbox_url(self, request: Request, _body: Any) -> Response:
        self._find(request)
        return wire.checked("ToolboxProxyUrl", {"url": self._s.toolbox_url})

    def _find(self, request: Request) -> Sandbox:
        return self._s.store.sandbox(request.path_params["id"])

    def _json(self, sandbox: Sandbox, *, listed: bool = False) -> dict[str, Any]:
        minute = self._s.settings.minute
        return wire.sandbox(sandbox, toolbox=self._s.toolbox_url, minute=minute, listed=listed)

    def _sandbox(self, sandbox: Sandbox) -> Response:
        return wire.checked("Sandbox", self._json(sandbox))

    # ── the stand-in's own ──────────────────────────────────────────────────────────────────

    def _state(self, _request: Request, _body: Any) -> Response:
        return JSONResponse(self._s.state())

    def _faults(self, _request: Request, _body: Any) -> Response:
        return JSONResponse(self._s.faults.listed())

    def _add_fault(self, _request: Request, body: Any) -> Response:
        self._s.inject(Fault.from_json(body))
        return JSONResponse(self._s.faults.listed())

    def _clear_faults(self, _request: Request, _body: Any) -> Response:
        self._s.clear_faults()
        return Response(status_code=204)


def _snapshot(record: Snapshot) -> Response:
    return wire.checked("SnapshotDto", wire.snapshot(record))


async def _body(request: Request) -> Any:
    raw = await request.body()
    if not raw:
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        raise Refused(400, "Unexpected token in JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "an object is expected")
    return value


def _number(request: Request, name: str, default: int, *, low: int, high: int = 1 << 31) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = int(float(text))
    except ValueError:
        raise Refused(400, f"{name} must be a number") from None
    if not low <= value <= high:
        raise Refused(400, f"{name} must be between {low} and {high}")
    return value


async def _cut(stream: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """So many bytes, then the connection breaks: an error tells uvicorn to close it."""
    async for chunk in stream:
        yield chunk[:count]
        count -= len(chunk)
        if count <= 0:
            raise ConnectionResetError("log-cut")
