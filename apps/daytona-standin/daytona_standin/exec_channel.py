"""One command that the engine runs in a container: its input and outputs."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from docker.utils.socket import frames_iter


@dataclass(frozen=True)
class CommandResult:
    """`status` is -1 when the command could not be started."""

    status: int
    output: bytes
    error_output: bytes = b""

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")

    @property
    def last_line(self) -> str:
        """What it said last, for a message."""
        lines = (self.error_output or self.output).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"status {self.status}"


class ExecChannel:
    """Feeds and drains an exec whose connection docker-py has opened, each in a thread."""

    def __init__(self, connection: Any, stdin: bytes, *, merge_outputs: bool) -> None:
        self.output = bytearray()
        self.error_output = self.output if merge_outputs else bytearray()
        self._connection = connection
        self._socket = getattr(connection, "_sock", connection)
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._writer = threading.Thread(target=self._feed, args=(stdin,), daemon=True)
        self._reader.start()
        self._writer.start()

    def wait(self, timeout: float | None) -> bool:
        """Whether the command has closed its outputs within `timeout` seconds."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def _drain(self) -> None:
        with suppress(OSError, ValueError):
            frames: Any = frames_iter
            for stream, chunk in frames(self._connection, tty=False):
                (self.output if stream == 1 else self.error_output).extend(chunk)

    def _feed(self, stdin: bytes) -> None:
        with suppress(OSError, ValueError):
            self._socket.sendall(stdin)
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in (self._reader, self._writer):
            thread.join(5)
        # docker-py hands out a reader, over a response, over the socket: each must be closed.
        layers: list[Any] = [getattr(self._connection, "_response", None), self._connection]
        for layer in (*layers, self._socket):
            with suppress(OSError, ValueError, AttributeError):
                layer.close()
