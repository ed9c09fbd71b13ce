"""Publishing and sandboxes against the stand-in, with faults; and what each test leaves behind."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tasks import console, daytona, retry, snapshot, standin, upload
from tasks.daytona import Daytona
from tasks.publish import Publisher, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tasks.publish import Published
    from tasks.snapshot import Snapshot
    from tasks.standin import StandIn

#: As little of a sandbox as a machine can run: the suite proper has the real one.
DOCKERFILE = 'FROM debian:trixie-slim\nENTRYPOINT ["sleep", "infinity"]\n'
#: Impatient, so that a fault that lasts is given up on in a second.
POLICY = retry.Policy(attempts=5, base=0.05, cap=0.3)


ROWS = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Puts a line into the table at the end: the fault, and what the user sees of it."""
    rows = request.config.stash.setdefault(ROWS, [])
    return lambda fault, said: rows.append((fault, console.printable(str(said))))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """That nothing is left behind, each test's own teardown has checked."""
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("fault → what the user sees")
    for fault, said in rows:
        terminalreporter.write_line(f"{fault} → {said}")


@pytest.fixture(scope="session")
def shared() -> Iterator[StandIn]:
    settings = standin.Settings(pace=0.1, removal=0.5, check_every=0.3)
    with standin.running(settings) as running:
        yield running


@pytest.fixture
def stand_in(shared: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Empty and without faults; afterwards nothing but finished snapshots may be there."""
    for name, value in {**shared.environment, daytona.LOOPBACK_VARIABLE: "1"}.items():
        monkeypatch.setenv(name, value)
    shared.clear_faults()
    yield shared
    shared.clear_faults()
    state = shared.state()
    left = {
        "sandboxes": state["sandboxes"],
        "containers": state["containers"],
        "incomplete uploads": shared.storage.state()["incomplete"],
    }
    for found in list(shared.store.snapshots.values()):
        if found.state != "removing":
            shared.snapshots.delete(found)
    deadline = time.monotonic() + 20
    while shared.store.snapshots and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(left.values()), left
    assert not shared.store.snapshots


@pytest.fixture
def api(stand_in: StandIn) -> Iterator[Daytona]:
    given = daytona.credentials({**stand_in.environment, daytona.LOOPBACK_VARIABLE: "1"})
    connected = Daytona(given, policy=POLICY)
    yield connected
    connected.close()


@dataclass(frozen=True)
class File:
    digest: str
    path: Path
    bytes: int


def part(folder: Path, content: bytes) -> File:
    """A context part of that content: a tar, as far as the builder reads it."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{digest}.tar"
    path.write_bytes(content)
    return File(digest, path, len(content))


@dataclass
class Bench:
    """What publishing a small thing takes, and what it needed of the API."""

    api: Daytona
    stand_in: StandIn
    folder: Path
    numbers: Any
    creates: int = 0

    def wanted(self, *, name: str | None = None, text: str = "", identity: str = "") -> Wanted:
        """A snapshot that nobody has built before, unless an identity is given."""
        seed = f"{os.getpid()}-{next(self.numbers)}-{time.time_ns()}"
        identity = identity or hashlib.sha256(seed.encode()).hexdigest()
        name = name or str(snapshot.name_for(stage="dev-t", committed=0, identity=identity))
        # Another text each time, so that no layer cache takes part.
        text = (text or DOCKERFILE).replace("RUN ", f"RUN : {identity[:12]}; ")
        dockerfile = snapshot.marked(text, identity)

        def create() -> Snapshot:
            self.creates += 1
            return self.api.create_from_contexts(name, dockerfile=dockerfile, contexts=[])

        return Wanted(name=name, identity=identity, create=create, again="AGAIN")

    def publisher(self, *, timeout: float = 60, api: Daytona | None = None) -> Publisher:
        return Publisher(
            api or self.api, log=self.folder / "build.log", timeout=timeout,
            sleep=lambda s: time.sleep(min(s, 0.3)),
        )  # fmt: skip

    def publish(self, wanted: Wanted, *, timeout: float = 60) -> Published:
        return self.publisher(timeout=timeout).ensure(wanted)

    def upload(self, *parts: File) -> upload.Uploaded:
        return upload.upload(
            parts, self.api.storage_access, unfinished=self.folder / "uploads", policy=POLICY
        )

    def asked(self, pattern: str) -> int:
        return self.stand_in.requests.count(pattern)


@pytest.fixture
def bench(api: Daytona, stand_in: StandIn, tmp_path: Path) -> Bench:
    stand_in.requests.lines.clear()
    return Bench(api, stand_in, tmp_path, itertools.count())
