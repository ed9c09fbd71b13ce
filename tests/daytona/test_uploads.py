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
from tasks.daytona.storage import client, upload
from tasks.daytona.storage.upload import PIECE
from tests.daytona.conftest import part
from tests.support.bucket import Bucket
from tests.support.proxy import FaultyProxy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tasks.build.archive import Part
    from tasks.daytona.transfer import TransferReport
    from tests.daytona.conftest import PublishingBench, Rounds

    Show = Callable[[str, object], None]


def parts(bench: PublishingBench, *sizes: int) -> list[Part]:
    return [part(bench.folder, os.urandom(size)) for size in sizes]


def objects(bench: PublishingBench) -> dict[str, int]:
    return dict(bench.stand_in.state()["uploads"]["objects"])


def arrived(bench: PublishingBench, sent_parts: list[Part]) -> bool:
    proxy = {key.split("/")[1]: size for key, size in objects(bench).items()}
    return all(proxy.get(p.digest) == p.bytes for p in sent_parts)


def bytes_received(bench: PublishingBench) -> int:
    return int(bench.stand_in.state()["uploads"]["received"])


def test_an_upload_does_not_send_existing_parts_again(bench: PublishingBench) -> None:
    sent_parts = parts(bench, 0, 1000, PIECE, 2 * PIECE + 1)
    first = bench.upload(*sent_parts)
    assert (first.parts, first.reused, first.bytes_sent) == (4, 0, first.total)
    assert arrived(bench, sent_parts)
    earlier_bytes = bytes_received(bench)
    second_report = bench.upload(*sent_parts)
    assert (second_report.reused, second_report.bytes_sent) == (4, 0)
    assert bytes_received(bench) == earlier_bytes


def test_an_upload_sends_two_equal_parts_once(bench: PublishingBench) -> None:
    (sent_parts,) = parts(bench, 1000)
    assert bench.upload(sent_parts, sent_parts).parts == 1


def test_an_upload_sends_only_the_new_part(bench: PublishingBench) -> None:
    old = parts(bench, 5000, 6000)
    bench.upload(*old)
    (new,) = parts(bench, 700)
    report = bench.upload(*old, new)
    assert (report.reused, report.bytes_sent) == (2, 700)


def test_an_upload_arrives_as_it_was_sent(bench: PublishingBench) -> None:
    (sent_part,) = parts(bench, 2 * PIECE + 12345)
    bench.upload(sent_part)
    bucket = Bucket.connect(url=bench.stand_in.url, key=bench.stand_in.key)
    assert bucket.read(sent_part.digest) == sent_part.path.read_bytes()


@pytest.mark.case("F16")
def test_a_broken_connection_costs_one_piece(
    bench: PublishingBench, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    """At a random byte of a random piece."""
    piece = 5 << 20  # S3 takes no smaller ones
    monkeypatch.setattr(upload, "PIECE", piece)

    def strike(rng: random.Random) -> TransferReport:
        (sent_part,) = parts(bench, piece + rng.randrange(1, piece // 4))
        earlier_bytes = bytes_received(bench)
        bench.stand_in.fault("upload-cut", count=rng.randrange(piece), skip=rng.randrange(2))
        report = bench.upload(sent_part)
        assert arrived(bench, [sent_part])
        # What was cut did not count; nothing else was sent twice.
        assert bytes_received(bench) - earlier_bytes == sent_part.bytes
        return report

    report = rounds(strike, workers=1)
    show("the connection to the storage breaks after N bytes", f"uploaded: {report[0]}")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_storage_is_asked_again(bench: PublishingBench, status: int, show: Show) -> None:
    sent_parts = parts(bench, 1000, 2 * PIECE)
    bench.stand_in.fault("upload-status", status=status, times=3)
    report = bench.upload(*sent_parts)
    assert arrived(bench, sent_parts)
    show(f"the storage answers {status} three times", f"uploaded: {report}")


@pytest.mark.case("F17")
@pytest.mark.parametrize("status", [401, 403, 413])
def test_a_refusal_of_the_storage_is_reported_once(
    bench: PublishingBench, status: int, show: Show
) -> None:
    bench.stand_in.fault("upload-status", status=status, times=-1)
    (sent_parts,) = parts(bench, 1000)
    with pytest.raises(RemoteFailed) as caught:
        bench.upload(sent_parts)
    assert str(status) in str(caught.value)
    assert [f["struck"] for f in bench.stand_in.faults()] == [1]
    show(f"the storage answers {status}", caught.value)


@pytest.mark.case("F18")
def test_a_slow_storage_is_waited_for(
    bench: PublishingBench, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    """A piece may take longer than the limit on silence, as long as it moves."""
    access = bench.api.uploads.storage_access()
    (sent_parts,) = parts(bench, 4_000_000)
    with FaultyProxy(urlsplit(access.url).netloc) as proxy:
        proxy.rate = 1_000_000
        # Signed for that host and no other.
        slow = replace(access, url=f"http://{proxy.host}")
        monkeypatch.setattr(bench.api.uploads, "storage_access", lambda: slow)
        monkeypatch.setattr(client, "CONNECT", 0.5)
        start = time.monotonic()
        bench.upload(sent_parts)
        seconds = time.monotonic() - start
        assert seconds > 3, "it was not slow: this test proves nothing"
        assert proxy.asked("PUT") == 1
    assert arrived(bench, [sent_parts])
    show(
        "the storage takes in a part slowly", f"uploaded after {seconds:.0f} s, nothing sent twice"
    )


@pytest.mark.parametrize(
    "fault", [{"kind": "upload-status", "status": 503}, {"kind": "upload-cut"}]
)
def test_a_failed_upload_leaves_nothing_open(
    bench: PublishingBench, fault: dict[str, Any], show: Show
) -> None:
    """The bench finds no incomplete upload; what is whole stays for the next time."""
    sent_parts = parts(bench, 1000, 3 * PIECE)
    bench.upload(sent_parts[0])
    bench.stand_in.fault(skip=1, times=-1, **fault)
    with pytest.raises(RemoteFailed) as caught:
        bench.upload(*sent_parts)
    assert bench.stand_in.state()["uploads"]["incomplete"] == {}
    bench.stand_in.clear_faults()
    report = bench.upload(*sent_parts)
    assert report.reused == 1
    assert arrived(bench, sent_parts)
    show(f"{fault['kind'].replace('-', ' ')} in mid-upload, for ever", caught.value)


UPLOADER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from tasks.build.archive import Part
    from tasks.daytona import api, transfer
    from tasks.daytona.storage import upload
    path = Path(sys.argv[1])
    part = Part(path.stem, path, path.stat().st_size, "made up")
    daytona = api.connect()
    real = transfer.TransferProgress.add
    def add(self, count):
        real(self, count)
        print(self.bytes_sent, flush=True)
        import time; time.sleep(3)
    transfer.TransferProgress.add = add
    upload.upload([part], daytona.uploads.storage_access, unfinished=Path(sys.argv[2]))
""")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_upload_leaves_nothing_open(
    bench: PublishingBench, signum: signal.Signals, show: Show
) -> None:
    """After SIGKILL, which nobody can act on, the next run takes it back."""
    (sent_parts,) = parts(bench, 3 * PIECE)
    child = subprocess.Popen(
        [sys.executable, "-c", UPLOADER, str(sent_parts.path), str(bench.folder / "uploads")],
        cwd=project.ROOT,
        env={**os.environ, "PYTHONPATH": str(project.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout
    assert child.stdout.readline()
    start = time.monotonic()
    child.send_signal(signum)
    child.communicate(timeout=30)
    assert time.monotonic() - start < 5
    if signum == signal.SIGKILL:
        assert bench.stand_in.state()["uploads"]["incomplete"]
        bench.upload(*parts(bench, 10))
    waiting.until(
        lambda: not bench.stand_in.state()["uploads"]["incomplete"],
        what="the end of the open upload",
        timeout=30,
    )
    show(f"{signum.name} in mid-upload", "ended at once; the next run goes on with the next part")


def test_an_upload_of_any_size_needs_the_same_memory(bench: PublishingBench) -> None:
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
    from tasks.build.archive import Part
    from tasks.daytona import api
    from tasks.daytona.storage import upload
    path = Path(sys.argv[1])
    part = Part(path.stem, path, path.stat().st_size, "made up")
    upload.upload([part], api.connect().uploads.storage_access, unfinished=Path(sys.argv[2]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
""")
