"""From a failed connection to an engine error that says what to do."""

from __future__ import annotations

import getpass
import grp
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.engine import endpoint as endpoints
from tasks.engine.errors import (
    EngineDenied,
    EngineDown,
    EngineError,
    EngineHangs,
    EngineUnreachable,
)
from tasks.engine.transport import NoAnswer

if TYPE_CHECKING:
    from tasks.engine.endpoint import Endpoint

#: Seconds for an engine's first sign of life, for those whose link is slower than usual.
TIMEOUT_VARIABLE: Final = "SANDBOX_ENGINE_TIMEOUT"


def explain(endpoint: Endpoint, error: OSError) -> EngineError:
    """The engine error that `error` means, with what to do about it."""
    reason = console.printable(str(error.strerror or error))
    if isinstance(error, NoAnswer):
        return EngineHangs(
            f"the engine at {endpoint} accepts connections but does not answer",
            fix=_how_to_restart(endpoint),
        )
    if isinstance(error, PermissionError) and endpoint.scheme == "unix":
        return EngineDenied(
            f"this user may not use the engine at {endpoint}", fix=_how_to_be_allowed()
        )
    if endpoint.scheme == "unix" and isinstance(
        error, (FileNotFoundError, ConnectionError, NotADirectoryError)
    ):
        return EngineDown(f"no Docker Engine answers at {endpoint}", fix=_how_to_start(endpoint))
    local = "`docker context use default`" if endpoint.context else "unset DOCKER_HOST"
    slow = f"; for a slow link, set {TIMEOUT_VARIABLE}=10" if _is_timeout(error) else ""
    return EngineUnreachable(
        f"the engine at {endpoint} cannot be reached ({reason})",
        fix=f"check that it runs and is reachable, or {local} to use a local one{slow}",
    )


def _is_timeout(error: OSError) -> bool:
    return isinstance(error, TimeoutError)


def _how_to_start(endpoint: Endpoint) -> str:
    if "colima" in endpoint.host:
        return "colima start"
    if "desktop" in endpoint.host or "/.docker/" in endpoint.host:
        return "start Docker Desktop"
    if endpoint.socket_path.startswith(os.environ.get("XDG_RUNTIME_DIR") or "/run/user/"):
        return "systemctl --user start docker"
    if endpoint.chosen_by == "DOCKER_HOST":
        return "start it, or unset DOCKER_HOST"
    return "nox -s setup"


def _how_to_restart(endpoint: Endpoint) -> str:
    if endpoint.scheme != "unix":
        return "restart it on its machine"
    usual_socket = endpoints.DEFAULT_HOST.removeprefix("unix://")
    if endpoint.socket_path != usual_socket or sys.platform == "darwin":
        return "restart it (Docker Desktop, Colima, …), then try again"
    if Path("/run/systemd/system").is_dir():
        return "sudo systemctl restart docker"
    return "end it (pkill -KILL dockerd, as root), then nox -s setup"


def _how_to_be_allowed() -> str:
    try:
        user = getpass.getuser()
        is_member = user in grp.getgrnam("docker").gr_mem
    except (KeyError, OSError):  # no such group, no such account
        return "run as root, or start a rootless engine (dockerd-rootless-setuptool.sh install)"
    if is_member:
        return "newgrp docker (you joined the group `docker` after this login)"
    return f"sudo usermod -aG docker {user} && newgrp docker"
