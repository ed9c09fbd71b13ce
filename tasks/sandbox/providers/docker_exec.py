"""One command in a container: its streams, read and fed through docker-py's connection."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from docker.utils.socket import frames_iter


class ExecConversation:
    """Feeds and drains one exec in a thread, so that no deadline depends on what it writes."""

    def __init__(self, connection: Any, stdin: bytes) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._connection = connection
        self._threads = [threading.Thread(target=self._drain, daemon=True)]
        if stdin:
            self._threads.append(threading.Thread(target=self._feed, args=(stdin,), daemon=True))
        for thread in self._threads:
            thread.start()

    def ended_within(self, timeout: float) -> bool:
        """Whether the command ended; closes the connection either way."""
        reader = self._threads[0]
        reader.join(timeout)
        has_ended = not reader.is_alive()
        self._close()
        return has_ended

    def _raw(self) -> Any:
        """The socket below docker-py's reader: it can also be written to."""
        return getattr(self._connection, "_sock", self._connection)

    def _drain(self) -> None:
        with suppress(OSError, ValueError):  # closed at the deadline
            frames: Any = frames_iter
            for stream, chunk in frames(self._connection, tty=False):
                (self.stdout if stream == 1 else self.stderr).extend(chunk)

    def _feed(self, stdin: bytes) -> None:
        with suppress(OSError, ValueError):
            self._raw().sendall(stdin)
            self._raw().shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        raw = self._raw()
        with suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        # docker-py hands out a reader, over a response, over the socket: each wants its close.
        layers: tuple[Any, ...] = (
            getattr(self._connection, "_response", None),
            self._connection,
            raw,
        )
        for layer in layers:
            with suppress(OSError, ValueError, AttributeError):
                layer.close()
