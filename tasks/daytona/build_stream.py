"""Following the log of a build at Daytona: whole lines, into a file, for as long as it takes.

The server closes or loses streams as it likes (its SDK ends after 300 s) and begins each one with
the first byte. So a connection that broke is made again, and what was read before is passed over.
A daemon thread does it: however stuck a stream is, nothing waits for it.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from tasks.base import console, redaction
from tasks.base.errors import TaskError
from tasks.build import build_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tasks.daytona.api import Daytona
    from tasks.daytona.snapshot import Snapshot

_IDLE: Final = 30.0
_PAUSE: Final = 2.0
_TAIL: Final = 15
#: Seconds between two steps that are shown: steps from the cache begin by the dozen.
_QUIET: Final = 4.0
_SHELL: Final = re.compile(r"/bin/\w{0,8}sh -c ")


class LogLines:
    """Bytes of several connections → lines, each once. Every connection begins at the start."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        #: Where this connection stands in them; up to where they were given out as lines.
        self._position = 0
        self._consumed = 0

    def connected(self) -> None:
        self._position = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that `chunk` completes."""
        end = min(len(self._bytes), self._position + len(chunk))
        if self._bytes[self._position : end] != chunk[: end - self._position]:
            # This is another log than before: its lines count from its beginning.
            del self._bytes[self._position :]
            self._consumed = min(self._consumed, self._bytes.rfind(b"\n") + 1)
            end = self._position
        self._bytes += chunk[end - self._position :]
        self._position += len(chunk)
        while (newline := self._bytes.find(b"\n", self._consumed)) >= 0:
            line = bytes(self._bytes[self._consumed : newline])
            self._consumed = newline + 1
            yield line.decode(errors="replace").rstrip("\r")

    def rest(self) -> Iterator[str]:
        """What came after the last line break, when nothing more will come."""
        if self._consumed < len(self._bytes):
            yield bytes(self._bytes[self._consumed :]).decode(errors="replace")
            self._consumed = len(self._bytes)


class BuildLogFollower:
    """Follows one snapshot's build log from `start` to `stop`."""

    def __init__(self, api: Daytona, snapshot: Snapshot, *, file: Path) -> None:
        self.build = build_log.Build()
        self.file = file
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.connections = 0
        self._api = api
        self._snapshot = snapshot
        self._secrets = [api.credentials.api_key]
        self._lines = LogLines()
        self._watch = console.Stopwatch()
        self._last_display = 0.0
        self._last_byte = 0.0
        self._abandoned = threading.Event()
        self._build_ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.touch()
        self._thread.start()

    def stop(self, *, patience: float = 3.0, quiet: float = 1.0) -> None:
        """The build is over: take in what is on its way, until nothing has come for `quiet`
        seconds (after a failure Daytona never ends the stream), `patience` seconds at most.
        """
        self._build_ended.set()
        start = self._last_byte = time.monotonic()
        while self._thread.is_alive() and not self._abandoned.is_set():
            moment = time.monotonic()
            if moment - start > patience or moment - self._last_byte > quiet:
                break
            self._thread.join(0.05)
        self._abandoned.set()
        with self._lock:
            self._take(self._lines.rest())

    def failed_step(self, reason: str) -> str:
        """The Dockerfile's step that `reason` names, "" when none can be found.

        Daytona's log names steps when they begin, and then has their bare output, without ends.
        """
        if self.build.failed_step:
            return self.build.failed_step.name
        text, end, _ = reason.partition('process "')[2].partition('" did not complete')
        if not end:
            return ""
        shell = _SHELL.match(text)
        command = " ".join(text[shell.end() if shell else 0 :].split())
        for step in self.build.steps.values():
            if not step.internal and command in " ".join(step.name.split()):
                return step.name
        return command

    def abandon(self) -> None:
        """Interrupted: wait for nothing."""
        self._abandoned.set()
        self._build_ended.set()

    def _follow(self) -> None:
        while not self._abandoned.is_set():
            # A connection that is made after the end of the build brings all there is.
            complete = self._build_ended.is_set()
            try:
                if url := self._api.snapshots.build_log_url(self._snapshot):
                    self._read(url)
            except TaskError:
                pass  # a build goes on without its log; its state is asked for elsewhere
            except Exception as error:  # noqa: BLE001 - urllib3's many: a stream that broke
                self._note(
                    f"(the log's connection broke: {type(error).__name__}; connecting again)"
                )
                complete = False
            if complete:
                return
            if self._build_ended.wait(_PAUSE):
                self._abandoned.wait(0.1)

    def _read(self, url: str) -> None:
        self.connections += 1
        self._lines.connected()
        for chunk in self._api.snapshots.stream_build_log(url, idle=_IDLE):
            if self._abandoned.is_set():
                return
            self._last_byte = time.monotonic()
            with self._lock:
                self._take(self._lines.feed(chunk))

    def _take(self, lines: Iterable[str]) -> None:
        for raw_line in lines:
            line = redaction.redact(raw_line, self._secrets)
            self._note(line)
            self.tail.append(console.printable(line))
            step = self.build.feed(line)
            elapsed = self._watch.elapsed
            if step and not step.internal and elapsed - self._last_display > _QUIET:
                self._last_display = elapsed
                console.say(f"{self._watch!s:>6}   {console.printable(step.name)[:100]}", "dim")

    def _note(self, line: str) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(console.printable_log_line(line) + "\n")
