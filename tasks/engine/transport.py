"""One bounded HTTP request to an engine: on its socket, over TCP or TLS, or through ssh.

The docker CLI waits for an engine that hangs for as long as the engine likes; this does not.
"""

from __future__ import annotations

import http.client
import io
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tasks.base import certificates, console, process, proxies
from tasks.base.parsing import parse_json
from tasks.engine.endpoint import EngineTls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.base.proxies import Proxy
    from tasks.engine.endpoint import Endpoint

#: Bytes; what this project asks an engine for has a few kB.
MOST_BYTES: Final = 32_000_000
_LONGEST_HEAD: Final = 16_384


class NoAnswer(OSError):
    """Connected, but no complete reply came in time: the engine hangs."""


@dataclass(frozen=True)
class EngineReply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return parse_json(self.body)


def get(endpoint: Endpoint, path: str, *, timeout: float) -> EngineReply:
    """GET `path`. Raises OSError (`NoAnswer` for a hanging engine) within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    if endpoint.scheme == "ssh":
        return _get_over_ssh(endpoint, path, deadline)
    with _connect(endpoint, deadline) as connection:
        return _exchange(connection, path, deadline)


def _connect(endpoint: Endpoint, deadline: float) -> socket.socket:
    if endpoint.scheme == "unix":
        return _connect_unix(endpoint.socket_path, deadline)
    if endpoint.scheme in {"tcp", "http", "https"}:
        return _connect_tcp(endpoint, deadline)
    scheme = console.printable(endpoint.scheme)
    raise OSError(f"`{scheme}://` is not a kind of address that this project can use")


def _connect_unix(path: str, deadline: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_remaining(deadline))
    try:
        connection.connect(path)
    except (BlockingIOError, TimeoutError) as error:  # its queue is full: it accepts nobody
        connection.close()
        raise NoAnswer("the connection is not accepted") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_tcp(endpoint: Endpoint, deadline: float) -> socket.socket:
    try:
        parts = urlsplit(endpoint.host)
        host, number = parts.hostname, parts.port
    except ValueError as error:  # a port that is not a number, an unfinished IPv6 address
        raise OSError(f"`{console.printable(endpoint.host)}` is not an address") from error
    if not host:
        raise OSError(f"`{console.printable(endpoint.host)}` contains no host name")
    port = number or (2376 if endpoint.tls else 2375)
    if endpoint.tls is None:
        return _open(host, port, deadline)
    # As the docker CLI and its SDK do it.
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    proxy = proxies.choose_proxy(f"https://{authority}")
    connection = _tunnel(proxy, host, port, deadline) if proxy else _open(host, port, deadline)
    return _wrap(connection, endpoint.tls, host)


def _open(host: str, port: int, deadline: float) -> socket.socket:
    address = _resolve(host, port, deadline)
    connection = socket.create_connection(address, timeout=_remaining(deadline))
    connection.settimeout(_remaining(deadline))
    return connection


def _tunnel(proxy: Proxy, host: str, port: int, deadline: float) -> socket.socket:
    """A connection to `host` through a proxy; RFC 9110, 9.3.6. Raises OSError."""
    place = urlsplit(proxy.url)
    connection = _open(place.hostname or "", place.port or 80, deadline)
    if place.scheme == "https":
        bundle = certificates.find_ca_bundle()
        own_tls = EngineTls(ca=bundle, cert=None, key=None, verify=True)
        connection = _wrap(connection, own_tls, place.hostname or "")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        status_line = _ask_for_tunnel(connection, authority, proxy.headers, deadline)
    except BaseException:
        connection.close()
        raise
    if not re.fullmatch(r"HTTP/1\.[01] 2\d\d( .*)?", status_line):
        connection.close()
        refusal = console.printable(status_line.partition(" ")[2])[:100]
        raise OSError(f"the proxy {proxy.url} refuses: {refusal}")
    return connection


def _ask_for_tunnel(
    connection: socket.socket, authority: str, headers: Mapping[str, str], deadline: float
) -> str:
    """The status line of the proxy's reply."""
    fields = {"Host": authority, **headers}
    lines = [f"CONNECT {authority} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return _read_head(connection, deadline).partition(b"\r\n")[0].decode("latin-1")


def _read_head(connection: socket.socket, deadline: float) -> bytes:
    """A reply's head, byte by byte: what follows it is the other side's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        connection.settimeout(_remaining(deadline))
        byte = connection.recv(1)
        if not byte or len(head) > _LONGEST_HEAD or time.monotonic() > deadline:
            raise NoAnswer("the proxy did not answer")
        head += byte
    return head


def _remaining(deadline: float) -> float:
    return max(0.05, deadline - time.monotonic())


def _resolve(host: str, port: int, deadline: float) -> tuple[str, int]:
    """The address of `host`. The system's resolver has no timeout, hence the thread."""
    results: list[tuple[str, int] | OSError] = []

    def look_up() -> None:
        try:
            information = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            results.append((str(information[0][4][0]), port))
        except UnicodeError:
            results.append(OSError(f"`{console.printable(host)}` is not a host name"))
        except OSError as error:
            results.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_remaining(deadline))
    if not results:
        raise TimeoutError(f"the name `{host}` could not be resolved in time")
    if isinstance(results[0], OSError):
        raise results[0]
    return results[0]


def _wrap(connection: socket.socket, tls: EngineTls, host: str) -> socket.socket:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert and tls.key:
            context.load_cert_chain(tls.cert, tls.key)
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _exchange(connection: socket.socket, path: str, deadline: float) -> EngineReply:
    """Speaks HTTP/1.0, so that the reply ends where the connection does."""
    reply = bytearray()
    try:
        connection.settimeout(_remaining(deadline))
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        while True:
            connection.settimeout(_remaining(deadline))
            chunk = connection.recv(65536)
            if not chunk:
                break
            reply += chunk
            if time.monotonic() > deadline or len(reply) > MOST_BYTES:
                raise NoAnswer("the reply does not end")
    except TimeoutError as error:
        raise NoAnswer("no reply came in time") from error
    return _parse(bytes(reply))


def _parse(reply: bytes) -> EngineReply:
    class ReceivedBytes:
        def makefile(self, *_args: object) -> io.BytesIO:
            return io.BytesIO(reply)

    response = http.client.HTTPResponse(ReceivedBytes())  # type: ignore[arg-type]
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return EngineReply(response.status, headers, response.read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError("the program that answers there does not speak HTTP") from error


def _get_over_ssh(endpoint: Endpoint, path: str, deadline: float) -> EngineReply:
    """As the docker CLI does it: `docker system dial-stdio` on the other machine."""
    args = _ssh_command(endpoint)
    connection, remote_end = socket.socketpair()
    with connection:
        with remote_end:
            number = remote_end.fileno()
            child = process.start(args, stdin=number, stdout=number, stderr=subprocess.PIPE)
        try:
            return _exchange(connection, path, deadline)
        except NoAnswer as error:
            raise TimeoutError("ssh did not answer in time") from error
        except OSError as error:
            raise OSError(_last_line(child) or "ssh ended without an answer") from error
        finally:
            child.kill()
            child.communicate()


def _ssh_command(endpoint: Endpoint) -> list[str]:
    if shutil.which("ssh") is None:
        raise OSError("there is no `ssh` command")
    try:
        parts = urlsplit(endpoint.host)
        port = parts.port
    except ValueError as error:
        raise OSError(f"`{console.printable(endpoint.host)}` is not an address") from error
    args = ["ssh", "-T", "-o", "BatchMode=yes"]
    args += ["-l", parts.username] if parts.username else []
    args += ["-p", str(port)] if port else []
    return [*args, "--", parts.hostname or "", "docker", "system", "dial-stdio"]


def _last_line(child: subprocess.Popen[bytes]) -> str:
    try:
        _, stderr = child.communicate(timeout=0.2)
    except subprocess.TimeoutExpired:
        return ""
    lines = stderr.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
