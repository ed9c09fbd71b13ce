"""The API's requests that change what a sandbox is called, who may see it and how long it lives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import daytona_api_client as models
from starlette.responses import Response

from daytona_standin.responses import validated_response
from daytona_standin.sandbox_service import check_auto_stop, check_time_to_live
from daytona_standin.strictness import ANY
from daytona_standin.surface import Operation, parse_flag, parse_number

if TYPE_CHECKING:
    from daytona_standin.records import SandboxRecord
    from daytona_standin.sandbox_api import SandboxPresenter
    from daytona_standin.store import RecordStore
    from daytona_standin.surface import Call


class SandboxSettingsApi:
    def __init__(self, store: RecordStore, presenter: SandboxPresenter) -> None:
        self._store = store
        self._presenter = presenter

    def operations(self) -> list[Operation]:
        single = "/sandbox/{sandboxIdOrName}"
        return [
            Operation("PUT", f"{single}/labels", self._set_labels, model=models.SandboxLabels,
                      fields={"labels": ANY}),
            Operation("POST", f"{single}/public/{{isPublic}}", self._set_public),
            Operation("POST", f"{single}/last-activity", self._note_activity,
                      model=models.UpdateLastActivity, fields={"activityType": ANY}),
            Operation("POST", f"{single}/autostop/{{interval}}", self._set_auto_stop),
            Operation("POST", f"{single}/autodelete/{{interval}}", self._set_auto_delete),
            Operation("POST", f"{single}/ttl/{{ttlMinutes}}", self._set_time_to_live),
        ]  # fmt: skip

    def _set_labels(self, call: Call) -> Response:
        sandbox = self._find(call)
        with self._store.lock:
            sandbox.labels = dict(call.body["labels"])
        return validated_response(models.SandboxLabels, {"labels": sandbox.labels})

    def _set_public(self, call: Call) -> Response:
        sandbox = self._find(call)
        sandbox.public = parse_flag(call.parameters["isPublic"], "isPublic")
        return self._presenter.respond(sandbox)

    def _note_activity(self, call: Call) -> Response:
        self._find(call).last_active = time.time()
        return Response()

    def _set_auto_stop(self, call: Call) -> Response:
        sandbox = self._find(call)
        sandbox.auto_stop = check_auto_stop(parse_number(call.parameters["interval"], "interval"))
        return self._presenter.respond(sandbox)

    def _set_auto_delete(self, call: Call) -> Response:
        sandbox = self._find(call)
        sandbox.auto_delete = parse_number(call.parameters["interval"], "interval")
        return self._presenter.respond(sandbox)

    def _set_time_to_live(self, call: Call) -> Response:
        sandbox = self._find(call)
        minutes = parse_number(call.parameters["ttlMinutes"], "ttlMinutes")
        sandbox.time_to_live = check_time_to_live(minutes)
        return self._presenter.respond(sandbox)

    def _find(self, call: Call) -> SandboxRecord:
        return self._store.sandbox(call.parameters["sandboxIdOrName"])
