"""Where the docker CLI would connect: DOCKER_HOST, a docker context, or the usual socket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tasks.base import console, process
from tasks.base.errors import TimedOut
from tasks.base.parsing import parse_json
from tasks.engine.errors import ContextUnusable

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"

#: What made this endpoint the one to use; `discovered` is a socket that the CLI does not know of.
ChosenBy = Literal["DOCKER_HOST", "context", "default", "discovered"]


@dataclass(frozen=True)
class EngineTls:
    ca: Path | None
    cert: Path | None
    key: Path | None
    verify: bool


@dataclass(frozen=True)
class Endpoint:
    host: str
    chosen_by: ChosenBy
    context: str = ""
    tls: EngineTls | None = None

    @property
    def scheme(self) -> str:
        return self.host.partition("://")[0]

    @property
    def socket_path(self) -> str:
        return self.host.removeprefix("unix://") if self.scheme == "unix" else ""

    def __str__(self) -> str:
        host = console.printable(self.host)
        if self.chosen_by == "context":
            return f"{host} (docker context `{console.printable(self.context)}`)"
        return f"{host} (DOCKER_HOST)" if self.chosen_by == "DOCKER_HOST" else host


def configured_endpoint(cli: str | None, *, timeout: float) -> Endpoint:
    """The endpoint that the docker CLI would use: DOCKER_HOST, DOCKER_CONTEXT, current context.

    Raises `ContextUnusable` when the CLI does not describe the context within `timeout` seconds.
    """
    if host := os.environ.get("DOCKER_HOST"):
        return Endpoint(host, "DOCKER_HOST", tls=_tls_from_environment())
    context = os.environ.get("DOCKER_CONTEXT") or _current_context()
    if context in {"", "default"}:
        return Endpoint(DEFAULT_HOST, "default")
    args = [cli or "docker", "context", "inspect", context]
    try:
        result = process.capture(args, timeout=timeout, check=False)
        return parse_context(parse_json(result.stdout)[0])
    except TimedOut as error:
        raise ContextUnusable(error.what, fix="docker context ls") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ContextUnusable(
            f"docker context `{console.printable(context)}` cannot be read",
            fix="docker context ls, then `docker context use NAME` (or unset DOCKER_CONTEXT)",
        ) from error


def parse_context(description: Any) -> Endpoint:
    """One element of what `docker context inspect` prints. Raises ValueError, LookupError,
    TypeError or AttributeError for any other shape.
    """
    docker = description["Endpoints"]["docker"]
    tls = None
    if "docker" in (description.get("TLSMaterial") or {}):
        folder = Path(description["Storage"]["TLSPath"]) / "docker"
        tls = _tls_in(folder, verify=not docker.get("SkipTLSVerify"))
    host = docker.get("Host") or DEFAULT_HOST
    return Endpoint(str(host), "context", str(description["Name"]), tls)


def discover_endpoints() -> list[Endpoint]:
    """Sockets of engines that people run without telling the docker CLI about them."""
    home = home_folder()
    sockets = [
        home / ".docker/run/docker.sock",  # Docker Desktop on macOS
        home / ".docker/desktop/docker.sock",  # Docker Desktop on Linux
        home / ".colima/default/docker.sock",
        home / ".config/colima/default/docker.sock",
    ]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        sockets.insert(0, Path(runtime) / "docker.sock")  # rootless
    return [Endpoint(f"unix://{path}", "discovered") for path in sockets if path.is_socket()]


def home_folder() -> Path:
    """The user's home, also for a user id without HOME and without an account, as in containers."""
    return Path(os.path.expanduser("~"))


def _current_context() -> str:
    folder = os.environ.get("DOCKER_CONFIG") or str(home_folder() / ".docker")
    try:
        config = parse_json(Path(folder, "config.json").read_text(encoding="utf-8"))
        return str(config.get("currentContext") or "")
    except (OSError, ValueError, AttributeError):
        return ""  # the docker CLI, too, goes on with its defaults


def _tls_from_environment() -> EngineTls | None:
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        return None
    folder = os.environ.get("DOCKER_CERT_PATH")
    return _tls_in(Path(folder) if folder else home_folder() / ".docker", verify=True)


def _tls_in(folder: Path, *, verify: bool) -> EngineTls:
    def file(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    return EngineTls(file("ca.pem"), file("cert.pem"), file("key.pem"), verify)
