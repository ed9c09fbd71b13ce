"""Every field and parameter of the server's interface is carried out, or refused with 501."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio
import daytona_api_client
import httpx
import pytest
from daytona_standin.authentication import ApiKey
from daytona_standin.errors import ApiRefusal
from daytona_standin.records import SandboxRecord, SnapshotRecord
from daytona_standin.routes import server_routes
from daytona_standin.sandbox_api import SandboxApi, SandboxPresenter
from daytona_standin.settings import StandInSettings
from daytona_standin.site import Site, refuse_as_api
from daytona_standin.snapshot_api import SnapshotApi
from daytona_standin.store import RecordStore
from daytona_standin.strictness import ANY, check_model, refuse_unimitated
from daytona_standin.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daytona_standin.sandbox_service import SandboxService
    from daytona_standin.snapshot_service import SnapshotService

SNAPSHOT = SnapshotRecord(name="n", state="active")


class Accepted:
    """In the place of both services: it takes every body that reaches it."""

    def create(self, body: Mapping[str, Any]) -> Any:
        return SANDBOXES[0] if "snapshot" in body else SNAPSHOT


SANDBOXES = [SandboxRecord(name="s", snapshot=SNAPSHOT)]


class Server:
    """The API without an engine behind it."""

    def __init__(self) -> None:
        self._key = ApiKey()
        service, store = Accepted(), RecordStore()
        presenter = SandboxPresenter(StandInSettings(), "http://toolbox")
        operations = [
            *SandboxApi(cast("SandboxService", service), store, presenter).operations(),
            *SnapshotApi(cast("SnapshotService", service), store, "").operations(),
        ]
        api = Surface(
            "/api",
            operations,
            authenticate=self._key.require,
            refuse=refuse_as_api,
            server_routes=server_routes(daytona_api_client),
        )
        self._site = Site(api=api, toolbox=api, build_logs=api, control=api)

    def ask(
        self, method: str, path: str, *, key: str | None = None, **options: Any
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            headers = {"Authorization": f"Bearer {self._key.text if key is None else key}"}
            transport = httpx.ASGITransport(self._site)
            async with httpx.AsyncClient(transport=transport, base_url="http://s") as client:
                return await client.request(method, path, headers=headers, **options)

        return anyio.run(send)


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


#: A value that asks for something, for every field of the server's models.
VALUES: dict[str, Any] = {
    "autoArchiveInterval": 60, "autoDeleteInterval": 1, "autoPauseInterval": 5,
    "autoStopInterval": 1, "buildInfo": {"dockerfileContent": "FROM x"}, "cpu": 1, "disk": 1,
    "domainAllowList": "x.org", "entrypoint": ["x"], "env": {"A": "b"}, "gpu": 1,
    "gpuType": ["H100"], "imageName": "x:1", "kvm": True, "labels": {"a": "b"},
    "linkedSandbox": "x", "memory": 1, "name": "x", "networkAllowList": "10.0.0.0/8",
    "networkBlockAll": True, "otelEndpointOverride": "http://x", "outboundProxyUrl": "http://x",
    "public": True, "queueTimeout": 1, "regionId": "us", "sandboxClass": "linux-vm",
    "secrets": [{"A": "b"}], "snapshot": "n", "spot": True, "target": "us", "ttlMinutes": 1,
    "user": "x", "volumes": [{"volumeId": "v", "mountPath": "/v"}],
}  # fmt: skip
#: The fields that reach the services, which carry them out (or refuse cpu, gpu, memory and disk).
SANDBOX_FIELDS = {
    "autoDeleteInterval", "autoStopInterval", "cpu", "disk", "env", "gpu", "labels", "memory",
    "name", "public", "snapshot", "ttlMinutes", "user",
}  # fmt: skip
SNAPSHOT_FIELDS = {"buildInfo", "cpu", "disk", "entrypoint", "imageName", "memory", "name"}


def model_fields(model: Any) -> list[str]:
    return [field.serialization_alias or name for name, field in model.model_fields.items()
            if name != "additional_properties"]  # fmt: skip


@pytest.mark.parametrize("field", model_fields(daytona_api_client.CreateSandbox))
def test_every_field_of_a_sandbox_is_carried_out_or_refused(server: Server, field: str) -> None:
    body = {"snapshot": "n", field: VALUES[field]}
    response = server.ask("POST", "/api/sandbox", json=body)
    assert response.status_code == (200 if field in SANDBOX_FIELDS else 501), response.text
    if field not in SANDBOX_FIELDS:
        assert f"`{field}`" in response.json()["message"]
        assert response.json()["error"] == "Not Implemented"


@pytest.mark.parametrize("field", model_fields(daytona_api_client.CreateSnapshot))
def test_every_field_of_a_snapshot_is_carried_out_or_refused(server: Server, field: str) -> None:
    body = {"name": "n", field: VALUES[field]}
    response = server.ask("POST", "/api/snapshots", json=body)
    assert response.status_code == (200 if field in SNAPSHOT_FIELDS else 501), response.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/sandbox", {"snapshot": "n", "invented": 1}),
        ("/api/snapshots", {"name": "n", "general": True}),
        ("/api/snapshots", {"name": "n", "buildInfo": {"dockerfileContent": "x", "target": "a"}}),
    ],
)
def test_a_field_that_the_server_does_not_know_is_refused(
    server: Server, path: str, body: dict[str, Any]
) -> None:
    assert server.ask("POST", path, json=body).status_code == 501


@pytest.mark.parametrize(
    "body",
    [
        {"volumes": [], "networkBlockAll": False, "kvm": False, "spot": False, "secrets": []},
        {"volumes": None, "networkBlockAll": None, "target": None, "autoArchiveInterval": None},
        {"target": "local", "autoPauseInterval": 0, "gpuType": []},
    ],
)
def test_a_field_that_asks_for_nothing_is_accepted(server: Server, body: dict[str, Any]) -> None:
    response = server.ask("POST", "/api/sandbox", json={"snapshot": "n", **body})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "body",
    [
        {"env": {"A": 1}},
        {"labels": []},
        {"public": "yes"},
        {"autoStopInterval": "15"},
        {"autoStopInterval": 1.5},
        {"volumes": "v"},
        {"name": 1},
    ],
)
def test_a_field_of_a_wrong_type_is_refused_by_the_model(
    server: Server, body: dict[str, Any]
) -> None:
    response = server.ask("POST", "/api/sandbox", json={"snapshot": "n", **body})
    assert response.status_code == 400
    assert response.json()["statusCode"] == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/sandbox?limit=1&includeErroredDeleted=true&states=started", 200),
        ("/api/sandbox?limit=0", 400),
        ("/api/sandbox?limit=x", 400),
        ("/api/sandbox?labels=[]", 400),
        ("/api/sandbox?cursor=x", 400),
        ("/api/sandbox?states=nonsense", 400),
        ("/api/sandbox?includeErroredDeleted=maybe", 400),
        ("/api/sandbox?snapshots=n", 501),
        ("/api/sandbox?minCpu=1", 501),
        ("/api/sandbox?sort=name", 501),
        ("/api/sandbox?invented=1", 501),
        ("/api/snapshots?page=1&limit=2.0", 200),
        ("/api/snapshots?name=n", 501),
        ("/api/snapshots?sourceSandboxId=n", 501),
        ("/api/sandbox/for-runner", 501),
        ("/api/snapshots/n/build-logs", 501),
        ("/api/organizations", 501),
        ("/api/nonsense", 404),
        ("/api", 404),
    ],
)
def test_a_query_is_carried_out_or_refused(server: Server, path: str, status: int) -> None:
    response = server.ask("GET", path)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    if status != 200:
        assert response.json()["path"] == path.partition("?")[0]


def test_a_body_of_another_type_is_not_read(server: Server) -> None:
    response = server.ask("POST", "/api/snapshots", content=b'{"name": "n"}')
    assert response.status_code == 400


def test_a_stranger_learns_only_which_routes_exist(server: Server) -> None:
    assert server.ask("GET", "/api/sandbox", key="wrong").status_code == 401
    assert server.ask("GET", "/api/volumes", key="wrong").status_code == 401
    assert server.ask("GET", "/api/nonsense", key="wrong").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 200), ("GET", "/a/b", 200), ("HEAD", "/a", 200), ("POST", "/a", 404)],
)
def test_an_address_outside_the_api_shows_the_dashboard(
    server: Server, method: str, path: str, status: int
) -> None:
    response = server.ask(method, path, key="")
    assert response.status_code == status
    expected = "text/html" if status == 200 else "application/json"
    assert response.headers["content-type"].startswith(expected)


def test_a_value_counts_only_with_its_type() -> None:
    imitated: dict[str, tuple[object, ...] | None] = {"flag": (False,), "any": ANY}
    refuse_unimitated({"flag": False, "any": object(), "absent": None}, imitated, place="here")
    for value in (0, "", True, "false"):
        with pytest.raises(ApiRefusal) as refusal:
            refuse_unimitated({"flag": value}, imitated, place="here")
        assert refusal.value.status == 501


def test_a_models_complaint_names_the_field() -> None:
    with pytest.raises(ApiRefusal, match="cpu"):
        check_model(daytona_api_client.CreateSnapshot, {"name": "n", "cpu": "many"})
