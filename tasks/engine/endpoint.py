"""Where the docker CLI would connect, and one bounded HTTP request to it.

The CLI itself waits for an engine that hangs for as long as it likes; this does not.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from tasks.base import console, process
from tasks.base.errors import TaskError

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"

ChosenBy = Literal["DOCKER_HOST", "context", "default", "found"]


class NoAnswer(OSError):
    """Connected, but no (whole) answer came in time: the engine hangs."""


class CannotReadContext(TaskError):
    code = "docker-context"


@dataclass(frozen=True)
class Tls:
    ca: Path | None
    cert: Path | None
    key: Path | None
    verify: bool


@dataclass(frozen=True)
class Endpoint:
    host: str
    chosen_by: ChosenBy
    context: str = ""
    tls: Tls | None = None

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


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def configured(cli: str | None, *, timeout: float) -> Endpoint:
    """The endpoint that the docker CLI would use: DOCKER_HOST, DOCKER_CONTEXT, current context."""
    if host := os.environ.get("DOCKER_HOST"):
        return Endpoint(host, "DOCKER_HOST", tls=_tls_from_environment())
    context = os.environ.get("DOCKER_CONTEXT") or _current_context()
    if context in {"", "default"}:
        return Endpoint(DEFAULT_HOST, "default")
    args = [cli or "docker", "context", "inspect", context]
    result = process.capture(args, timeout=timeout, check=False)
    try:
        return parse_context(json.loads(result.stdout)[0])
    except (ValueError, LookupError, TypeError) as error:
        raise CannotReadContext(
            f"docker context `{context}` cannot be read",
            fix="docker context ls, then `docker context use NAME` (or unset DOCKER_CONTEXT)",
        ) from error


def parse_context(inspected: Any) -> Endpoint:
    """One element of what `docker context inspect` prints."""
    docker = inspected["Endpoints"]["docker"]
    tls = None
    if "docker" in (inspected.get("TLSMaterial") or {}):
        folder = Path(inspected["Storage"]["TLSPath"]) / "docker"
        tls = _tls_in(folder, verify=not docker.get("SkipTLSVerify"))
    return Endpoint(docker.get("Host") or DEFAULT_HOST, "context", inspected["Name"], tls)


def usual_places() -> list[Endpoint]:
    """Sockets of engines that people run without having told the docker CLI."""
    home = _home()
    sockets = [
        home / ".docker/run/docker.sock",  # Docker Desktop on macOS
        home / ".docker/desktop/docker.sock",  # Docker Desktop on Linux
        home / ".colima/default/docker.sock",
        home / ".config/colima/default/docker.sock",
    ]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        sockets.insert(0, Path(runtime) / "docker.sock")  # rootless
    return [Endpoint(f"unix://{s}", "found") for s in sockets if s.is_socket()]


def get(endpoint: Endpoint, path: str, *, timeout: float) -> Answer:
    """GET `path`. Raises OSError (`NoAnswer` for a hanging engine) within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    if endpoint.scheme == "ssh":
        return _get_over_ssh(endpoint, path, deadline)
    with _connect(endpoint, deadline) as connection:
        return _exchange(connection, path, deadline)


def _connect(endpoint: Endpoint, deadline: float) -> socket.socket:
    if endpoint.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_left(deadline))
        try:
            connection.connect(endpoint.socket_path)
        except (BlockingIOError, TimeoutError) as error:  # its queue is full: nobody accepts
            connection.close()
            raise NoAnswer("nobody accepts the connection") from error
        except BaseException:
            connection.close()
            raise
        return connection
    if endpoint.scheme in {"tcp", "http", "https"}:
        parts = urlsplit(endpoint.host)
        if not parts.hostname:
            raise OSError(f"`{endpoint.host}` names no host")
        port = parts.port or (2376 if endpoint.tls else 2375)
        address = _resolve(parts.hostname, port, deadline)
        plain = socket.create_connection(address, timeout=_left(deadline))
        plain.settimeout(_left(deadline))
        return _wrap(plain, endpoint.tls, parts.hostname) if endpoint.tls else plain
    raise OSError(f"`{endpoint.scheme}://` is no way to an engine that this project knows")


def _left(deadline: float) -> float:
    return max(0.05, deadline - time.monotonic())


def _resolve(host: str, port: int, deadline: float) -> tuple[str, int]:
    """The resolver has no timeout of its own, hence the thread."""
    found: list[tuple[str, int] | OSError] = []

    def look_up() -> None:
        try:
            information = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.append((str(information[0][4][0]), port))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_left(deadline))
    if not found:
        raise TimeoutError(f"nobody says where `{host}` is")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _wrap(plain: socket.socket, tls: Tls, host: str) -> socket.socket:
    context = ssl.create_default_context(cafile=tls.ca)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert and tls.key:
        context.load_cert_chain(tls.cert, tls.key)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _exchange(connection: socket.socket, path: str, deadline: float) -> Answer:
    """HTTP/1.0, so that the answer ends where the connection does."""
    received = bytearray()
    try:
        connection.settimeout(_left(deadline))
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        while True:
            connection.settimeout(_left(deadline))
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
            if time.monotonic() > deadline:
                raise NoAnswer("the answer does not end")
    except TimeoutError as error:
        raise NoAnswer("no answer in time") from error
    return _parse(bytes(received))


def _parse(received: bytes) -> Answer:
    class Received:
        def makefile(self, *_args: object) -> io.BytesIO:
            return io.BytesIO(received)

    response = http.client.HTTPResponse(Received())  # type: ignore[arg-type]
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    except http.client.HTTPException as error:
        raise OSError("what answers there does not speak HTTP") from error


def _get_over_ssh(endpoint: Endpoint, path: str, deadline: float) -> Answer:
    """As the docker CLI does it: `docker system dial-stdio` on the other side."""
    if shutil.which("ssh") is None:
        raise OSError("there is no `ssh` command")
    parts = urlsplit(endpoint.host)
    args = ["ssh", "-T", "-o", "BatchMode=yes"]
    args += ["-l", parts.username] if parts.username else []
    args += ["-p", str(parts.port)] if parts.port else []
    args += ["--", parts.hostname or "", "docker", "system", "dial-stdio"]
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = process.start(
                args, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE
            )
        try:
            return _exchange(ours, path, deadline)
        except NoAnswer as error:
            raise TimeoutError("ssh has no answer in time") from error
        except OSError as error:
            raise OSError(_last_line(child) or "ssh ended without an answer") from error
        finally:
            child.kill()
            child.communicate()


def _last_line(child: subprocess.Popen[bytes]) -> str:
    try:
        _, stderr = child.communicate(timeout=0.2)
    except subprocess.TimeoutExpired:
        return ""
    lines = stderr.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _home() -> Path:
    """Also for a user id that has neither HOME nor an account, as some containers have."""
    return Path(os.path.expanduser("~"))


def _current_context() -> str:
    folder = os.environ.get("DOCKER_CONFIG") or str(_home() / ".docker")
    try:
        config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
        return str(config.get("currentContext") or "")
    except (OSError, ValueError, AttributeError):
        return ""  # the docker CLI, too, goes on with its defaults


def _tls_from_environment() -> Tls | None:
    verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
    folder = os.environ.get("DOCKER_CERT_PATH")
    if not verify:
        return None
    return _tls_in(Path(folder) if folder else _home() / ".docker", verify=verify)


def _tls_in(folder: Path, *, verify: bool) -> Tls:
    def file(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    return Tls(file("ca.pem"), file("cert.pem"), file("key.pem"), verify)
