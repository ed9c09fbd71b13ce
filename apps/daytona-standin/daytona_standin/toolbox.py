"""What all requests to the inside of a sandbox share: they need one that runs, and count as use."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import docker.errors
from starlette.responses import Response

from daytona_standin.errors import ApiRefusal
from daytona_standin.preview_proxy import QUIET_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from daytona_standin.containers import SandboxContainers
    from daytona_standin.exec_channel import CommandResult
    from daytona_standin.store import RecordStore
    from daytona_standin.surface import Call


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that runs, and its container."""

    id: str
    container: str


class Toolbox:
    """Runs shell scripts in sandboxes, as the image's user."""

    def __init__(self, store: RecordStore, containers: SandboxContainers) -> None:
        self._store = store
        self.containers = containers

    def inside(
        self, handler: Callable[[Call, RunningSandbox], Response]
    ) -> Callable[[Call], Response]:
        """A handler for an operation, of one that also gets the sandbox of `{sandboxId}`."""

        def handle(call: Call) -> Response:
            record = self._store.sandbox(call.parameters["sandboxId"])
            if record.state != "started" or record.container is None:
                return Response(status_code=502)  # the proxy's answer when nothing listens
            if call.request.headers.get(QUIET_HEADER) != "true":
                record.last_active = time.time()
            try:
                return handler(call, RunningSandbox(record.id, record.container))
            except docker.errors.APIError as error:
                raise ApiRefusal(502, str(error.explanation)) from error

        return handle

    def run_shell(
        self, sandbox: RunningSandbox, script: str, *arguments: str, stdin: bytes = b""
    ) -> CommandResult:
        command = ["sh", "-c", script, "sh", *arguments]
        return self.containers.run(sandbox.container, command, stdin=stdin)

    def require_shell(self, sandbox: RunningSandbox, script: str, *arguments: str) -> CommandResult:
        """Raises `ApiRefusal` when the script fails."""
        result = self.run_shell(sandbox, script, *arguments)
        if result.status:
            raise refusal_of(result)
        return result


def refusal_of(result: CommandResult) -> ApiRefusal:
    """How the daemon refuses what has failed with these words."""
    message = result.last_line
    if "No such file" in message:
        return ApiRefusal(404, f"not found: {message}")
    if "Permission denied" in message:
        return ApiRefusal(403, f"forbidden: {message}")
    return ApiRefusal(400, f"bad request: {message}")
