"""Publishing and sandboxes against the stand-in, with faults; and what each test leaves behind."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import secrets
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import retry, waiting
from tasks.build.archive import Part
from tasks.daytona import content, naming
from tasks.daytona.api import Daytona
from tasks.daytona.credentials import LOOPBACK_VARIABLE, read_credentials
from tasks.daytona.ensure import SnapshotOrder, ensure_active
from tasks.daytona.storage.upload import upload
from tests.support import standin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tasks.daytona.ensure import ActiveSnapshot
    from tasks.daytona.snapshot import Snapshot
    from tasks.daytona.transfer import TransferReport
    from tests.support.standin import SnapshotView, StandInClient

#: As little of a sandbox as a machine can run: the suite proper has the real one.
DOCKERFILE = 'FROM debian:trixie-slim\nENTRYPOINT ["sleep", "infinity"]\n'
#: Impatient, so that a fault that lasts is given up on in a second.
POLICY = retry.Policy(attempts=5, base=0.05, cap=0.3)
#: The identity of a snapshot that is always there: what has its content needs no build.
BASE = hashlib.sha256(b"base").hexdigest()
_BASE_NAME = "base"
#: How often a fault strikes at another moment; `--rounds` says otherwise.
ROUNDS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="replay the moments of an earlier run")
    parser.addoption("--rounds", type=int, default=ROUNDS, help="of each fault at random moments")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = secrets.randbelow(2**32)  # workers get it from here


def pytest_report_header(config: pytest.Config) -> str:
    rounds, seed = config.getoption("--rounds"), config.getoption("--seed")
    return f"{rounds} rounds of each fault at random moments; replay with --seed {seed}"


class Rounds:
    """The same fault at so many random moments, all at once: most of the time is waiting."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed

    def __call__(self, strike: Callable[[random.Random], Any], *, workers: int = 20) -> list[Any]:
        """`strike` with a generator of its own, each; fails with the first round's failure."""

        def play(number: int) -> Any:
            try:
                return strike(random.Random(self.seed + number))  # noqa: S311 - replayed by its seed
            except BaseException as error:
                error.add_note(f"in round {number} of seed {self.seed}")
                raise

        with ThreadPoolExecutor(min(workers, self.count)) as pool:
            futures = [pool.submit(play, number) for number in range(self.count)]
            return [future.result() for future in futures]


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Rounds:
    name = zlib.crc32(request.node.nodeid.encode())
    return Rounds(request.config.getoption("--rounds"), request.config.getoption("--seed") ^ name)


@pytest.fixture(scope="session")
def shared() -> Iterator[StandInClient]:
    """It refuses sandboxes that are not given an end at birth (F26)."""
    with standin.running(
        transition_seconds=0.1,
        removal_seconds=0.5,
        clock_interval_seconds=0.3,
        max_snapshots=100,
        require_sandbox_end=True,
    ) as client:
        standin.create_snapshot(client, _BASE_NAME, content.mark_dockerfile(DOCKERFILE, BASE))
        waiting.until(
            lambda: client.snapshots()[_BASE_NAME].state in {"active", "error"},
            what="the base",
            timeout=60,
        )
        base = client.snapshots()[_BASE_NAME]
        assert base.state == "active", base.error
        yield client


def _snapshots(stand_in: StandInClient) -> list[SnapshotView]:
    """All of them but the base."""
    return [s for s in stand_in.snapshots().values() if s.name != _BASE_NAME]


@pytest.fixture
def stand_in(shared: StandInClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInClient]:
    """Empty and without faults; emptied for the next test once `bench` has looked at it."""
    for name, value in {**shared.environment, LOOPBACK_VARIABLE: "1"}.items():
        monkeypatch.setenv(name, value)
    shared.clear_faults()
    yield shared
    shared.clear_faults()
    standin.delete_everything(shared, except_snapshots=frozenset({_BASE_NAME}))
    waiting.until(
        lambda: not _snapshots(shared) and not shared.sandboxes(),
        what="an empty stand-in",
        timeout=30,
        state=lambda: str(shared.state()),
    )


@pytest.fixture
def api(stand_in: StandInClient) -> Iterator[Daytona]:
    credentials = read_credentials({**stand_in.environment, LOOPBACK_VARIABLE: "1"})
    connected = Daytona(credentials, policy=POLICY)
    yield connected
    connected.close()


def part(folder: Path, data: bytes) -> Part:
    """A context part of that content: a tar, as far as the builder reads it."""
    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"{digest}.tar"
    path.write_bytes(data)
    return Part(digest, path, len(data), "made up")


@dataclass
class PublishingBench:
    """What publishing a small thing takes, and what it needed of the API."""

    api: Daytona
    stand_in: StandInClient
    folder: Path
    creates: int = 0
    #: Snapshot → the states it may be in when the test is over. Nothing else may be there.
    stays: dict[str, set[str]] = field(default_factory=dict)
    #: Layers that broke off within a piece: the registry lets nobody but itself sweep those.
    halves: int = 0
    _numbers: Any = field(default_factory=itertools.count)
    _earlier_halves: int = 0

    def leaves(self, name: str, *states: str) -> None:
        """The snapshot is meant to be there afterwards, in one of these states."""
        self.stays[name] = set(states)

    def order(
        self, *, name: str | None = None, text: str = "", identity: str = "", stage: str = "dev-t"
    ) -> SnapshotOrder:
        """A snapshot that nobody has built before, unless an identity is given."""
        seed = f"{os.getpid()}-{next(self._numbers)}-{time.time_ns()}"
        identity = identity or hashlib.sha256(seed.encode()).hexdigest()
        name = name or str(naming.name_for(stage=stage, committed=0, identity=identity))
        # Another text each time, so that no layer cache takes part.
        text = (text or DOCKERFILE).replace("RUN ", f"RUN : {identity[:12]}; ")
        dockerfile = content.mark_dockerfile(text, identity)

        def create() -> Snapshot:
            self.creates += 1
            return self.api.snapshots.create_from_contexts(name, dockerfile=dockerfile, contexts=[])

        return SnapshotOrder(name=name, identity=identity, create=create, resume_command="RESUME")

    def sibling(self, *, stage: str = "dev-t") -> SnapshotOrder:
        """The base's content under another name: active as soon as it is asked for."""
        committed = next(self._numbers)
        name = naming.name_for(stage=stage, committed=committed, identity=BASE)
        return self.order(name=str(name), identity=BASE)

    def publish(
        self,
        order: SnapshotOrder,
        *,
        timeout: float = 60,
        api: Daytona | None = None,
        log: str = "build.log",
        hurry: float = 0.3,
    ) -> ActiveSnapshot:
        """`hurry`: no pause takes longer than that."""
        active = ensure_active(
            api or self.api,
            order,
            log=self.folder / log,
            timeout=timeout,
            sleep=lambda seconds: time.sleep(min(seconds, hurry)),
        )
        self.leaves(order.name, "active")
        return active

    def upload(self, *parts: Part) -> TransferReport:
        return upload(
            parts,
            self.api.uploads.storage_access,
            unfinished=self.folder / "uploads",
            policy=POLICY,
        )

    def request_count(self, pattern: str) -> int:
        return len(self.stand_in.requests(pattern))

    def remains(self) -> tuple[dict[str, Any], str]:
        """What is there and should not be; and, for people, what is meant to be there."""
        # What was deleted is carried out in the background: it has a moment.
        deadline = time.monotonic() + 60
        while (unexpected := self._unexpected()) and time.monotonic() < deadline:
            time.sleep(0.1)
        states = Counter(record.state for record in _snapshots(self.stand_in))
        text = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        summary = f"none; of snapshots, as intended: {text}" if text else "none"
        if self.halves:
            summary += "; half a layer each time, which the registry itself sweeps"
        return unexpected, summary

    def _unexpected(self) -> dict[str, Any]:
        records, state = _snapshots(self.stand_in), self.stand_in.state()
        unexpected = {
            "sandboxes": state["sandboxes"],
            "snapshots": {
                record.name: record.state
                for record in records
                if record.state not in self.stays.get(record.name, set())
            },
            "multipart uploads": state["uploads"]["incomplete"],
            "unfinished pushes": state["unfinished_pushes"][self._earlier_halves + self.halves :],
            "containers": state["containers"],
            "images": [image for image, users in state["images"].items() if not users],
            "notes of uploads": [path.name for path in self.folder.glob("uploads/*")],
        }
        return {kind: names for kind, names in unexpected.items() if names}


@pytest.fixture
def bench(
    api: Daytona, stand_in: StandInClient, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[PublishingBench]:
    """Afterwards the stand-in is asked what is left: nothing that the test did not announce."""
    stand_in.forget_requests()
    halves = len(stand_in.state()["unfinished_pushes"])
    bench = PublishingBench(api, stand_in, tmp_path, _earlier_halves=halves)
    yield bench
    stand_in.clear_faults()
    unexpected, summary = bench.remains()
    request.node.user_properties.append(("left", str(unexpected) if unexpected else summary))
    assert not unexpected
