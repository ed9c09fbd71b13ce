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
from tasks.daytona import release
from tasks.daytona import request as requests
from tasks.daytona.ensure import ActiveSnapshot
from tasks.daytona.ledger import Ledger
from tasks.daytona.ledger_entry import new_entry
from tasks.daytona.publication import Publication
from tasks.daytona.request import PublishRequest
from tasks.sandbox import verify
from tasks.sandbox.errors import SandboxEnded
from tasks.sandbox.ownership import RUN_LABEL
from tasks.sandbox.providers import daytona as provider_module
from tasks.sandbox.providers.daytona import OUR_LABEL, DaytonaProvider
from tasks.sandbox.run import Run
from tasks.sandbox.values import Spec
from tests.support import ledgers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.daytona.conftest import PublishingBench, Rounds
    from tests.support.standin import SandboxView

    Show = Callable[[str, object], None]

CREATE = "POST /api/sandbox"


@pytest.fixture
def provider(bench: PublishingBench, monkeypatch: pytest.MonkeyPatch) -> DaytonaProvider:
    monkeypatch.setattr(provider_module, "_DELETION_TIMEOUT", 5.0)
    return DaytonaProvider(bench.api)


@pytest.fixture
def image(bench: PublishingBench) -> str:
    return bench.publish(bench.sibling()).snapshot.name


@pytest.fixture
def run(provider: DaytonaProvider) -> Iterator[Run]:
    with Run(provider) as run:
        yield run


def wait_until_none_is_left(bench: PublishingBench) -> None:
    """The API knows nothing of a sandbox a little before its container is gone."""
    waiting.until(
        lambda: not sandboxes_of(bench), what="the end of its sandbox", timeout=60, interval=0.1
    )


def sandboxes_of(bench: PublishingBench) -> list[SandboxView]:
    """But for those whose deletion has begun: `bench` checks that it ends."""
    return [s for s in bench.stand_in.sandboxes() if s.state not in {"destroying", "destroyed"}]


@pytest.mark.case("F26")
def test_a_sandbox_has_labels_and_an_end_from_its_creation_on(
    bench: PublishingBench, run: Run, image: str, show: Show
) -> None:
    """On every create, kept or not: the stand-in of all these tests refuses any other."""
    with run.provider.create(Spec(image=image), run) as sandbox:
        (remote,) = sandboxes_of(bench)
        assert remote.name == sandbox.name
        assert remote.labels[RUN_LABEL] == run.id
        assert OUR_LABEL.items() <= remote.labels.items()
        assert 0 < remote.auto_stop <= 60
        assert 0 <= remote.auto_delete <= 60
        assert 0 < remote.time_to_live <= 480
    with pytest.raises(RemoteFailed, match="no end of its own") as caught:
        bench.api.sandboxes.create(name="immortal", snapshot=image, auto_stop_interval=15)
    show("a sandbox without an end (asked for by the test itself)", caught.value)


@pytest.mark.parametrize("kind", ["lost-reply", "lost-connection"])
def test_a_lost_reply_makes_no_second_sandbox(
    bench: PublishingBench, run: Run, image: str, kind: str, show: Show
) -> None:
    bench.stand_in.fault(kind, on=CREATE, status=502)
    with run.provider.create(Spec(image=image), run):
        assert len(sandboxes_of(bench)) == 1
    assert bench.request_count(CREATE) == 1
    show(f"{kind.replace('-', ' ')} on a sandbox's create", "the one that was made is used")


def test_a_sandbox_whose_creation_is_refused_afterwards_is_deleted(
    bench: PublishingBench, run: Run, image: str, show: Show
) -> None:
    """The server made it, and everything after that is refused for a while."""
    bench.stand_in.fault("lost-reply", on=CREATE, status=403)
    with pytest.raises(TaskError) as caught:
        run.provider.create(Spec(image=image), run)
    wait_until_none_is_left(bench)
    show("403 on a sandbox's create, though created", caught.value)


def test_a_sandbox_that_fails_to_start_is_deleted(
    bench: PublishingBench, run: Run, image: str, show: Show
) -> None:
    bench.stand_in.fault("failed-start")
    with pytest.raises(SandboxEnded) as caught:
        run.provider.create(Spec(image=image), run)
    wait_until_none_is_left(bench)
    show("failed start", caught.value)


def test_a_sandbox_that_starts_too_slowly_is_deleted(
    bench: PublishingBench, run: Run, image: str, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    monkeypatch.setattr(provider_module, "START_TIMEOUT", 1.0)
    find, create = bench.api.sandboxes.find, bench.api.sandboxes.create

    def slow(remote: Any) -> Any:
        return remote and replace(remote, state="creating")

    monkeypatch.setattr(bench.api.sandboxes, "create", lambda **options: slow(create(**options)))
    monkeypatch.setattr(bench.api.sandboxes, "find", lambda name: slow(find(name)))
    with pytest.raises(TaskError, match="creating") as caught:
        run.provider.create(Spec(image=image), run)
    monkeypatch.undo()
    wait_until_none_is_left(bench)
    show("slow start", caught.value)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_api_is_asked_again(
    bench: PublishingBench, run: Run, image: str, status: int
) -> None:
    bench.stand_in.fault("status", on=CREATE, status=status, times=2, retry_after=0.2)
    with run.provider.create(Spec(image=image), run):
        assert len(sandboxes_of(bench)) == 1


@pytest.mark.case("F26")
def test_a_deletion_that_fails_is_reported_without_an_error(
    bench: PublishingBench, provider: DaytonaProvider, image: str, show: Show,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What was tested stands, and Daytona deletes it when its time has come."""
    with Run(provider) as run:
        with provider.create(Spec(image=image), run):
            bench.stand_in.fault("status", on="DELETE /api/sandbox/*", status=500, times=-1)
        output = capsys.readouterr().err
        line = next(text for text in output.splitlines() if "leaked" in text)
        assert provider.belongings() == []
    (remote,) = sandboxes_of(bench)
    assert remote.id in provider.leaks
    bench.stand_in.clear_faults()
    bench.stand_in.age_sandbox(remote.id, minutes=remote.auto_stop)
    waiting.until(lambda: sandboxes_of(bench)[0].state == "stopped", what="its stop", timeout=20)
    bench.stand_in.age_sandbox(remote.id, minutes=remote.auto_delete)
    waiting.until(lambda: not sandboxes_of(bench), what="its deletion", timeout=20)
    show("500 on delete in teardown", line)


def test_a_busy_sandbox_is_deleted_as_soon_as_possible(
    bench: PublishingBench, run: Run, image: str
) -> None:
    sandbox = run.provider.create(Spec(image=image), run)
    bench.stand_in.fault("status", on="DELETE /api/sandbox/*", status=409, times=3)
    sandbox.delete()
    wait_until_none_is_left(bench)


def test_a_missing_snapshot_is_named(bench: PublishingBench, run: Run) -> None:
    with pytest.raises(TaskError, match="no-such") as caught:
        run.provider.create(Spec(image="no-such"), run)
    assert "snapshots -- list" in str(caught.value)
    with pytest.raises(TaskError, match="no-such"):
        run.provider.check("no-such")
    wait_until_none_is_left(bench)


def test_a_sandbox_with_a_missing_capability_is_refused(
    bench: PublishingBench, run: Run, image: str
) -> None:
    for spec in (
        Spec(image=image, checkout=project.ROOT),
        Spec(image=image, under_init=True),
        Spec(image=image, ports={3000: 3000}),
    ):
        with pytest.raises(TaskError, match="do not offer"):
            run.provider.create(spec, run)
    assert bench.request_count(CREATE) == 0


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
def test_a_run_that_is_ended_at_any_moment_leaves_no_sandbox(
    bench: PublishingBench, image: str, signum: signal.Signals, moment: str, show: Show
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
        states = {"creating": {"creating", "started"}, "running": {"started"}}[moment]
        waiting.until(
            lambda: [s for s in sandboxes_of(bench) if s.state in states],
            what="its sandbox",
            timeout=30,
        )
        child.send_signal(signum)
        try:
            child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGABRT)  # it tells where it is
            child.wait(timeout=10)
            raise AssertionError(log.read_text()) from None
    wait_until_none_is_left(bench)
    show(f"{signum.name} while its sandbox is {moment}", "nothing: the reaper deletes it")


#: Forks runs that nobody reaps, and kills each so many seconds after it begins to create.
VICTIMS = textwrap.dedent("""
    import os, signal, sys, time
    import daytona_api_client, daytona_toolbox_api_client, pydantic, urllib3
    from tasks.daytona import api
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
            provider = DaytonaProvider(api.connect())
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
@pytest.mark.timeout(960)  # each victim imports the SDKs first
def test_the_next_run_deletes_what_a_killed_run_left(
    bench: PublishingBench, provider: DaytonaProvider, image: str, rounds: Rounds, show: Show,
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
            timeout=900,
        )
        waiting.until(
            lambda: all(s.state == "started" for s in sandboxes_of(bench)),
            what="their starts",
            timeout=60,
        )
        remaining = len(sandboxes_of(bench)) - 1
        assert remaining > 0, "none was killed in time: this test proves nothing"
        capsys.readouterr()
        with Run(provider):
            remote = [belonging.run for belonging in provider.belongings()]
            assert remote == [living.id]
    lines = [line for line in capsys.readouterr().err.splitlines() if "which died" in line]
    assert len(lines) == remaining
    show(f"SIGKILL between create and knowing the id, {remaining} sandboxes", lines[0])


# ── verified before it is announced ─────────────────────────────────────────────────────────


def test_a_snapshot_that_does_not_work_is_not_announced(
    bench: PublishingBench, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: Show,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The stage stays where it was; the sandbox that was tried is gone."""
    monkeypatch.setattr(verify, "_READINESS_TIMEOUT", 1.0)
    ledger = Ledger(tmp_path / "ledger.git", remote=None)
    monkeypatch.setattr(snapshot_daytona, "open_ledger", lambda *_args, **_options: ledger)
    earlier = new_entry(snapshot="earlier", sha="0" * 40, identity="0" * 64, reason="publish")
    ledgers.move(ledger, "dev-t", earlier)
    snapshot = bench.api.snapshots.find(image)
    assert snapshot
    request = requests.resolve(PublishRequest(ref="HEAD", stage="dev-t"), {})
    active = ActiveSnapshot(snapshot=snapshot, outcome="built", seconds=1, log=None)
    publication = Publication(request=request, active=active)
    monkeypatch.setattr(release, "publish", lambda *_args, **_options: publication)
    with pytest.raises(verify.NotVerified) as caught:
        snapshot_daytona.release_to_stage(bench.api, request)
    assert ledger.current("dev-t") == earlier
    assert f"✓ {image}" not in capsys.readouterr().err
    assert bench.request_count(CREATE) == 1
    show("a snapshot whose sandbox does not work", caught.value)
