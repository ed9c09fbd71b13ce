from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import daytona_api_client
import daytona_toolbox_api_client
import pytest
from daytona_standin.routes import Route, best_match, server_routes
from daytona_standin.sandbox_api import PreviewLinkApi, SandboxApi
from daytona_standin.sandbox_settings_api import SandboxSettingsApi
from daytona_standin.snapshot_api import PushAccessApi, SnapshotApi
from daytona_standin.toolbox import Toolbox
from daytona_standin.toolbox_commands import CommandToolbox, SessionToolbox
from daytona_standin.toolbox_files import FileToolbox, FileTransferToolbox

if TYPE_CHECKING:
    from daytona_standin.surface import Operation

ABSENT = cast("Any", None)


def test_an_encoded_slash_does_not_end_a_segment() -> None:
    route = Route("GET", "/snapshots/{id}")
    assert route.match("GET", "/snapshots/a%2Fb%3A1") == {"id": "a/b:1"}
    assert route.match("GET", "/snapshots/a/b") is None
    assert route.match("GET", "/snapshots/") is None
    assert route.match("POST", "/snapshots/a") is None
    assert route.match("HEAD", "/snapshots/a") == {"id": "a"}


def test_a_literal_segment_takes_precedence_over_a_parameter() -> None:
    routes = [Route("GET", "/sandbox/{id}"), Route("GET", "/sandbox/for-runner")]
    match = best_match(routes, "GET", "/sandbox/for-runner")
    assert match
    assert match[0].path == "/sandbox/for-runner"
    assert best_match(routes, "GET", "/nonsense") is None


def api_operations() -> list[Operation]:
    return [
        *SnapshotApi(ABSENT, ABSENT, "").operations(),
        *PushAccessApi(ABSENT, ABSENT).operations(),
        *SandboxApi(ABSENT, ABSENT, ABSENT).operations(),
        *SandboxSettingsApi(ABSENT, ABSENT).operations(),
        *PreviewLinkApi(ABSENT, ABSENT).operations(),
    ]


def toolbox_operations() -> list[Operation]:
    toolbox = Toolbox(ABSENT, ABSENT)
    return [
        *CommandToolbox(toolbox).operations(),
        *SessionToolbox(toolbox).operations(),
        *FileToolbox(toolbox).operations(),
        *FileTransferToolbox(toolbox).operations(),
    ]


@pytest.mark.parametrize("operation", api_operations(), ids=lambda o: f"{o.method} {o.path}")
def test_the_server_has_every_request_of_the_api(operation: Operation) -> None:
    shapes = {route.shape for route in server_routes(daytona_api_client)}
    assert operation.route.shape in shapes


@pytest.mark.parametrize("operation", toolbox_operations(), ids=lambda o: f"{o.method} {o.path}")
def test_the_daemon_has_every_request_of_the_toolbox(operation: Operation) -> None:
    shapes = {route.shape for route in server_routes(daytona_toolbox_api_client)}
    path = operation.path.removeprefix("/{sandboxId}")
    assert Route(operation.method, path).shape in shapes


def test_the_servers_interface_is_found_in_the_packages() -> None:
    api = {(route.method, route.path) for route in server_routes(daytona_api_client)}
    assert ("GET", "/volumes") in api
    assert ("POST", "/sandbox/{sandboxIdOrName}/archive") in api
    toolbox = {(route.method, route.path) for route in server_routes(daytona_toolbox_api_client)}
    assert ("GET", "/files/search") in toolbox
