"""Following the log of a build at Daytona: whole lines, into a file, for as long as it takes.

The server closes or loses streams as it likes (its SDK ends after 300 s) and begins each one from
the first byte. So a connection that broke is made anew and what is known already is passed over.
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

    from tasks.daytona.adapter import Daytona
    from tasks.daytona.snapshot import Snapshot

_IDLE: Final = 30.0
_PAUSE: Final = 2.0
_TAIL: Final = 15
_QUIET: Final = 4.0
_SHELL: Final = re.compile(r"/bin/\w{0,8}sh -c ")


class Lines:
    """Bytes of several connections → lines, each once. Every connection begins at the start."""

    def __init__(self) -> None:
        self._known = bytearray()
        self._at = 0
        self._told = 0

    def connected(self) -> None:
        self._at = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that `chunk` completes."""
        end = min(len(self._known), self._at + len(chunk))
        if self._known[self._at : end] != chunk[: end - self._at]:
            # Another log than the one we knew: told from its beginning.
            del self._known[self._at :]
            self._told = min(self._told, self._known.rfind(b"\n") + 1)
            end = self._at
        self._known += chunk[end - self._at :]
        self._at += len(chunk)
        while (newline := self._known.find(b"\n", self._told)) >= 0:
            line = bytes(self._known[self._told : newline])
            self._told = newline + 1
            yield line.decode(errors="replace").rstrip("\r")

    def rest(self) -> Iterator[str]:
        """What came after the last line break, when nothing more will come."""
        if self._told < len(self._known):
            yield bytes(self._known[self._told :]).decode(errors="replace")
            self._told = len(self._known)


class Follower:
    """Follows one snapshot's build log from `start` to `stop`."""

    def __init__(self, api: Daytona, snapshot: Snapshot, *, file: Path) -> None:
        self.build = build_log.Build()
        self.file = file
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.connections = 0
        self._api = api
        self._snapshot = snapshot
        self._secrets = [api.credentials.api_key]
        self._lines = Lines()
        self._watch = console.Stopwatch()
        self._said = 0.0
        self._heard = 0.0
        self._over = threading.Event()
        self._ended = threading.Event()
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
        self._ended.set()
        begun = self._heard = time.monotonic()
        while self._thread.is_alive() and not self._over.is_set():
            now = time.monotonic()
            if now - begun > patience or now - self._heard > quiet:
                break
            self._thread.join(0.05)
        self._over.set()
        with self._lock:
            self._take(self._lines.rest())

    def failed_step(self, reason: str) -> str:
        """The Dockerfile's step that `reason` tells of, "" when none can be found.

        Daytona's log names steps when they begin, and then has their bare output, without ends.
        """
        if self.build.failed:
            return self.build.failed.name
        text, ended, _ = reason.partition('process "')[2].partition('" did not complete')
        if not ended:
            return ""
        command = " ".join(text[len(shell[0]) if (shell := _SHELL.match(text)) else 0 :].split())
        for step in self.build.steps.values():
            if not step.internal and command in " ".join(step.name.split()):
                return step.name
        return command

    def abandon(self) -> None:
        """Interrupted: wait for nothing."""
        self._over.set()
        self._ended.set()

    def _follow(self) -> None:
        while not self._over.is_set():
            # What a connection brings that was made after the end is all there is.
            last = self._ended.is_set()
            try:
                if url := self._api.build_logs_url(self._snapshot):
                    self._read(url)
            except TaskError:
                pass  # no log is no reason to give up a build; its state is asked for elsewhere
            except Exception as error:  # noqa: BLE001 - urllib3's many: a stream that broke
                self._note(f"(the log's connection broke: {type(error).__name__}; again)")
                last = False
            if last:
                return
            if self._ended.wait(_PAUSE):
                self._over.wait(0.1)

    def _read(self, url: str) -> None:
        self.connections += 1
        self._lines.connected()
        for chunk in self._api.stream(url, idle=_IDLE):
            if self._over.is_set():
                return
            self._heard = time.monotonic()
            with self._lock:
                self._take(self._lines.feed(chunk))

    def _take(self, lines: Iterable[str]) -> None:
        for raw in lines:
            line = redaction.redact(raw, self._secrets)
            self._note(line)
            self.tail.append(console.printable(line))
            step = self.build.feed(line)
            # Steps from the cache begin by the dozen: one line every few seconds says enough.
            now = self._watch.elapsed
            if step and not step.internal and now - self._said > _QUIET:
                self._said = now
                console.say(f"{self._watch!s:>6}   {console.printable(step.name)[:100]}", "dim")

    def _note(self, line: str) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
