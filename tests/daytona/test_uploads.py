"""Parts: sent once, in pieces, and taken back when it comes to nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

from tasks import settings, waiting
from tasks.retry import RemoteFailed
from tasks.upload import PIECE
from tests.daytona.conftest import part

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.daytona.conftest import Bench, File

    Show = Callable[[str, object], None]


def parts(bench: Bench, *sizes: int) -> list[File]:
    return [part(bench.folder, os.urandom(size)) for size in sizes]


def objects(bench: Bench) -> dict[str, int]:
    return dict(bench.stand_in.storage.state()["objects"])


def arrived(bench: Bench, wanted: list[File]) -> bool:
    there = {key.split("/")[1]: size for key, size in objects(bench).items()}
    return all(there.get(p.digest) == p.bytes for p in wanted)


def test_what_is_there_is_not_sent_again(bench: Bench) -> None:
    mine = parts(bench, 0, 1000, PIECE, 2 * PIECE + 1)
    first = bench.upload(*mine)
    assert (first.parts, first.reused, first.sent) == (4, 0, first.total)
    assert arrived(bench, mine)
    received = bench.stand_in.storage.state()["received"]
    again = bench.upload(*mine)
    assert (again.reused, again.sent) == (4, 0)
    assert bench.stand_in.storage.state()["received"] == received


def test_twice_the_same_part_is_sent_once(bench: Bench) -> None:
    (mine,) = parts(bench, 1000)
    assert bench.upload(mine, mine).parts == 1


def test_a_new_part_alone_is_sent(bench: Bench) -> None:
    old = parts(bench, 5000, 6000)
    bench.upload(*old)
    (new,) = parts(bench, 700)
    said = bench.upload(*old, new)
    assert (said.reused, said.sent) == (2, 700)


def test_what_arrives_is_what_was_sent(bench: Bench) -> None:
    (mine,) = parts(bench, 2 * PIECE + 12345)
    bench.upload(mine)
    with bench.stand_in.storage.context(mine.digest) as there:
        assert there
        assert there.read() == mine.path.read_bytes()


@pytest.mark.parametrize("seed", range(5))
def test_a_connection_that_breaks_costs_one_piece(bench: Bench, seed: int) -> None:
    """F16: at a random byte of a random piece."""
    rng = random.Random(seed)  # noqa: S311
    (mine,) = parts(bench, 3 * PIECE)
    before = bench.stand_in.storage.state()["received"]
    bench.stand_in.fault("upload-cut", count=rng.randrange(PIECE), after=rng.randrange(3))
    bench.upload(mine)
    assert arrived(bench, [mine])
    # What was cut did not count; nothing else was sent twice.
    assert bench.stand_in.storage.state()["received"] - before == mine.bytes


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_storage_is_asked_again(bench: Bench, status: int) -> None:
    mine = parts(bench, 1000, 2 * PIECE)
    bench.stand_in.fault("upload-status", status=status, times=3)
    bench.upload(*mine)
    assert arrived(bench, mine)


def test_a_refusal_is_said_once(bench: Bench, show: Show) -> None:
    """F17."""
    bench.stand_in.fault("upload-status", status=403, times=-1)
    (mine,) = parts(bench, 1000)
    with pytest.raises(RemoteFailed) as caught:
        bench.upload(mine)
    show("F17 403 of the storage", caught.value)


@pytest.mark.parametrize(
    "fault", [{"kind": "upload-status", "status": 503}, {"kind": "upload-cut"}]
)
def test_when_it_comes_to_nothing_nothing_is_left(
    bench: Bench, fault: dict[str, Any], show: Show
) -> None:
    """The teardown finds no incomplete upload; what is whole stays for the next time."""
    mine = parts(bench, 1000, 3 * PIECE)
    bench.upload(mine[0])
    bench.stand_in.fault(after=1, times=-1, **fault)
    with pytest.raises(RemoteFailed) as caught:
        bench.upload(*mine)
    assert bench.stand_in.storage.state()["incomplete"] == {}
    bench.stand_in.clear_faults()
    said = bench.upload(*mine)
    assert said.reused == 1
    assert arrived(bench, mine)
    show(f"dropped in mid-upload, for ever ({fault['kind']})", caught.value)


UPLOADER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from tasks import daytona, upload
    from tests.daytona.conftest import File
    path = Path(sys.argv[1])
    mine = File(path.stem, path, path.stat().st_size)
    api = daytona.connect()
    real = upload._Progress.add
    def add(self, count):
        real(self, count)
        print(self.sent, flush=True)
        import time; time.sleep(3)
    upload._Progress.add = add
    upload.upload([mine], api.storage_access, unfinished=Path(sys.argv[2]))
""")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_leaves_no_open_upload(bench: Bench, signum: signal.Signals) -> None:
    """After SIGKILL, which nobody can act on, the next run takes it back."""
    (mine,) = parts(bench, 3 * PIECE)
    child = subprocess.Popen(
        [sys.executable, "-c", UPLOADER, str(mine.path), str(bench.folder / "uploads")],
        cwd=settings.ROOT,
        env={**os.environ, "PYTHONPATH": str(settings.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout
    assert child.stdout.readline()
    begun = time.monotonic()
    child.send_signal(signum)
    child.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    if signum == signal.SIGKILL:
        assert bench.stand_in.storage.state()["incomplete"]
        bench.upload(*parts(bench, 10))
    waiting.until(
        lambda: not bench.stand_in.storage.state()["incomplete"],
        what="the end of the open upload",
        timeout=5,
    )
