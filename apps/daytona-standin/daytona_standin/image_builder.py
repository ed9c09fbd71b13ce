"""Daytona's runner: makes images of build contexts and of pushed images, on the local engine."""

from __future__ import annotations

import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

import docker.errors

from daytona_standin import build_log
from daytona_standin.child_processes import LeashedProcess
from daytona_standin.context_flattening import EmptyContext, flatten
from daytona_standin.errors import StandInError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from daytona_standin.engine import LocalEngine
    from daytona_standin.object_storage import ObjectStorage

_REPOSITORY: Final = "daytona-stand-in"


class ImageBuildFailed(Exception):
    """The engine's message becomes the snapshot's error."""


@dataclass(frozen=True)
class BuiltImage:
    size_bytes: int
    entrypoint: list[str]


class ImageBuilder:
    """`docker_program`: its buildx plugin builds. Build logs are kept below `folder`."""

    def __init__(
        self,
        engine: LocalEngine,
        storage: ObjectStorage,
        folder: Path,
        *,
        docker_program: str,
        ca_bundle: Path | None,
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._docker = docker_program
        self._ca_bundle = ca_bundle
        self._folder = folder / "build-logs"
        self._folder.mkdir()
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._builds: set[LeashedProcess] = set()

    def tag(self, ref: str) -> str:
        """The image's name on the engine, where two stand-ins must not share one."""
        content = ref.removeprefix("daytona-").partition(":")[0]
        return f"{_REPOSITORY}/{self._engine.identity}:{content}"

    def log(self, ref: str) -> Path:
        """One file for each ref, appended to: an identical build replays the earlier output."""
        return self._folder / f"{ref.partition(':')[0]}.log"

    def exclusive(self, ref: str) -> threading.Lock:
        """Hold it while the image of `ref` is made or removed."""
        with self._lock:
            return self._locks.setdefault(ref, threading.Lock())

    def find(self, ref: str) -> BuiltImage | None:
        try:
            details = self._engine.api.inspect_image(self.tag(ref))
        except docker.errors.ImageNotFound:
            return None
        return BuiltImage(details["Size"], details["Config"].get("Entrypoint") or [])

    def build(self, ref: str, dockerfile: str, context_hashes: Sequence[str]) -> BuiltImage:
        """The image of that ref, built unless it exists. Raises `ImageBuildFailed`."""
        options = ["--platform=linux/amd64"] if self._engine.architecture == "amd64" else []
        if self._ca_bundle:
            options += ["--secret", f"id=ca_bundle,src={self._ca_bundle}"]
        return self._make(ref, options, dockerfile, context_hashes)

    def pull(self, ref: str, image: str) -> BuiltImage:
        """The pushed image with one more label, so that nothing stays without a label."""
        return self._make(ref, [], f"FROM {image}\n", [])

    def _make(
        self, ref: str, options: Sequence[str], dockerfile: str, context_hashes: Sequence[str]
    ) -> BuiltImage:
        if existing_image := self.find(ref):
            return existing_image
        command = [
            # The engine's own builder, whichever one the user works with: it has the base image.
            *(self._docker, "buildx", "build", "--builder", "default", "--progress=plain"),
            *("--load", "--provenance=false", "--tag", self.tag(ref)),
            *(f"--label={name}={value}" for name, value in self._engine.labels.items()),
            *options,
            "-",  # the context comes on stdin
        ]
        with self.log(ref).open("a", encoding="utf-8") as log:
            self._run(command, _ContextFeed(self._storage, dockerfile, context_hashes, log), log)
        if built_image := self.find(ref):
            return built_image
        raise ImageBuildFailed("the image vanished")

    def remove(self, ref: str) -> None:
        with suppress(docker.errors.APIError):
            self._engine.api.remove_image(self.tag(ref), force=True)

    def stop(self) -> None:
        with self._lock:
            builds = list(self._builds)
        for build in builds:
            build.let_go()

    def _run(self, command: list[str], feed: _ContextFeed, log: IO[str]) -> None:
        build = LeashedProcess(
            command,
            environment=self._engine.cli_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with self._lock:
            self._builds.add(build)
        raw_lines: list[str] = []
        try:
            feeder = threading.Thread(target=feed.write_into, args=(build,), daemon=True)
            feeder.start()
            for line in build_log.convert(_read_lines(build, raw_lines)):
                log.write(line + "\n")
                log.flush()
            status = build.process.wait()
            feeder.join(5)
        finally:
            with self._lock:
                self._builds.discard(build)
            build.end()
            if build.process.stdout:
                build.process.stdout.close()
        if feed.error:
            log.write(f"ERROR: {feed.error}\n")
            raise ImageBuildFailed(feed.error)
        if status:
            reason = build_log.failure_reason(raw_lines)
            raise ImageBuildFailed(reason or f"the builder ended with status {status}")


def _read_lines(build: LeashedProcess, raw_lines: list[str]) -> Iterator[str]:
    """The builder's output, kept in `raw_lines` as well."""
    for raw_line in build.process.stdout or ():
        line = raw_line.decode(errors="replace").rstrip("\n")
        raw_lines.append(line)
        yield line


class _ContextFeed:
    """Writes the context into the builder's stdin. `error` says why it could not."""

    def __init__(
        self, storage: ObjectStorage, dockerfile: str, context_hashes: Sequence[str], log: IO[str]
    ) -> None:
        self._storage = storage
        self._dockerfile = dockerfile
        self._context_hashes = context_hashes
        self._log = log
        self.error = ""

    def write_into(self, build: LeashedProcess) -> None:
        if (stdin := build.process.stdin) is None:
            raise StandInError("the builder has no standard input")
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
                build.let_go()
            with suppress(BrokenPipeError):
                stdin.close()

    def _contexts(self) -> Iterator[tuple[str, IO[bytes]]]:
        for digest in self._context_hashes:
            with self._storage.open_context(digest) as stream:
                if stream is None:
                    raise FileNotFoundError(f"The specified key does not exist: {digest}")
                yield digest, stream

    def _warn(self, text: str) -> None:
        self._log.write(f"warning: {text}\n")
