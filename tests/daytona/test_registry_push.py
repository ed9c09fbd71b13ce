"""Pushing: F13 to F18, against the stand-in's real registry behind a proxy that misbehaves."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.retry import DEFAULT, Policy, RemoteFailed
from tasks.daytona.registry import blob_upload, push
from tasks.daytona.registry.client import PushTarget
from tasks.daytona.registry.layers import CONFIG_TYPE, ImageBlob
from tests.support.proxy import FaultyProxy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from tests.daytona.conftest import PublishingBench, Rounds

    Show = Callable[[str, object], None]

QUICK = Policy(attempts=5, base=0.1, cap=0.5)
#: A push of one layer: HEAD twice, POST, PATCH, PUT twice, the manifest's PUT.
REQUESTS = 9

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Pusher:
    """Pushes made-up images, each into a repository of its own, each through its own proxy."""

    def __init__(self, bench: PublishingBench) -> None:
        self._access = bench.api.uploads.registry_access()
        self._folder = bench.folder
        self._numbers = itertools.count()

    @contextmanager
    def proxy(self, *, rate: int = 0) -> Iterator[tuple[FaultyProxy, PushTarget]]:
        access = self._access
        name = f"{access.project}/t-{os.getpid()}-{time.time_ns()}-{next(self._numbers)}"
        with FaultyProxy(access.registry) as proxy:
            proxy.rate = rate
            yield (
                proxy,
                PushTarget(
                    registry=proxy.host,
                    repository=name,
                    username=access.username,
                    secret=access.secret,
                ),
            )

    def blob(self, size: int, media: str = LAYER) -> ImageBlob:
        content = os.urandom(size)
        digest = hashlib.sha256(content).hexdigest()
        path = self._folder / digest
        path.write_bytes(content)
        return ImageBlob(digest=f"sha256:{digest}", bytes=size, path=path, media_type=media)

    def push(self, target: PushTarget, *layers: ImageBlob, **options: Any) -> push.ImagePush:
        config = options.pop("config", None) or self.blob(100, CONFIG_TYPE)
        arguments = {"policy": QUICK, "notes": self._folder / "uploads", **options}
        return push.send(config, list(layers), target, tag="t", **arguments)


@pytest.fixture
def pusher(bench: PublishingBench) -> Pusher:
    return Pusher(bench)


def test_a_push_does_not_send_existing_blobs_again(pusher: Pusher) -> None:
    with pusher.proxy() as (proxy, target):
        layers = [pusher.blob(blob_upload.CHUNK + 5), pusher.blob(10)]
        config = pusher.blob(100, CONFIG_TYPE)
        first = pusher.push(target, *layers, config=config)
        assert first.report.reused == 0
        earlier_bytes = proxy.received
        second_push = pusher.push(target, *layers, config=config)
        assert second_push.report.reused == 3
        assert second_push.digest == first.digest
        assert proxy.received - earlier_bytes < 2000  # the manifest


@pytest.mark.case("F13")
def test_a_push_survives_503_three_times(pusher: Pusher, rounds: Rounds, show: Show) -> None:
    """At any request of a push, with the pauses that users have; `docker push` takes 53 s."""

    def strike(rng: random.Random) -> float:
        with pusher.proxy() as (proxy, target):
            proxy.answer(503, times=3, after=rng.randrange(REQUESTS))
            start = time.monotonic()
            pusher.push(target, pusher.blob(1000), policy=DEFAULT)
            return time.monotonic() - start

    seconds = rounds(strike)
    assert max(seconds) < 53 / 3
    show("the registry answers 503 three times, then well", f"pushed after {max(seconds):.0f} s")


@pytest.mark.case("F14")
def test_a_push_gives_up_on_503_for_ever(pusher: Pusher, rounds: Rounds, show: Show) -> None:
    def strike(rng: random.Random) -> RemoteFailed:
        with pusher.proxy() as (proxy, target):
            requests_before = rng.randrange(REQUESTS - 1)
            proxy.answer(503, times=-1, after=requests_before)
            with pytest.raises(RemoteFailed) as caught:
                pusher.push(target, pusher.blob(1000))
            # And, where a layer had been begun, the one that takes it back.
            assert proxy.asked() - requests_before in {QUICK.attempts, QUICK.attempts + 1}
            assert (caught.value.kind, caught.value.passing) == ("transient", True)
            assert caught.value.exit_status == 75
            # Not even what was begun could be taken back: the next push there does it.
            proxy.faults.clear()
            pusher.push(target, pusher.blob(10))
        return caught.value

    show("the registry answers 503 for ever", rounds(strike)[0])


@pytest.mark.case("F15")
def test_a_push_waits_as_429_asks(pusher: Pusher, rounds: Rounds, show: Show) -> None:
    """Twice, two seconds each, at any request."""

    def strike(rng: random.Random) -> None:
        with pusher.proxy() as (proxy, target):
            position = rng.randrange(REQUESTS)
            proxy.answer(429, times=2, after=position, Retry_After="2")
            pusher.push(target, pusher.blob(1000))
            times = [moment for moment, _ in proxy.requests][position : position + 3]
            assert all(second - first >= 2 for first, second in itertools.pairwise(times))

    start = time.monotonic()
    rounds(strike)
    seconds = time.monotonic() - start
    show("the registry answers 429, Retry-After 2, twice", f"pushed after {seconds:.0f} s")


@pytest.mark.case("F16")
def test_a_broken_connection_costs_one_layer(
    bench: PublishingBench,
    pusher: Pusher,
    rounds: Rounds,
    monkeypatch: pytest.MonkeyPatch,
    show: Show,
) -> None:
    """At any byte of any piece; what is there of it already counts, or is sent anew."""
    chunk = 256 * 1024
    monkeypatch.setattr(blob_upload, "CHUNK", chunk)

    def strike(rng: random.Random) -> None:
        with pusher.proxy() as (proxy, target):
            layers = [pusher.blob(1000), pusher.blob(2 * chunk + 17)]
            # Pieces: the small layer's, three of the large one, the config's.
            at, cut = rng.randrange(5), rng.randrange(chunk)
            proxy.cut("PATCH", cut, after=at)
            image = pusher.push(target, *layers)
            total = layers[0].bytes + layers[1].bytes + 100
            assert image.report.bytes_sent == total
            total_bytes = total + 2000  # the manifest
            once_more = layers[1].bytes if at in {1, 2, 3} else 1000
            assert total_bytes - 2000 <= proxy.received <= total_bytes + once_more + cut
            # Layers that are there are not begun again.
            assert proxy.asked("POST") <= 3 + 1
            second_push = proxy.received
            assert pusher.push(target, *layers).report.reused == 2
            assert proxy.received - second_push < 3000

    rounds(strike)
    bench.halves = rounds.count
    show("the connection to the registry breaks after N bytes", "pushed; that layer alone again")


@pytest.mark.case("F17")
@pytest.mark.parametrize(
    ("status", "kind", "method"),
    [
        (401, "auth", "HEAD"),
        (403, "scope", "HEAD"),
        (413, "rejected", "HEAD"),
        (404, "not-found", "POST"),  # asked by HEAD, it only says that a layer is missing
        (400, "rejected", "POST"),
        (413, "rejected", "PATCH"),
    ],
)
def test_a_permanent_refusal_of_the_registry_is_not_asked_again(
    pusher: Pusher, status: int, kind: str, method: str, show: Show
) -> None:
    with pusher.proxy() as (proxy, target):
        proxy.answer(status, times=-1, method=method)
        with pytest.raises(RemoteFailed) as caught:
            pusher.push(target, pusher.blob(1000))
        assert caught.value.kind == kind
        assert proxy.asked(method) == 1
        assert (status, caught.value.exit_status) == (caught.value.status, 1)
        assert target.secret not in str(caught.value)
    show(f"the registry answers {status} to {method}", caught.value)


def test_a_refused_layer_is_taken_back_over_a_new_connection(pusher: Pusher, show: Show) -> None:
    """Who refuses a layer often closes the connection, which shows when it is used again."""
    with pusher.proxy() as (proxy, target):
        proxy.answer(413, times=-1, method="PATCH")
        proxy.faults.append(  # the first goes unanswered
            lambda handler: handler.command == "DELETE" and proxy.asked("DELETE") == 1
        )
        with pytest.raises(RemoteFailed) as caught:
            pusher.push(target, pusher.blob(1000))
        assert caught.value.status == 413
        assert proxy.asked("DELETE") == 2
    show("the registry refuses a layer and hangs up", caught.value)


@pytest.mark.case("F18")
def test_a_silent_registry_is_given_up_on(pusher: Pusher, rounds: Rounds, show: Show) -> None:
    def strike(_: random.Random) -> RemoteFailed:
        with pusher.proxy() as (proxy, target):
            proxy.silent()
            start = time.monotonic()
            with pytest.raises(RemoteFailed) as caught:
                pusher.push(target, pusher.blob(10), timeout=(2.0, 0.5))
            assert caught.value.kind == "network"
            assert time.monotonic() - start < 20
            return caught.value

    show("the registry says nothing", rounds(strike)[0])


@pytest.mark.case("F18")
def test_a_registry_that_answers_slowly_is_waited_for(pusher: Pusher, show: Show) -> None:
    """The limit is on silence: a reply may take longer than that, byte by byte."""
    with pusher.proxy() as (proxy, target):
        proxy.drip = 0.008
        start = time.monotonic()
        pusher.push(target, pusher.blob(10), timeout=(1.0, 1.0))
        seconds = time.monotonic() - start
        assert seconds > 2
        assert proxy.asked() == REQUESTS
    show("the registry answers byte by byte", f"pushed after {seconds:.0f} s, nothing sent twice")


@pytest.mark.case("F18")
def test_a_registry_that_reads_slowly_is_waited_for(pusher: Pusher, show: Show) -> None:
    """The same of what is sent: a piece may take longer than the limit, as long as it moves."""
    with pusher.proxy(rate=1_000_000) as (proxy, target):
        start = time.monotonic()
        pusher.push(target, pusher.blob(4_000_000), timeout=(0.5, 30.0))
        seconds = time.monotonic() - start
        assert seconds > 3, "it was not slow: this test proves nothing"
        assert proxy.asked() == REQUESTS
    show(
        "the registry takes in a layer slowly", f"pushed after {seconds:.0f} s, nothing sent twice"
    )
