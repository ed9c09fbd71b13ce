"""The stand-in is never more lenient than the server: what it cannot do, it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from daytona import (
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    Daytona,
    DaytonaConfig,
    DaytonaError,
    Image,
    Resources,
    VolumeMount,
)
from daytona_api_client import ApiClient, SandboxApi, VolumesApi
from daytona_api_client.exceptions import ApiException

if TYPE_CHECKING:
    from collections.abc import Callable

    from daytona import Sandbox

    from tests.support.standin import StandInClient

    SandboxCreator = Callable[..., Sandbox]


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("network_block_all", True, "networkBlockAll"),
        ("network_allow_list", "10.0.0.0/8", "networkAllowList"),
        ("domain_allow_list", "example.org", "domainAllowList"),
        ("volumes", [VolumeMount(volume_id="v", mount_path="/v")], "volumes"),
        ("auto_archive_interval", 60, "autoArchiveInterval"),
    ],
)
def test_the_sdk_learns_what_is_not_imitated(
    stand_in: StandInClient, sdk: Daytona, server_snapshot: str, field: str, value: Any, word: str
) -> None:
    params = CreateSandboxFromSnapshotParams(snapshot=server_snapshot, **{field: value})
    with pytest.raises(DaytonaError, match=f"Not Implemented.*{word}") as refusal:
        sdk.create(params)
    assert refusal.value.status_code == 501
    assert stand_in.sandboxes() == []


def test_an_unknown_region_is_refused(
    stand_in: StandInClient, server_snapshot: str, snapshot_name: str
) -> None:
    config = DaytonaConfig(api_key=stand_in.key, api_url=stand_in.url, target="elsewhere")
    foreign = Daytona(config)
    with pytest.raises(DaytonaError, match="target"):
        foreign.create(CreateSandboxFromSnapshotParams(snapshot=server_snapshot))
    image = Image.base("debian:trixie-slim")
    with pytest.raises(DaytonaError, match="regionId"):
        foreign.snapshot.create(CreateSnapshotParams(name=snapshot_name, image=image))
    assert stand_in.sandboxes() == []
    assert snapshot_name not in stand_in.snapshots()


def test_a_gpu_is_refused(stand_in: StandInClient, sdk: Daytona, snapshot_name: str) -> None:
    params = CreateSnapshotParams(
        name=snapshot_name, image=Image.base("debian:trixie-slim"), resources=Resources(gpu=1)
    )
    with pytest.raises(DaytonaError, match="gpu"):
        sdk.snapshot.create(params)
    assert snapshot_name not in stand_in.snapshots()


def test_a_sandbox_from_an_image_is_refused(sdk: Daytona) -> None:
    with pytest.raises(DaytonaError, match="buildInfo"):
        sdk.create(CreateSandboxFromImageParams(image="debian:trixie-slim"))


def test_a_request_of_the_server_that_is_not_imitated_answers_501(
    api_client: ApiClient, create_sandbox: SandboxCreator
) -> None:
    with pytest.raises(ApiException) as refusal:
        VolumesApi(api_client).list_volumes()
    assert refusal.value.status == 501
    sandbox = create_sandbox()
    with pytest.raises(ApiException) as refusal:
        SandboxApi(api_client).archive_sandbox(sandbox.id)
    assert refusal.value.status == 501
    with pytest.raises(DaytonaError, match="does not imitate"):
        sandbox.git.status("/work")
    with pytest.raises(DaytonaError, match="does not imitate"):
        sandbox.fs.search_files("/work", "*")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/nonsense", "/snapshots/a/b/c", "/sandbox/x/y/z/w", "//snapshots"]
)
def test_an_unknown_route_answers_as_the_server_does(
    stand_in: StandInClient, method: str, path: str
) -> None:
    response = httpx.request(method, f"{stand_in.url}{path}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (body["statusCode"], body["error"]) == (404, "Not Found")
    assert body["message"] == f"Cannot {method} /api{path}"
    assert {"path", "timestamp"} <= body.keys()


def test_a_wrong_method_answers_as_an_unknown_route(stand_in: StandInClient) -> None:
    response = httpx.patch(f"{stand_in.url}/snapshots", headers=stand_in.headers)
    assert (response.status_code, response.json()["statusCode"]) == (404, 404)


@pytest.mark.parametrize("path", ["/", "/dashboard/snapshots", "/snapshots", "/favicon.ico"])
def test_an_address_outside_the_api_shows_the_dashboard(stand_in: StandInClient, path: str) -> None:
    response = httpx.get(f"{stand_in.origin}{path}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "This is not Daytona" in response.text


def test_a_sandbox_refuses_what_the_daemon_would_do_and_it_cannot(
    stand_in: StandInClient, create_sandbox: SandboxCreator
) -> None:
    sandbox = create_sandbox()
    base = f"{stand_in.origin}/toolbox/{sandbox.id}"

    def status(method: str, path: str, **options: Any) -> int:
        url = f"{base}{path}"
        response = httpx.request(method, url, headers=stand_in.headers, **options)
        assert response.headers["content-type"] == "application/json"
        assert response.json()["statusCode"] == response.status_code
        return response.status_code

    assert status("GET", "/files/find?path=/&pattern=x") == 501
    assert status("GET", "/process/session/entrypoint/logs?follow=true") == 501
    assert status("GET", "/files?path=/&depth=3") == 501
    assert status("POST", "/process/execute", json={"command": "true", "stdin": "x"}) == 501
    assert status("POST", "/process/execute", json={"command": ["true"]}) == 400
    assert status("POST", "/process/execute", json={"command": "true", "timeout": "1"}) == 400
    assert status("GET", "/nonsense") == 404
