"""The engine that the user's docker CLI would use, or one line that says why there is none.

Every failure is known within two seconds, also when the engine hangs.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Final

from tasks.base import process
from tasks.base.errors import BadInput, CommandFailed, TimedOut
from tasks.engine import endpoint as endpoints
from tasks.engine import transport
from tasks.engine.advice import TIMEOUT_VARIABLE, explain
from tasks.engine.engine import BUSY_TIMEOUT, MIN_API, MIN_ENGINE, Engine, version_numbers
from tasks.engine.errors import (
    ApiTooOld,
    EngineDenied,
    EngineDown,
    EngineError,
    EngineTooOld,
    NoBuildx,
    NoDocker,
    NotDocker,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.engine.endpoint import Endpoint

#: Seconds for an engine's first sign of life.
FIRST_TIMEOUT: Final = 1.5


def require() -> Engine:
    """An engine that can build and run sandboxes. Raises `EngineError`, which says what to do."""
    engine = find()
    check(engine)
    return engine


def find() -> Engine:
    """The engine that answers, whatever its age. Raises `EngineError`."""
    deadline = time.monotonic() + _first_timeout()
    cli = shutil.which("docker")
    if cli is None:
        raise NoDocker("there is no `docker` command on this machine", fix="nox -s setup")
    endpoint = _answering_endpoint(cli, deadline)
    version = _version(endpoint)
    environment = {"DOCKER_HOST": endpoint.host} if endpoint.chosen_by == "discovered" else {}
    return Engine(
        cli=cli,
        endpoint=endpoint,
        version=str(version.get("Version", "?")),
        api=str(version.get("ApiVersion", "0")),
        os=str(version.get("Os", "?")),
        arch=str(version.get("Arch", "?")),
        platform=_name(version.get("Platform")),
        buildx=buildx_version(cli, environment),
        environment=environment,
    )


def check(engine: Engine) -> None:
    """Raise `EngineError` when `engine` cannot do what this project needs."""
    upgrade = f"install Docker Engine {MIN_ENGINE[0]} or newer, or choose another docker context"
    if version_numbers(engine.api) < MIN_API:
        minimum = ".".join(map(str, MIN_API))
        raise ApiTooOld(
            f"the engine at {engine.endpoint} has API version {engine.api}; "
            f"{minimum} or newer is needed",
            fix=upgrade,
        )
    if engine.os != "linux":
        raise NotDocker(
            f"the engine at {engine.endpoint} runs {engine.os} containers, not Linux containers",
            fix="switch Docker Desktop to Linux containers",
        )
    if version_numbers(engine.version) < MIN_ENGINE:
        raise EngineTooOld(
            f"the engine at {engine.endpoint} has version {engine.version}; "
            f"{MIN_ENGINE[0]} or newer is needed",
            fix=upgrade,
        )
    if engine.buildx is None:
        raise NoBuildx(
            f"`{engine.cli}` has no buildx plugin, which builds the image", fix="nox -s setup"
        )


def diagnose() -> EngineError | None:
    """Why no engine answers, or None when one does. Does not need a docker CLI."""
    try:
        _answering_endpoint(shutil.which("docker"), time.monotonic() + _first_timeout())
    except EngineError as error:
        return error
    return None


def buildx_version(cli: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The version of the docker CLI's build plugin, None where there is none."""
    try:
        result = process.capture([cli, "buildx", "version"], env=environment, timeout=BUSY_TIMEOUT)
    except (CommandFailed, TimedOut):
        return None
    match = re.search(rb"(?<!\d)\d+\.\d+\.\d+\S*", result.stdout)
    return match[0].decode(errors="replace") if match else None


def _first_timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else FIRST_TIMEOUT
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 600:
        raise BadInput(
            f"{TIMEOUT_VARIABLE} is `{text}`, which is not a number of seconds up to 600",
            fix="set it to 5, for instance, or unset it",
        )
    return seconds


def _answering_endpoint(cli: str | None, deadline: float) -> Endpoint:
    """The first endpoint that gives a sign of life; else the error of the configured one."""
    remaining = max(0.1, deadline - time.monotonic())
    configured = endpoints.configured_endpoint(cli, timeout=remaining)
    try:
        _ping(configured, deadline)
    except (EngineDown, EngineDenied):
        if configured.chosen_by != "default":
            raise
        for endpoint in endpoints.discover_endpoints():
            try:
                _ping(endpoint, deadline)
            except EngineError:
                continue
            return endpoint
        raise
    return configured


def _ping(endpoint: Endpoint, deadline: float) -> None:
    try:
        transport.get(endpoint, "/_ping", timeout=max(0.1, deadline - time.monotonic()))
    except OSError as error:
        raise explain(endpoint, error) from error


def _version(endpoint: Endpoint) -> dict[str, Any]:
    not_docker = NotDocker(
        f"the program that answers at {endpoint} is not a Docker Engine",
        fix="point DOCKER_HOST or the docker context at a Docker Engine",
    )
    try:
        version = transport.get(endpoint, "/version", timeout=BUSY_TIMEOUT).json()
    except OSError as error:
        raise explain(endpoint, error) from error
    except (ValueError, RecursionError) as error:
        raise not_docker from error
    if not isinstance(version, dict) or "ApiVersion" not in version:
        raise not_docker
    components = version.get("Components")
    names = map(_name, components if isinstance(components, list) else [])
    if "Podman Engine" in names:
        raise NotDocker(
            f"the program that answers at {endpoint} is Podman, which has no BuildKit",
            fix="point DOCKER_HOST or the docker context at a Docker Engine",
        )
    return version


def _name(value: object) -> str:
    return str(value.get("Name") or "") if isinstance(value, dict) else ""
