"""Sandboxes at Daytona: mortal from birth, and gone whatever goes wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project, waiting
from tasks.base.errors import TaskError
from tasks.base.retry import RemoteFailed
from tasks.commands import snapshot_daytona
from tasks.daytona import ledger, publish, ship
from tasks.sandbox import verify
from tasks.sandbox.errors import SandboxEnded
from tasks.sandbox.ownership import RUN_LABEL
from tasks.sandbox.providers import daytona as provider_module
from tasks.sandbox.providers.daytona import OURS, DaytonaProvider
from tasks.sandbox.run import Run
from tasks.sandbox.values import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.daytona.conftest import Bench, Rounds

    Show = Callable[[str, object], None]

CREATE = "POST /api/sandbox"


@pytest.fixture
def provider(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> DaytonaProvider:
    monkeypatch.setattr(provider_module, "_GONE_IN", 5.0)
    return DaytonaProvider(bench.api)


@pytest.fixture
def image(bench: Bench) -> str:
    return bench.publish(bench.sibling()).snapshot.name


@pytest.fixture
def run(provider: DaytonaProvider) -> Iterator[Run]:
    with Run(provider) as run:
        yield run


def mine(bench: Bench) -> list[Any]:
    """But for those whose deletion has begun: `bench` checks that it ends."""
    return [s for s in bench.stand_in.sandboxes() if s.state not in {"destroying", "destroyed"}]


@pytest.mark.case("F26")
def test_each_has_labels_and_an_end_from_birth(
    bench: Bench, run: Run, image: str, show: Show
) -> None:
    """On every create, kept or not: the stand-in of all these tests refuses any other."""
    with run.provider.create(Spec(image=image), run) as sandbox:
        (there,) = mine(bench)
        assert there.name == sandbox.name
        assert there.labels[RUN_LABEL] == run.id
        assert OURS.items() <= there.labels.items()
        assert 0 < there.auto_stop <= 60
        assert 0 <= there.auto_delete <= 60
        assert 0 < there.time_to_live <= 480
    with pytest.raises(RemoteFailed, match="no end of its own") as caught:
        bench.api.create_sandbox(name="immortal", snapshot=image, auto_stop_interval=15)
    show("a sandbox without an end (asked for by the test itself)", caught.value)


@pytest.mark.parametrize("kind", ["lost-reply", "lost-connection"])
def test_a_lost_reply_makes_no_second_one(
    bench: Bench, run: Run, image: str, kind: str, show: Show
) -> None:
    bench.stand_in.fault(kind, on=CREATE, status=502)
    with run.provider.create(Spec(image=image), run):
        assert len(mine(bench)) == 1
    assert bench.asked(CREATE) == 1
    show(f"{kind.replace('-', ' ')} on a sandbox's create", "the one that was made is used")


def test_when_create_raises_after_it_was_made_it_is_deleted(
    bench: Bench, run: Run, image: str, show: Show
) -> None:
    """The server made it, and everything after that is refused for a while."""
    bench.stand_in.fault("lost-reply", on=CREATE, status=403)
    with pytest.raises(TaskError) as caught:
        run.provider.create(Spec(image=image), run)
    assert mine(bench) == []
    show("403 on a sandbox's create, though created", caught.value)


def test_one_that_fails_to_start_is_deleted(bench: Bench, run: Run, image: str, show: Show) -> None:
    bench.stand_in.fault("failed-start")
    with pytest.raises(SandboxEnded) as caught:
        run.provider.create(Spec(image=image), run)
    assert mine(bench) == []
    show("failed start", caught.value)


def test_one_that_starts_too_slowly_is_deleted(
    bench: Bench, run: Run, image: str, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    monkeypatch.setattr(provider_module, "_STARTED_IN", 1.0)
    ask, create = bench.api.sandbox, bench.api.create_sandbox

    def slow(found: Any) -> Any:
        return found and replace(found, state="creating")

    monkeypatch.setattr(bench.api, "create_sandbox", lambda **wanted: slow(create(**wanted)))
    monkeypatch.setattr(bench.api, "sandbox", lambda name: slow(ask(name)))
    with pytest.raises(TaskError, match="creating") as caught:
        run.provider.create(Spec(image=image), run)
    monkeypatch.undo()
    waiting.until(lambda: not mine(bench), what="its deletion", timeout=10)
    show("slow start", caught.value)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_api_is_asked_again(bench: Bench, run: Run, image: str, status: int) -> None:
    bench.stand_in.fault("status", on=CREATE, status=status, times=2, retry_after=0.2)
    with run.provider.create(Spec(image=image), run):
        assert len(mine(bench)) == 1


@pytest.mark.case("F26")
def test_a_delete_that_fails_is_reported_and_no_failure(
    bench: Bench, provider: DaytonaProvider, image: str, show: Show,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What was tested stands, and Daytona deletes it when its time has come."""
    with Run(provider) as run:
        with provider.create(Spec(image=image), run):
            bench.stand_in.fault("status", on="DELETE /api/sandbox/*", status=500, times=-1)
        said = capsys.readouterr().err
        line = next(text for text in said.splitlines() if "leaked" in text)
        assert provider.belongings() == []
    (there,) = mine(bench)
    assert there.id in provider.leaks
    bench.stand_in.clear_faults()
    bench.stand_in.age_sandbox(there.id, minutes=there.auto_stop)
    waiting.until(lambda: mine(bench)[0].state == "stopped", what="its stop", timeout=20)
    bench.stand_in.age_sandbox(there.id, minutes=there.auto_delete)
    waiting.until(lambda: not mine(bench), what="its deletion", timeout=20)
    show("500 on delete in teardown", line)


def test_one_that_is_busy_is_deleted_as_soon_as_it_can_be(
    bench: Bench, run: Run, image: str
) -> None:
    sandbox = run.provider.create(Spec(image=image), run)
    bench.stand_in.fault("status", on="DELETE /api/sandbox/*", status=409, times=3)
    sandbox.delete()
    assert mine(bench) == []


def test_a_snapshot_that_is_not_there_is_named(bench: Bench, run: Run) -> None:
    with pytest.raises(TaskError, match="no-such") as caught:
        run.provider.create(Spec(image="no-such"), run)
    assert "snapshots -- list" in str(caught.value)
    with pytest.raises(TaskError, match="no-such"):
        run.provider.check("no-such")
    assert mine(bench) == []


def test_what_cannot_be_had_is_said(bench: Bench, run: Run, image: str) -> None:
    for spec in (
        Spec(image=image, checkout=project.ROOT),
        Spec(image=image, under_init=True),
        Spec(image=image, ports={3000: 3000}),
    ):
        with pytest.raises(TaskError, match="do not offer"):
            run.provider.create(spec, run)
    assert bench.asked(CREATE) == 0


CREATOR = textwrap.dedent("""
    import sys, signal, time
    from tasks.sandbox import providers
    from tasks.sandbox.values import Spec
    from tasks.sandbox.run import Run
    provider = providers.connect("daytona")
    with Run(provider) as run:
        print(run.id, flush=True)
        provider.create(Spec(image=sys.argv[1]), run)
        time.sleep(60)
""")


@pytest.mark.case("F27")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["creating", "running"])
def test_ended_at_any_moment_it_leaves_nothing(
    bench: Bench, image: str, signum: signal.Signals, moment: str, show: Show
) -> None:
    """Also between "create" and knowing the id: the reaper finds it by its label."""
    if moment == "creating":
        bench.stand_in.fault("slow-start", seconds=2)
    log = bench.folder / "child.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", CREATOR, image],
            cwd=project.ROOT,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=file,
        ) as child,
    ):
        assert child.stdout
        child.stdout.readline()
        wanted = {"creating": {"creating", "started"}, "running": {"started"}}[moment]
        waiting.until(
            lambda: [s for s in mine(bench) if s.state in wanted], what="its sandbox", timeout=30
        )
        child.send_signal(signum)
        try:
            child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGABRT)  # it tells where it is
            child.wait(timeout=10)
            raise AssertionError(log.read_text()) from None
    waiting.until(lambda: not mine(bench), what="the end of its sandbox", timeout=30)
    show(f"{signum.name} while its sandbox is {moment}", "nothing: the reaper deletes it")


#: Forks runs that nobody reaps, and kills each so many seconds after it begins to create.
VICTIMS = textwrap.dedent("""
    import os, signal, sys, time
    import daytona_api_client, daytona_toolbox_api_client, pydantic, urllib3
    from tasks.daytona import adapter
    from tasks.sandbox import reaper
    from tasks.sandbox.providers.daytona import DaytonaProvider
    from tasks.sandbox.values import Spec
    from tasks.sandbox.run import Run
    class Dead:
        def __init__(self, **_): pass
    reaper.Watcher, reaper.reap_dead = Dead, lambda _: []
    for pause in sys.argv[2:]:
        heard, said = os.pipe()
        pid = os.fork()
        if not pid:
            provider = DaytonaProvider(adapter.connect())
            with Run(provider) as run:
                os.write(said, b"now")
                provider.create(Spec(image=sys.argv[1]), run)
                time.sleep(60)
        os.read(heard, 3)
        time.sleep(float(pause))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
""")


@pytest.mark.case("F27")
def test_killed_with_its_reaper_the_next_run_deletes_it(
    bench: Bench, provider: DaytonaProvider, image: str, rounds: Rounds, show: Show,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """At a random moment of a create; and the sandbox of a run that lives stays."""
    chance = random.Random(rounds.seed)  # noqa: S311 - replayed by its seed
    pauses = [f"{chance.uniform(0, (0.5, 1.5)[n % 2]):.3f}" for n in range(rounds.count)]
    with Run(provider) as living, provider.create(Spec(image=image), living):
        subprocess.run(
            [sys.executable, "-c", VICTIMS, image, *pauses],
            cwd=project.ROOT,
            check=True,
            timeout=110,
        )
        waiting.until(
            lambda: all(s.state == "started" for s in mine(bench)), what="their starts", timeout=60
        )
        left = len(mine(bench)) - 1
        assert left > 0, "none was killed in time: this test proves nothing"
        capsys.readouterr()
        with Run(provider):
            there = [thing.run for thing in provider.belongings()]
            assert there == [living.id]
    lines = [line for line in capsys.readouterr().err.splitlines() if "that died" in line]
    assert len(lines) == left
    show(f"SIGKILL between create and knowing the id, {left} sandboxes", lines[0])


# ── verified before it is announced ─────────────────────────────────────────────────────────


def test_what_does_not_work_is_not_announced(
    bench: Bench, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: Show,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The stage stays where it was; the sandbox that was tried is gone."""
    monkeypatch.setattr(verify, "_READY_IN", 1.0)
    book = ledger.Ledger(tmp_path / "ledger.git", remote=None)
    monkeypatch.setattr(ledger, "open_ledger", lambda *_args, **_options: book)
    before = ledger.entry(snapshot="before", sha="0" * 40, identity="0" * 64, why="publish")
    book.move("dev-t", before)
    found = bench.api.snapshot(image)
    assert found
    published = publish.Published(snapshot=found, how="built", seconds=1, log=None)
    monkeypatch.setattr(ship, "ship", lambda *_args, **_options: ship.Shipped(published=published))
    order = ship.order(ref="HEAD", environment={}, stage="dev-t")
    with pytest.raises(verify.NotVerified) as caught:
        snapshot_daytona.publish(bench.api, order)
    assert book.current("dev-t") == before
    assert f"✓ {image}" not in capsys.readouterr().err
    assert bench.asked(CREATE) == 1
    show("a snapshot whose sandbox does not work", caught.value)
