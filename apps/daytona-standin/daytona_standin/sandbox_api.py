"""The API's requests about sandboxes."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import daytona_api_client as models

from daytona_standin import rules
from daytona_standin.errors import ApiRefusal
from daytona_standin.presentation import sandbox_json, sandbox_list_item
from daytona_standin.records import REGION
from daytona_standin.responses import validated_response
from daytona_standin.strictness import ANY
from daytona_standin.surface import Operation, parse_number

if TYPE_CHECKING:
    from starlette.responses import Response

    from daytona_standin.preview_proxy import PreviewLinks
    from daytona_standin.records import SandboxRecord
    from daytona_standin.sandbox_service import SandboxService
    from daytona_standin.settings import StandInSettings
    from daytona_standin.store import RecordStore
    from daytona_standin.strictness import Imitated
    from daytona_standin.surface import Call

_CREATE: Final[Imitated] = {
    "name": ANY,
    "snapshot": ANY,
    "user": ANY,
    "env": ANY,
    "labels": ANY,
    "public": ANY,
    "autoStopInterval": ANY,
    "autoDeleteInterval": ANY,
    "ttlMinutes": ANY,
    # Refused with a snapshot, and there are no sandboxes without one:
    "cpu": ANY,
    "gpu": ANY,
    "memory": ANY,
    "disk": ANY,
    "target": (REGION,),
    "autoPauseInterval": (0,),
    "gpuType": ([],),
    "kvm": (False,),
    "networkBlockAll": (False,),
    "secrets": ([],),
    "spot": (False,),
    "volumes": ([],),
}
_LIST: Final[Imitated] = {
    "cursor": ANY,
    "limit": ANY,
    "id": ANY,
    "name": ANY,
    "labels": ANY,
    "states": ANY,
    "includeErroredDeleted": ANY,
}


#: The generated enumerations' own member for values that they do not know.
_UNKNOWN: Final = "unknown_default_open_api"


class SandboxPresenter:
    """Shows sandboxes. `toolbox_url`: where the SDK reaches the inside of every sandbox."""

    def __init__(self, settings: StandInSettings, toolbox_url: str) -> None:
        self._settings = settings
        self.toolbox_url = toolbox_url

    def respond(self, record: SandboxRecord) -> Response:
        value = sandbox_json(
            record, toolbox_url=self.toolbox_url, minute_seconds=self._settings.minute_seconds
        )
        return validated_response(models.Sandbox, value)

    def list_item(self, record: SandboxRecord) -> dict[str, Any]:
        return sandbox_list_item(
            record, toolbox_url=self.toolbox_url, minute_seconds=self._settings.minute_seconds
        )


class SandboxApi:
    """From creation to deletion, and where to reach the inside."""

    def __init__(
        self, service: SandboxService, store: RecordStore, presenter: SandboxPresenter
    ) -> None:
        self._service = service
        self._store = store
        self._presenter = presenter

    def operations(self) -> list[Operation]:
        single = "/sandbox/{sandboxIdOrName}"
        return [
            Operation("POST", "/sandbox", self._create, model=models.CreateSandbox,
                      fields=_CREATE),
            Operation("GET", "/sandbox", self._list, query=_LIST),
            Operation("GET", single, self._get, query={"verbose": ("false",)}),
            Operation("DELETE", single, self._delete),
            Operation("POST", f"{single}/start", self._start),
            Operation("POST", f"{single}/stop", self._stop, query={"force": ANY}),
            Operation("GET", f"{single}/toolbox-proxy-url", self._get_toolbox_url),
        ]  # fmt: skip

    def _create(self, call: Call) -> Response:
        return self._presenter.respond(self._service.create(call.body))

    def _list(self, call: Call) -> Response:
        is_listed = _ListFilter(call)
        limit = call.number("limit", 100, low=1, high=200)
        offset = _read_cursor(call.query("cursor"))
        with self._store.lock:
            records = [record for record in self._store.sandboxes.values() if is_listed(record)]
        records.sort(key=lambda record: -record.last_active)
        has_more = offset + limit < len(records)
        items = [self._presenter.list_item(record) for record in records[offset:][:limit]]
        next_cursor = _make_cursor(offset + limit) if has_more else None
        value = {"items": items, "nextCursor": next_cursor}
        return validated_response(models.ListSandboxesResponse, value)

    def _get(self, call: Call) -> Response:
        return self._presenter.respond(self._find(call))

    def _delete(self, call: Call) -> Response:
        return self._presenter.respond(self._service.delete(self._find(call)))

    def _start(self, call: Call) -> Response:
        return self._presenter.respond(self._service.start(self._find(call)))

    def _stop(self, call: Call) -> Response:
        force = call.flag("force")
        return self._presenter.respond(self._service.stop(self._find(call), force=force))

    def _get_toolbox_url(self, call: Call) -> Response:
        self._find(call)
        return validated_response(models.ToolboxProxyUrl, {"url": self._presenter.toolbox_url})

    def _find(self, call: Call) -> SandboxRecord:
        return self._store.sandbox(call.parameters["sandboxIdOrName"])


class PreviewLinkApi:
    """The API's requests for addresses of ports in a sandbox."""

    def __init__(self, store: RecordStore, links: PreviewLinks) -> None:
        self._store = store
        self._links = links

    def operations(self) -> list[Operation]:
        port = "/sandbox/{sandboxIdOrName}/ports/{port}"
        return [
            Operation("GET", f"{port}/preview-url", self._get_url),
            Operation("GET", f"{port}/signed-preview-url", self._sign_url,
                      query={"expiresInSeconds": ANY}),
        ]  # fmt: skip

    def _get_url(self, call: Call) -> Response:
        sandbox, port = self._find(call)
        url = self._links.url(f"{port}-{sandbox.id}")
        value = {"sandboxId": sandbox.id, "url": url, "token": sandbox.token}
        return validated_response(models.PortPreviewUrl, value)

    def _sign_url(self, call: Call) -> Response:
        sandbox, port = self._find(call)
        seconds = call.number("expiresInSeconds", 60, low=1, high=86400)
        token = self._links.sign(sandbox.id, port, seconds)
        url = self._links.url(f"{port}-{token}")
        value = {"sandboxId": sandbox.id, "port": port, "token": token, "url": url}
        return validated_response(models.SignedPortPreviewUrl, value)

    def _find(self, call: Call) -> tuple[SandboxRecord, int]:
        port = parse_number(call.parameters["port"], "port", low=1, high=65535)
        return self._store.sandbox(call.parameters["sandboxIdOrName"]), port


class _ListFilter:
    """Which sandboxes a request for the list means."""

    def __init__(self, call: Call) -> None:
        try:
            labels: Any = json.loads(call.query("labels", "{}"))
        except ValueError:
            labels = None
        if not isinstance(labels, dict):
            raise ApiRefusal(400, "Invalid labels JSON format")
        self._labels = labels
        self._states = call.request.query_params.getlist("states")
        valid_states = {state.value for state in models.SandboxState} - {_UNKNOWN}
        if not set(self._states) <= valid_states:
            raise ApiRefusal(400, f"states must be of: {', '.join(sorted(valid_states))}")
        self._name, self._id = call.query("name"), call.query("id")
        self._include_errored_deleted = call.flag("includeErroredDeleted")

    def __call__(self, record: SandboxRecord) -> bool:
        if record.state in {"destroying", "destroyed"}:
            return False
        if record.is_deleted and not self._include_errored_deleted:
            return False
        return (
            rules.contains_labels(record.labels, self._labels)
            and record.name.startswith(self._name)
            and record.id.startswith(self._id)
            and (not self._states or record.state in self._states)
        )


def _make_cursor(offset: int) -> str:
    return base64.b64encode(str(offset).encode()).decode()


def _read_cursor(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True).decode() or 0)
    except ValueError:
        raise ApiRefusal(400, "Invalid cursor") from None
