"""The stand-in's own interface, below /_stand-in: faults, settings, states, what there is.

docs/stand-in.md describes it; a unit test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from daytona_standin.errors import ApiRefusal
from daytona_standin.faults import STORAGE_KINDS, InjectedFault
from daytona_standin.strictness import ANY
from daytona_standin.surface import Operation, read_json

if TYPE_CHECKING:
    from daytona_standin.faults import FaultBook
    from daytona_standin.front_door import RequestLog
    from daytona_standin.inventory import Inventory
    from daytona_standin.object_storage import ObjectStorage
    from daytona_standin.settings import StandInSettings
    from daytona_standin.store import RecordStore
    from daytona_standin.surface import Call


class FaultControlApi:
    """Faults of the stand-in and of its object storage, in one list."""

    def __init__(self, faults: FaultBook, storage: ObjectStorage) -> None:
        self._faults = faults
        self._storage = storage

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/faults", self._list),
            Operation("POST", "/faults", self._inject, read_body=read_json),
            Operation("DELETE", "/faults", self._clear),
        ]

    def _list(self, _call: Call) -> Response:
        return JSONResponse([*self._faults.to_json(), *self._storage.faults()])

    def _inject(self, call: Call) -> Response:
        fault = InjectedFault.from_json(call.body)
        if fault.kind in STORAGE_KINDS:
            self._storage.add_fault(fault)
        else:
            self._faults.add(fault)
        return JSONResponse(fault.to_json())

    def _clear(self, _call: Call) -> Response:
        self._faults.clear()
        self._storage.clear_faults()
        return Response(status_code=204)


class ControlApi:
    def __init__(
        self,
        inventory: Inventory,
        store: RecordStore,
        settings: StandInSettings,
        log: RequestLog,
    ) -> None:
        self._inventory = inventory
        self._store = store
        self._settings = settings
        self._log = log

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/state", self._get_state),
            Operation("GET", "/requests", self._list_requests, query={"pattern": ANY}),
            Operation("DELETE", "/requests", self._forget_requests),
            Operation("GET", "/settings", self._get_settings),
            Operation("PATCH", "/settings", self._change_settings, read_body=read_json),
            Operation("GET", "/snapshots", self._list_snapshots),
            Operation("PATCH", "/snapshots/{name}", self._set_snapshot_state, read_body=read_json),
            Operation("DELETE", "/snapshots/{name}", self._forget_snapshot),
            Operation("GET", "/sandboxes", self._list_sandboxes),
            Operation("POST", "/sandboxes/{id}/age", self._age_sandbox, read_body=read_json),
        ]

    def _get_state(self, _call: Call) -> Response:
        return JSONResponse(self._inventory.complete_state())

    def _list_requests(self, call: Call) -> Response:
        return JSONResponse(self._log.matching(call.query("pattern", "*")))

    def _forget_requests(self, _call: Call) -> Response:
        self._log.clear()
        return Response(status_code=204)

    def _get_settings(self, _call: Call) -> Response:
        return JSONResponse(self._settings.to_json())

    def _change_settings(self, call: Call) -> Response:
        self._settings.change(call.body)
        return JSONResponse(self._settings.to_json())

    def _list_snapshots(self, _call: Call) -> Response:
        return JSONResponse(self._inventory.snapshots())

    def _set_snapshot_state(self, call: Call) -> Response:
        """Any state, at once and without what usually leads to it."""
        state, error = _field(call, "state", str), call.body.get("error")
        if error is not None and not isinstance(error, str):
            raise ApiRefusal(400, "`error` must be a string or null")
        with self._store.lock:
            snapshot: Any = self._store.snapshot(call.parameters["name"])
            snapshot.state, snapshot.error = state, error
            return JSONResponse(self._inventory.snapshots()[snapshot.name])

    def _forget_snapshot(self, call: Call) -> Response:
        """Its record vanishes at once; its image stays until the stand-in ends."""
        with self._store.lock:
            snapshot = self._store.snapshot(call.parameters["name"])
            self._store.snapshots.pop(snapshot.id)
        return Response(status_code=204)

    def _list_sandboxes(self, _call: Call) -> Response:
        return JSONResponse(self._inventory.sandboxes())

    def _age_sandbox(self, call: Call) -> Response:
        seconds = _field(call, "seconds", (int, float))
        with self._store.lock:
            sandbox = self._store.sandbox(call.parameters["id"])
            sandbox.grow_older(float(seconds))
            return JSONResponse(self._inventory.sandboxes()[sandbox.id])


def _field(call: Call, name: str, expected: type | tuple[type, ...]) -> Any:
    value = call.body.get(name)
    if not isinstance(value, expected) or isinstance(value, bool):
        raise ApiRefusal(400, f"the body needs `{name}`")
    return value
