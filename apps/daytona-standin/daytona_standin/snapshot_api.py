"""The API's requests about snapshots, and about where their contents are sent to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import daytona_api_client as models
from starlette.responses import Response

from daytona_standin.presentation import snapshot_json
from daytona_standin.records import REGION
from daytona_standin.responses import validated_response
from daytona_standin.strictness import ANY, refuse_unimitated
from daytona_standin.surface import Operation

if TYPE_CHECKING:
    from daytona_standin.object_storage import ObjectStorage
    from daytona_standin.push_registry import PushRegistry
    from daytona_standin.records import SnapshotRecord
    from daytona_standin.snapshot_service import SnapshotService
    from daytona_standin.store import RecordStore
    from daytona_standin.strictness import Imitated
    from daytona_standin.surface import Call

_CREATE: Final[Imitated] = {
    "name": ANY,
    "imageName": ANY,
    "entrypoint": ANY,
    "buildInfo": ANY,
    "cpu": ANY,
    "memory": ANY,
    "disk": ANY,
    "gpu": (0,),
    "gpuType": ([],),
    "regionId": (REGION,),
    "sandboxClass": ("container",),
}
_BUILD_INFO: Final[Imitated] = {"dockerfileContent": ANY, "contextHashes": ANY}


class SnapshotApi:
    """`origin`: of the URLs at which build logs are served."""

    def __init__(self, service: SnapshotService, store: RecordStore, origin: str) -> None:
        self._service = service
        self._store = store
        self._origin = origin

    def operations(self) -> list[Operation]:
        single = "/snapshots/{id}"
        return [
            Operation("POST", "/snapshots", self._create, model=models.CreateSnapshot,
                      fields=_CREATE),
            Operation("GET", "/snapshots", self._list, query={"page": ANY, "limit": ANY}),
            Operation("GET", single, self._get),
            Operation("DELETE", single, self._delete),
            Operation("POST", f"{single}/activate", self._activate),
            Operation("POST", f"{single}/deactivate", self._deactivate),
            Operation("GET", f"{single}/build-logs-url", self._build_log_url),
        ]  # fmt: skip

    def _create(self, call: Call) -> Response:
        build_info = call.body.get("buildInfo") or {}
        refuse_unimitated(build_info, _BUILD_INFO, place="of buildInfo of POST /api/snapshots")
        return _respond(self._service.create(call.body))

    def _list(self, call: Call) -> Response:
        page = call.number("page", 1, low=1)
        limit = call.number("limit", 100, low=1, high=200)
        with self._store.lock:
            records = sorted(self._store.snapshots.values(), key=lambda record: -record.created_at)
            items = [snapshot_json(record) for record in records[(page - 1) * limit :][:limit]]
        value = {
            "items": items,
            "total": len(records),
            "page": page,
            "totalPages": math.ceil(len(records) / limit),
        }
        return validated_response(models.PaginatedSnapshots, value)

    def _get(self, call: Call) -> Response:
        return _respond(self._store.snapshot(call.parameters["id"]))

    def _delete(self, call: Call) -> Response:
        self._service.delete(self._store.snapshot_by_id(call.parameters["id"]))
        return Response()

    def _activate(self, call: Call) -> Response:
        snapshot = self._store.snapshot_by_id(call.parameters["id"])
        return _respond(self._service.activate(snapshot))

    def _deactivate(self, call: Call) -> Response:
        self._service.deactivate(self._store.snapshot_by_id(call.parameters["id"]))
        return Response(status_code=204)

    def _build_log_url(self, call: Call) -> Response:
        snapshot = self._store.snapshot(call.parameters["id"])
        self._service.wait_for_log(snapshot)
        return validated_response(
            models.Url, {"url": f"{self._origin}/snapshots/{snapshot.id}/build-logs"}
        )


class PushAccessApi:
    """Where build contexts are uploaded to, and images pushed to."""

    def __init__(self, storage: ObjectStorage, registry: PushRegistry) -> None:
        self._storage = storage
        self._registry = registry

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/object-storage/push-access", self._storage_access),
            Operation("GET", "/docker-registry/registry-push-access", self._registry_access,
                      query={"regionId": (REGION,)}),
        ]  # fmt: skip

    def _storage_access(self, _call: Call) -> Response:
        return validated_response(models.StorageAccessDto, self._storage.push_access())

    def _registry_access(self, _call: Call) -> Response:
        return validated_response(models.RegistryPushAccessDto, self._registry.push_access())


def _respond(record: SnapshotRecord) -> Response:
    return validated_response(models.SnapshotDto, snapshot_json(record))
