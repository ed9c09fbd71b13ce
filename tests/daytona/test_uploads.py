"""Parts: sent once, in pieces, and taken back when it comes to nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tasks.base import project, waiting
from tasks.base.retry import RemoteFailed
from tasks.daytona import upload
from tasks.daytona.upload import PIECE
from tests.daytona.conftest import part
from tests.support.bucket import Bucket
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.daytona.conftest import Bench, File, Rounds

    Show = Callable[[str, object], None]


def parts(bench: Bench, *sizes: int) -> list[File]:
    return [part(bench.folder, os.urandom(size)) for size in sizes]


def objects(bench: Bench) -> dict[str, int]:
    return dict(bench.stand_in.state()["uploads"]["objects"])


def arrived(bench: Bench, wanted: list[File]) -> bool:
    there = {key.split("/")[1]: size for key, size in objects(bench).items()}
    return all(there.get(p.digest) == p.bytes for p in wanted)


def received(bench: Bench) -> int:
    return int(bench.stand_in.state()["uploads"]["received"])


def test_what_is_there_is_not_sent_again(bench: Bench) -> None:
    mine = parts(bench, 0, 1000, PIECE, 2 * PIECE + 1)
    first = bench.upload(*mine)
    assert (first.parts, first.reused, first.sent) == (4, 0, first.total)
    assert arrived(bench, mine)
    received = bench.stand_in.state()["uploads"]["received"]
    again = bench.upload(*mine)
    assert (again.reused, again.sent) == (4, 0)
    assert bench.stand_in.state()["uploads"]["received"] == received


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
    bucket = Bucket.connect(url=bench.stand_in.url, key=bench.stand_in.key)
    assert bucket.read(mine.digest) == mine.path.read_bytes()


@pytest.mark.case("F16")
def test_a_connection_that_breaks_costs_one_piece(
    bench: Bench, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    """At a random byte of a random piece."""
    piece = 5 << 20  # S3 takes no smaller ones
    monkeypatch.setattr(upload, "PIECE", piece)

    def one(rng: random.Random) -> upload.Uploaded:
        (mine,) = parts(bench, piece + rng.randrange(1, piece // 4))
        before = received(bench)
        bench.stand_in.fault("upload-cut", count=rng.randrange(piece), skip=rng.randrange(2))
        said = bench.upload(mine)
        assert arrived(bench, [mine])
        # What was cut did not count; nothing else was sent twice.
        assert received(bench) - before == mine.bytes
        return said

    said = rounds(one, workers=1)
    show("the connection to the storage breaks after N bytes", f"uploaded: {said[0]}")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_storage_is_asked_again(bench: Bench, status: int, show: Show) -> None:
    mine = parts(bench, 1000, 2 * PIECE)
    bench.stand_in.fault("upload-status", status=status, times=3)
    said = bench.upload(*mine)
    assert arrived(bench, mine)
    show(f"the storage answers {status} three times", f"uploaded: {said}")


@pytest.mark.case("F17")
@pytest.mark.parametrize("status", [401, 403, 413])
def test_a_refusal_is_said_once(bench: Bench, status: int, show: Show) -> None:
    bench.stand_in.fault("upload-status", status=status, times=-1)
    (mine,) = parts(bench, 1000)
    with pytest.raises(RemoteFailed) as caught:
        bench.upload(mine)
    assert str(status) in str(caught.value)
    assert [f["struck"] for f in bench.stand_in.faults()] == [1]
    show(f"the storage answers {status}", caught.value)


@pytest.mark.case("F18")
def test_a_storage_that_takes_in_slowly_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    """A piece may take longer than the limit on silence, as long as it moves."""
    access = bench.api.storage_access()
    (mine,) = parts(bench, 4_000_000)
    with Proxy(urlsplit(access.url).netloc) as there:
        there.rate = 1_000_000
        # Signed for that host and no other.
        slow = replace(access, url=f"http://{there.host}")
        monkeypatch.setattr(bench.api, "storage_access", lambda: slow)
        monkeypatch.setattr(upload, "_CONNECT", 0.5)
        begun = time.monotonic()
        bench.upload(mine)
        took = time.monotonic() - begun
        assert took > 3, "it was not slow: this test proves nothing"
        assert there.asked("PUT") == 1
    assert arrived(bench, [mine])
    show("the storage takes in a part slowly", f"uploaded after {took:.0f} s, nothing sent twice")


@pytest.mark.parametrize(
    "fault", [{"kind": "upload-status", "status": 503}, {"kind": "upload-cut"}]
)
def test_when_it_comes_to_nothing_nothing_is_left(
    bench: Bench, fault: dict[str, Any], show: Show
) -> None:
    """The bench finds no incomplete upload; what is whole stays for the next time."""
    mine = parts(bench, 1000, 3 * PIECE)
    bench.upload(mine[0])
    bench.stand_in.fault(skip=1, times=-1, **fault)
    with pytest.raises(RemoteFailed) as caught:
        bench.upload(*mine)
    assert bench.stand_in.state()["uploads"]["incomplete"] == {}
    bench.stand_in.clear_faults()
    said = bench.upload(*mine)
    assert said.reused == 1
    assert arrived(bench, mine)
    show(f"{fault['kind'].replace('-', ' ')} in mid-upload, for ever", caught.value)


UPLOADER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from tasks.daytona import adapter, upload
    from tests.daytona.conftest import File
    path = Path(sys.argv[1])
    mine = File(path.stem, path, path.stat().st_size)
    api = adapter.connect()
    real = upload._Progress.add
    def add(self, count):
        real(self, count)
        print(self.sent, flush=True)
        import time; time.sleep(3)
    upload._Progress.add = add
    upload.upload([mine], api.storage_access, unfinished=Path(sys.argv[2]))
""")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_leaves_no_open_upload(
    bench: Bench, signum: signal.Signals, show: Show
) -> None:
    """After SIGKILL, which nobody can act on, the next run takes it back."""
    (mine,) = parts(bench, 3 * PIECE)
    child = subprocess.Popen(
        [sys.executable, "-c", UPLOADER, str(mine.path), str(bench.folder / "uploads")],
        cwd=project.ROOT,
        env={**os.environ, "PYTHONPATH": str(project.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout
    assert child.stdout.readline()
    begun = time.monotonic()
    child.send_signal(signum)
    child.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    if signum == signal.SIGKILL:
        assert bench.stand_in.state()["uploads"]["incomplete"]
        bench.upload(*parts(bench, 10))
    waiting.until(
        lambda: not bench.stand_in.state()["uploads"]["incomplete"],
        what="the end of the open upload",
        timeout=30,
    )
    show(f"{signum.name} in mid-upload", "ended at once; the next run goes on with the next part")


def test_memory_stays_flat(bench: Bench) -> None:
    """300 MB more cost no more than the pieces that are under way."""
    peaks = {}
    for megabytes in (20, 320):
        path = bench.folder / f"{megabytes}.tar"
        with path.open("wb") as file:
            file.truncate(megabytes * 1_000_000)
        arguments = [sys.executable, "-c", MEASURED, str(path), str(bench.folder / "uploads")]
        environment = {**os.environ, "PYTHONPATH": str(project.ROOT)}
        child = subprocess.run(
            arguments, cwd=project.ROOT, env=environment, check=True, capture_output=True
        )
        peaks[megabytes] = int(child.stdout)
    assert peaks[320] - peaks[20] < 60_000, peaks  # kB


MEASURED = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    from tasks.daytona import adapter, upload
    from tests.daytona.conftest import File
    path = Path(sys.argv[1])
    mine = File(path.stem, path, path.stat().st_size)
    upload.upload([mine], adapter.connect().storage_access, unfinished=Path(sys.argv[2]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
""")
