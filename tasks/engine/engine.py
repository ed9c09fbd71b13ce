"""The Docker Engine that the user's docker CLI would use, or one line saying why there is none.

Every failure is known within two seconds, also when the engine hangs.
"""

from __future__ import annotations

import getpass
import grp
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tasks.base import console, process
from tasks.base.errors import BadInput, CommandFailed, TaskError, TimedOut
from tasks.engine import endpoint as at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.engine.endpoint import Endpoint

MIN_ENGINE: Final = (23, 0)  # the first whose `docker build` is BuildKit
MIN_API: Final = (1, 41)  # what docker-py 7 speaks
#: Seconds for an engine's first sign of life. A link slower than that needs the variable.
PATIENCE: Final = 1.5
PATIENCE_VARIABLE: Final = "SANDBOX_ENGINE_TIMEOUT"
#: Once it has shown life, it may be busy: it is asked again with more patience.
BUSY: Final = 15.0


class EngineError(TaskError):
    """There is no engine to work with."""

    code: ClassVar[str] = "engine"


class NoDocker(EngineError):
    code = "no-docker"
    exit_status = 10


class EngineDown(EngineError):
    code = "engine-down"
    exit_status = 11


class EngineDenied(EngineError):
    code = "engine-denied"
    exit_status = 12


class EngineUnreachable(EngineError):
    code = "engine-unreachable"
    exit_status = 13


class EngineHangs(EngineError):
    code = "engine-hangs"
    exit_status = 14


class ApiTooOld(EngineError):
    code = "api-too-old"
    exit_status = 15


class EngineTooOld(EngineError):
    code = "engine-too-old"
    exit_status = 16


class NoBuildx(EngineError):
    code = "no-buildx"
    exit_status = 17


class NotDocker(EngineError):
    code = "not-docker"
    exit_status = 18


class ContextUnusable(EngineError):
    code = "docker-context"
    exit_status = 19


@dataclass(frozen=True)
class Engine:
    cli: str
    endpoint: Endpoint
    version: str
    api: str
    os: str
    arch: str
    #: "Docker Engine - Community", "Docker Desktop 4.30.0 (…)"; empty for Debian's.
    platform: str = ""
    buildx: str | None = None
    #: What the docker CLI needs in its environment to reach the same engine.
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.endpoint.host

    @property
    def is_local(self) -> bool:
        """Whether this machine's files and ports are the engine's, too."""
        desktop = "desktop" in self.platform.lower() or "/.colima/" in self.host
        return self.endpoint.scheme == "unix" and not desktop

    def command(self, *args: str) -> list[str]:
        """`docker …` on this engine; run it with `env=engine.environment`."""
        return [self.cli, *args]

    def get(self, path: str, *, timeout: float = BUSY) -> at.Answer:
        """GET `path` of the engine's API, without the SDK."""
        try:
            return at.get(self.endpoint, path, timeout=timeout)
        except OSError as error:
            raise _explain(self.endpoint, error) from error


def require() -> Engine:
    """An engine that can build and run sandboxes, or an `EngineError` saying what to do."""
    engine = find()
    check(engine)
    return engine


def find() -> Engine:
    """The engine that answers, whatever its age. Raises `EngineError`."""
    deadline = time.monotonic() + _patience()
    cli = shutil.which("docker")
    if cli is None:
        raise NoDocker("there is no `docker` command on this machine", fix="nox -s setup")
    endpoint = _answering(cli, deadline)
    version = _version(endpoint)
    environment = {"DOCKER_HOST": endpoint.host} if endpoint.chosen_by == "found" else {}
    return Engine(
        cli=cli,
        endpoint=endpoint,
        version=str(version.get("Version", "?")),
        api=str(version.get("ApiVersion", "0")),
        os=str(version.get("Os", "?")),
        arch=str(version.get("Arch", "?")),
        platform=str((version.get("Platform") or {}).get("Name", "")),
        buildx=buildx(cli, environment),
        environment=environment,
    )


def check(engine: Engine) -> None:
    """Raise when `engine` cannot do what this project needs."""
    upgrade = f"install Docker Engine {MIN_ENGINE[0]} or newer, or choose another docker context"
    if numbers(engine.api) < MIN_API:
        raise ApiTooOld(
            f"the engine at {engine.endpoint} speaks API {engine.api}, older than 1.41",
            fix=upgrade,
        )
    if engine.os != "linux":
        raise NotDocker(
            f"the engine at {engine.endpoint} runs {engine.os} containers",
            fix="switch Docker Desktop to Linux containers",
        )
    if numbers(engine.version) < MIN_ENGINE:
        raise EngineTooOld(
            f"the engine at {engine.endpoint} is version {engine.version}, older than 23",
            fix=upgrade,
        )
    if engine.buildx is None:
        raise NoBuildx(
            f"`{engine.cli}` has no buildx plugin, which builds the image", fix="nox -s setup"
        )


def trouble() -> EngineError | None:
    """Why no engine answers, or None when one does; also where there is no docker CLI."""
    try:
        _answering(shutil.which("docker"), time.monotonic() + _patience())
    except EngineError as error:
        return error
    return None


def host_for_sdk(engine: Engine) -> dict[str, Any]:
    """`docker.DockerClient(**host_for_sdk(engine), timeout=…)` reaches the same engine."""
    arguments: dict[str, Any] = {"base_url": engine.host}
    if engine.endpoint.scheme == "ssh":
        arguments["use_ssh_client"] = True
    if tls := engine.endpoint.tls:
        from docker.tls import TLSConfig  # noqa: PLC0415  # only there in sessions that have it

        pair = (str(tls.cert), str(tls.key)) if tls.cert and tls.key else None
        ca = str(tls.ca) if tls.ca else None
        arguments["tls"] = TLSConfig(client_cert=pair, ca_cert=ca, verify=tls.verify)
    return arguments


def numbers(version: str) -> tuple[int, ...]:
    """`26.1.5+dfsg1` → (26, 1, 5)."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match[1].split(".")) if match else (0,)


def _patience() -> float:
    given = os.environ.get(PATIENCE_VARIABLE, "")
    try:
        seconds = float(given) if given else PATIENCE
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 600:
        raise BadInput(
            f"{PATIENCE_VARIABLE} is `{given}`", fix="give seconds, for instance 5, or unset it"
        )
    return seconds


def _answering(cli: str | None, deadline: float) -> Endpoint:
    """The first endpoint that gives a sign of life; else the error of the configured one."""
    try:
        configured = at.configured(cli, timeout=max(0.1, deadline - time.monotonic()))
    except (at.CannotReadContext, TimedOut) as error:
        raise ContextUnusable(error.what, fix=error.fix or "docker context ls") from error
    try:
        _ping(configured, deadline)
    except (EngineDown, EngineDenied):
        if configured.chosen_by != "default":
            raise
        for other in at.usual_places():
            try:
                _ping(other, deadline)
            except EngineError:
                continue
            return other
        raise
    return configured


def _ping(endpoint: Endpoint, deadline: float) -> None:
    try:
        at.get(endpoint, "/_ping", timeout=max(0.1, deadline - time.monotonic()))
    except OSError as error:
        raise _explain(endpoint, error) from error


def _version(endpoint: Endpoint) -> dict[str, Any]:
    strange = NotDocker(
        f"what answers at {endpoint} is no Docker Engine",
        fix="point DOCKER_HOST or the docker context at one",
    )
    try:
        version = at.get(endpoint, "/version", timeout=BUSY).json()
        if not isinstance(version, dict) or "ApiVersion" not in version:
            raise strange
        components = [c.get("Name") for c in version.get("Components") or []]
    except OSError as error:
        raise _explain(endpoint, error) from error
    except (ValueError, AttributeError) as error:
        raise strange from error
    if "Podman Engine" in components:
        raise NotDocker(
            f"what answers at {endpoint} is Podman, which has no BuildKit",
            fix="point DOCKER_HOST or the docker context at a Docker Engine",
        )
    return version


def buildx(cli: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The version of the docker CLI's build plugin."""
    try:
        result = process.capture([cli, "buildx", "version"], env=environment, timeout=BUSY)
    except (CommandFailed, TimedOut):
        return None
    match = re.search(rb"\d+\.\d+\.\d+\S*", result.stdout)
    return match[0].decode(errors="replace") if match else None


def _explain(endpoint: Endpoint, error: OSError) -> EngineError:
    """Which of our errors `error` is, with what to do about it."""
    reason = console.printable(str(error.strerror or error))
    if isinstance(error, at.NoAnswer):
        return EngineHangs(
            f"the engine at {endpoint} accepts connections but does not answer",
            fix=_how_to_restart(endpoint),
        )
    if isinstance(error, PermissionError) and endpoint.scheme == "unix":
        return EngineDenied(f"you may not use the engine at {endpoint}", fix=_how_to_be_allowed())
    if endpoint.scheme == "unix" and isinstance(
        error, (FileNotFoundError, ConnectionError, NotADirectoryError)
    ):
        return EngineDown(f"no Docker Engine answers at {endpoint}", fix=_how_to_start(endpoint))
    instead = "`docker context use default`" if endpoint.context else "unset DOCKER_HOST"
    slow = f"; a slow link: {PATIENCE_VARIABLE}=10" if isinstance(error, TimeoutError) else ""
    return EngineUnreachable(
        f"the engine at {endpoint} cannot be reached ({reason})",
        fix=f"check that it runs and is reachable, or {instead} to use a local one{slow}",
    )


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
    if endpoint.socket_path != at.DEFAULT_HOST.removeprefix("unix://") or sys.platform == "darwin":
        return "restart it (Docker Desktop, Colima, …), then try again"
    if Path("/run/systemd/system").is_dir():
        return "sudo systemctl restart docker"
    return "end it (pkill -KILL dockerd, as root), then nox -s setup"


def _how_to_be_allowed() -> str:
    try:
        user = getpass.getuser()
        listed = user in grp.getgrnam("docker").gr_mem
    except (KeyError, OSError):  # no such group, no such account
        return "run as root, or start a rootless engine (dockerd-rootless-setuptool.sh install)"
    if listed:
        return "you are in the group `docker` since your last login: newgrp docker"
    return f"sudo usermod -aG docker {user} && newgrp docker"
