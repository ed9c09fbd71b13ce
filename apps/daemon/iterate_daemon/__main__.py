"""`python -m iterate_daemon`: serve until told to end."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from typing import Final

import uvicorn

from iterate_daemon import __version__
from iterate_daemon.app import create_app
from iterate_daemon.config import Config, ConfigError, from_env
from iterate_daemon.connections import BoundedProtocol

#: sysexits.h: the environment is wrong, and trying again will not help.
EX_CONFIG: Final = 78
_log = logging.getLogger("iterate_daemon")


class _NotifyingServer(uvicorn.Server):
    """Tells the supervisor once connections are accepted."""

    def __init__(self, config: uvicorn.Config, *, notify_fd: int | None) -> None:
        super().__init__(config)
        self._notify_fd = notify_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._notify_fd is not None:
            try:
                os.write(self._notify_fd, b"\n")
                os.close(self._notify_fd)
            except OSError as error:
                _log.warning("cannot notify on descriptor %d: %s", self._notify_fd, error)


class _RedactingFormatter(logging.Formatter):
    """Keeps the token out of every line, whatever would write it: a path, an exception, …"""

    def __init__(self, token: str) -> None:
        super().__init__("%(levelname)s %(message)s")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace(self._token, "***")


def main() -> int:
    try:
        config = from_env(os.environ)
    except ConfigError as error:
        return _fail(str(error), EX_CONFIG)
    _configure_logging(config.token)
    try:
        listeners = _listeners(config)
    except OSError as error:
        return _fail(
            f"cannot listen on {error.filename}: {error.strerror} → end what uses it (`ss -ltnp`),"
            " or set ITERATE_DAEMON_HOST, ITERATE_DAEMON_PORT and ITERATE_GATEWAY_PORT",
            1,
        )
    server = _NotifyingServer(
        uvicorn.Config(
            create_app(config),
            access_log=False,
            http=BoundedProtocol,
            lifespan="on",
            log_config=None,
            loop="asyncio",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            workers=1,  # else uvicorn reads WEB_CONCURRENCY
            ws="websockets-sansio",
        ),
        notify_fd=config.notify_fd,
    )
    for listener in listeners:
        host, port = listener.getsockname()[:2]
        _log.info("iterate-daemon %s listens on %s:%d", __version__, host, port)
    server.run(listeners)
    return 0


def _configure_logging(token: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_RedactingFormatter(token))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("httpx", "httpcore", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _listeners(config: Config) -> list[socket.socket]:
    """Raises `OSError`, with the address as its file name."""
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(_listen(config.host, port))
            for port in (config.port, config.gateway_port)
            if port is not None
        ]
        stack.pop_all()
    return listeners


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    return listener


def _fail(text: str, status: int) -> int:
    sys.stderr.write(f"iterate-daemon: {text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
