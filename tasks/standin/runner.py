"""Daytona's runner: makes images of build contexts and of pushed images, on the local engine."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from tasks.base import certificates, process
from tasks.standin.flatten import EmptyContext, flatten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tasks.engine.engine import Engine
    from tasks.sandbox.run import Run
    from tasks.standin.storage import Storage

#: `#7 0.123 text`: what a step wrote.
_OUTPUT: Final = re.compile(r"#(\d+) \d+\.\d+ ?(.*)")
_EVENT: Final = re.compile(r"#(\d+) (.*)")


class BuildBroke(Exception):
    """The engine's message is the snapshot's error."""


@dataclass(frozen=True)
class Built:
    tag: str
    size: int
    entrypoint: list[str]


class Runner:
    def __init__(self, engine: Engine, run: Run, storage: Storage, folder: Path) -> None:
        self._engine = engine
        self._run = run
        self._storage = storage
        self._folder = folder / "build-logs"
        self._folder.mkdir()
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()

    def tag(self, ref: str) -> str:
        """Images of two stand-ins on one engine must not meet."""
        return f"daytona-stand-in/{self._run.id}:{ref.removeprefix('daytona-').partition(':')[0]}"

    def log(self, ref: str) -> Path:
        """One file a ref, appended to: an identical build replays what an earlier one said."""
        return self._folder / f"{ref.partition(':')[0]}.log"

    def exclusive(self, ref: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(ref, threading.Lock())

    def find(self, ref: str) -> Built | None:
        command = self._engine.command("image", "inspect", self.tag(ref))
        result = process.capture(command, env=self._engine.environment, check=False)
        if result.returncode:
            return None
        found: dict[str, Any] = json.loads(result.stdout)[0]
        return Built(self.tag(ref), found["Size"], found["Config"].get("Entrypoint") or [])

    def build(self, ref: str, dockerfile: str, hashes: Sequence[str]) -> Built:
        """Build, unless the image of that ref is there."""
        if found := self.find(ref):
            return found
        with self.log(ref).open("a", encoding="utf-8") as log:
            command = self._command(ref, forced=True)
            if bundle := certificates.find_ca_bundle():
                command += ["--secret", f"id=ca_bundle,src={bundle}"]
            feed = _Feed(self._storage, dockerfile, hashes, log)
            self._carry_out(command, feed, log)
        return self._made(ref)

    def pull(self, ref: str, image: str) -> Built:
        """The image as it is, but for a label more: so that nothing unlabelled stays behind."""
        if found := self.find(ref):
            return found
        with self.log(ref).open("a", encoding="utf-8") as log:
            feed = _Feed(self._storage, f"FROM {image}\n", [], log)
            self._carry_out(self._command(ref, forced=False), feed, log)
        return self._made(ref)

    def remove(self, ref: str) -> None:
        command = self._engine.command("image", "rm", "--force", self.tag(ref))
        process.capture(command, env=self._engine.environment, check=False)

    def stop(self) -> None:
        with self._lock:
            children = list(self._children)
        for child in children:
            child.terminate()

    def _command(self, ref: str, *, forced: bool) -> list[str]:
        # The engine's own builder, whichever one the user works with: it has the base image.
        own = self._engine.endpoint.context or "default"
        command = self._engine.command(
            *("buildx", "build", "--builder", own, "--progress=plain", "--load"),
            *("--provenance=false", "--tag", self.tag(ref)),
        )
        for name, value in self._run.labels(f"snapshot {ref}").items():
            command += ["--label", f"{name}={value}"]
        if forced and self._engine.arch in {"amd64", "x86_64"}:
            command.append("--platform=linux/amd64")
        return [*command, "-"]

    def _made(self, ref: str) -> Built:
        if found := self.find(ref):
            return found
        raise BuildBroke("the image vanished")

    def _carry_out(self, command: list[str], feed: _Feed, log: IO[str]) -> None:
        # `-`, the context on stdin, has to come last.
        command = [*(a for a in command if a != "-"), "-"]
        child = process.start(
            command,
            env=self._engine.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with self._lock:
            self._children.add(child)
        try:
            feeding = threading.Thread(target=feed.into, args=(child,), daemon=True)
            feeding.start()
            said: list[str] = []
            lines = (raw.decode(errors="replace").rstrip("\n") for raw in child.stdout or ())
            for line in as_daytona_logs(_kept(lines, said)):
                log.write(line + "\n")
                log.flush()
            status = child.wait()
            feeding.join(5)
        finally:
            with self._lock:
                self._children.discard(child)
            process.stop(child)
            if child.stdout:
                child.stdout.close()
        if feed.error:
            log.write(f"ERROR: {feed.error}\n")
            raise BuildBroke(feed.error)
        if status:
            raise BuildBroke(reason(said) or f"the builder ended with status {status}")


class _Feed:
    """Writes the context into the builder's stdin."""

    def __init__(
        self, storage: Storage, dockerfile: str, hashes: Sequence[str], log: IO[str]
    ) -> None:
        self._storage = storage
        self._dockerfile = dockerfile
        self._hashes = hashes
        self._log = log
        self.error = ""

    def into(self, child: subprocess.Popen[bytes]) -> None:
        if (stdin := child.stdin) is None:
            return
        try:
            flatten(self._dockerfile, self._contexts(), stdin, warn=self._warn)
        except EmptyContext as error:
            self.error = f"context {error} is empty"
        except FileNotFoundError as error:
            self.error = f"failed to get context: {error}"
        except BrokenPipeError:
            return  # the builder has ended, and says why
        finally:
            if self.error:
                child.terminate()
            with suppress(BrokenPipeError):
                stdin.close()

    def _contexts(self) -> Iterator[tuple[str, IO[bytes]]]:
        for digest in self._hashes:
            held: AbstractContextManager[IO[bytes] | None] = self._storage.context(digest)
            with held as stream:
                if stream is None:
                    raise FileNotFoundError(f"The specified key does not exist: {digest}")
                yield digest, stream

    def _warn(self, text: str) -> None:
        self._log.write(f"warning: {text}\n")


def _kept(lines: Iterator[str], into: list[str]) -> Iterator[str]:
    for line in lines:
        into.append(line)
        yield line


def as_daytona_logs(lines: Iterator[str]) -> Iterator[str]:
    """BuildKit's plain progress as the runner writes it: names, raw output, CACHED, ERROR."""
    names: dict[str, str] = {}
    for line in lines:
        if output := _OUTPUT.fullmatch(line):
            yield output[2]
        elif event := _EVENT.fullmatch(line):
            number, text = event.groups()
            if number == "0":
                continue  # which builder: the client's own words
            if number not in names:
                names[number] = text
                yield line
            elif text == "CACHED":
                yield f"#{number} CACHED {names[number]}"
            elif text.startswith("ERROR: "):
                yield text
        elif line.startswith("ERROR: "):
            yield line


def reason(lines: Sequence[str]) -> str:
    """What the builder says last: `failed to solve: …`."""
    said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return said[-1] if said else next((line for line in reversed(lines) if line.strip()), "")
