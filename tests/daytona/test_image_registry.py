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
from tasks.daytona import image_registry as registry
from tasks.daytona.image_registry import Blob, Target
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from tests.daytona.conftest import Bench, Rounds

    Show = Callable[[str, object], None]

QUICK = Policy(attempts=5, base=0.1, cap=0.5)
#: A push of one layer: HEAD twice, POST, PATCH, PUT twice, the manifest's PUT.
REQUESTS = 9

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Pusher:
    """Pushes made-up images, each into a repository of its own, each through its own proxy."""

    def __init__(self, bench: Bench) -> None:
        self._access = bench.api.registry_access()
        self._folder = bench.folder
        self._numbers = itertools.count()

    @contextmanager
    def proxy(self, *, rate: int = 0) -> Iterator[tuple[Proxy, Target]]:
        access = self._access
        name = f"{access.project}/t-{os.getpid()}-{time.time_ns()}-{next(self._numbers)}"
        with Proxy(access.registry) as made:
            made.rate = rate
            yield (
                made,
                Target(
                    registry=made.host,
                    repository=name,
                    username=access.username,
                    secret=access.secret,
                ),
            )

    def blob(self, size: int, media: str = LAYER) -> Blob:
        content = os.urandom(size)
        digest = hashlib.sha256(content).hexdigest()
        path = self._folder / digest
        path.write_bytes(content)
        return Blob(digest=f"sha256:{digest}", bytes=size, path=path, media=media)

    def push(self, target: Target, *layers: Blob, **options: Any) -> registry.Pushed:
        config = options.pop("config", None) or self.blob(100, registry._CONFIG)
        given = {"policy": QUICK, "notes": self._folder / "uploads", **options}
        return registry.send(config, list(layers), target, tag="t", **given)


@pytest.fixture
def pusher(bench: Bench) -> Pusher:
    return Pusher(bench)


def test_what_is_there_is_not_sent_again(pusher: Pusher) -> None:
    with pusher.proxy() as (there, target):
        layers = [pusher.blob(registry.CHUNK + 5), pusher.blob(10)]
        config = pusher.blob(100, registry._CONFIG)
        first = pusher.push(target, *layers, config=config)
        assert first.uploaded.reused == 0
        before = there.received
        again = pusher.push(target, *layers, config=config)
        assert again.uploaded.reused == 3
        assert again.digest == first.digest
        assert there.received - before < 2000  # the manifest


@pytest.mark.case("F13")
def test_503_three_times(pusher: Pusher, rounds: Rounds, show: Show) -> None:
    """At any request of a push, with the pauses that users have; `docker push` takes 53 s."""

    def one(rng: random.Random) -> float:
        with pusher.proxy() as (there, target):
            there.answer(503, times=3, after=rng.randrange(REQUESTS))
            begun = time.monotonic()
            pusher.push(target, pusher.blob(1000), policy=DEFAULT)
            return time.monotonic() - begun

    took = rounds(one)
    assert max(took) < 53 / 3
    show("the registry answers 503 three times, then well", f"pushed after {max(took):.0f} s")


@pytest.mark.case("F14")
def test_503_for_ever(pusher: Pusher, rounds: Rounds, show: Show) -> None:
    def one(rng: random.Random) -> RemoteFailed:
        with pusher.proxy() as (there, target):
            passed = rng.randrange(REQUESTS - 1)
            there.answer(503, times=-1, after=passed)
            with pytest.raises(RemoteFailed) as caught:
                pusher.push(target, pusher.blob(1000))
            # And, where a layer had been begun, the one that takes it back.
            assert there.asked() - passed in {QUICK.attempts, QUICK.attempts + 1}
            assert (caught.value.kind, caught.value.passing) == ("transient", True)
            assert caught.value.exit_status == 75
            # Not even what was begun could be taken back: the next push there does it.
            there.faults.clear()
            pusher.push(target, pusher.blob(10))
        return caught.value

    show("the registry answers 503 for ever", rounds(one)[0])


@pytest.mark.case("F15")
def test_429_is_waited_for(pusher: Pusher, rounds: Rounds, show: Show) -> None:
    """Twice, two seconds each, at any request."""

    def one(rng: random.Random) -> None:
        with pusher.proxy() as (there, target):
            after = rng.randrange(REQUESTS)
            there.answer(429, times=2, after=after, Retry_After="2")
            pusher.push(target, pusher.blob(1000))
            asked = [when for when, _ in there.requests][after : after + 3]
            assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(asked))

    begun = time.monotonic()
    rounds(one)
    took = time.monotonic() - begun
    show("the registry answers 429, Retry-After 2, twice", f"pushed after {took:.0f} s")


@pytest.mark.case("F16")
def test_a_reset_costs_one_piece(
    bench: Bench, pusher: Pusher, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    """At any byte of any piece; what is there of it already counts, or is sent anew."""
    chunk = 256 * 1024
    monkeypatch.setattr(registry, "CHUNK", chunk)

    def one(rng: random.Random) -> None:
        with pusher.proxy() as (there, target):
            layers = [pusher.blob(1000), pusher.blob(2 * chunk + 17)]
            # Pieces: the small layer's, three of the large one, the config's.
            at, cut = rng.randrange(5), rng.randrange(chunk)
            there.cut("PATCH", cut, after=at)
            pushed = pusher.push(target, *layers)
            total = layers[0].bytes + layers[1].bytes + 100
            assert pushed.uploaded.sent == total
            whole = total + 2000  # the manifest
            once_more = layers[1].bytes if at in {1, 2, 3} else 1000
            assert whole - 2000 <= there.received <= whole + once_more + cut
            # Layers that are there are not begun again.
            assert there.asked("POST") <= 3 + 1
            again = there.received
            assert pusher.push(target, *layers).uploaded.reused == 2
            assert there.received - again < 3000

    rounds(one)
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
def test_what_stays_is_asked_once(
    pusher: Pusher, status: int, kind: str, method: str, show: Show
) -> None:
    with pusher.proxy() as (there, target):
        there.answer(status, times=-1, method=method)
        with pytest.raises(RemoteFailed) as caught:
            pusher.push(target, pusher.blob(1000))
        assert caught.value.kind == kind
        assert there.asked(method) == 1
        assert (status, caught.value.exit_status) == (caught.value.status, 1)
        assert target.secret not in str(caught.value)
    show(f"the registry answers {status} to {method}", caught.value)


def test_a_closed_connection_does_not_keep_what_was_begun(pusher: Pusher, show: Show) -> None:
    """Who refuses a layer often closes the connection, which shows when it is used again."""
    with pusher.proxy() as (there, target):
        there.answer(413, times=-1, method="PATCH")
        there.faults.append(  # the first goes unanswered
            lambda handler: handler.command == "DELETE" and there.asked("DELETE") == 1
        )
        with pytest.raises(RemoteFailed) as caught:
            pusher.push(target, pusher.blob(1000))
        assert caught.value.status == 413
        assert there.asked("DELETE") == 2
    show("the registry refuses a layer and hangs up", caught.value)


@pytest.mark.case("F18")
def test_a_registry_that_says_nothing_is_given_up_on(
    pusher: Pusher, rounds: Rounds, show: Show
) -> None:
    def one(_: random.Random) -> RemoteFailed:
        with pusher.proxy() as (there, target):
            there.silent()
            begun = time.monotonic()
            with pytest.raises(RemoteFailed) as caught:
                pusher.push(target, pusher.blob(10), timeout=(2.0, 0.5))
            assert caught.value.kind == "network"
            assert time.monotonic() - begun < 20
            return caught.value

    show("the registry says nothing", rounds(one)[0])


@pytest.mark.case("F18")
def test_a_registry_that_is_slow_is_waited_for(pusher: Pusher, show: Show) -> None:
    """The limit is on silence: a reply may take longer than that, byte by byte."""
    with pusher.proxy() as (there, target):
        there.drip = 0.008
        begun = time.monotonic()
        pusher.push(target, pusher.blob(10), timeout=(1.0, 1.0))
        took = time.monotonic() - begun
        assert took > 2
        assert there.asked() == REQUESTS
    show("the registry answers byte by byte", f"pushed after {took:.0f} s, nothing sent twice")


@pytest.mark.case("F18")
def test_a_registry_that_takes_in_slowly_is_waited_for(pusher: Pusher, show: Show) -> None:
    """The same of what is sent: a piece may take longer than the limit, as long as it moves."""
    with pusher.proxy(rate=1_000_000) as (there, target):
        begun = time.monotonic()
        pusher.push(target, pusher.blob(4_000_000), timeout=(0.5, 30.0))
        took = time.monotonic() - begun
        assert took > 3, "it was not slow: this test proves nothing"
        assert there.asked() == REQUESTS
    show("the registry takes in a layer slowly", f"pushed after {took:.0f} s, nothing sent twice")
