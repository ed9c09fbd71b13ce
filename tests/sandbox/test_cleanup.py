"""Whatever becomes of a run, its sandboxes are gone; and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tasks.base import liveness, project, waiting
from tasks.base.errors import TaskError
from tasks.sandbox import providers, reaper
from tasks.sandbox.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.sandbox.provider import Provider
    from tasks.sandbox.values import Belonging
    from tests.sandbox.conftest import Maker

#: F5 allows the reaper this long.
REAPED = 15.0

#: A run as the suite and commands have it, which says its ids and then waits for its end.
RUNNER = textwrap.dedent("""
    import sys, time, signal
    from tasks.sandbox import providers
    from tasks.sandbox.values import Spec
    from tasks.sandbox.run import Run
    def end(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, end)
    provider = providers.connect(sys.argv[1])
    with Run(provider) as run:
        with provider.create(Spec(image=sys.argv[2], purpose="runner"), run) as sandbox:
            sandbox.start()
            print(run.id, run.reaper_pid, flush=True)
            while True:
                time.sleep(1)
""")

#: One that never gets beyond creating.
CREATOR = textwrap.dedent("""
    import sys
    from tasks.sandbox import providers
    from tasks.sandbox.values import Spec
    from tasks.sandbox.run import Run
    provider = providers.connect(sys.argv[1])
    with Run(provider) as run:
        print(run.id, run.reaper_pid, flush=True)
        while True:
            provider.create(Spec(image=sys.argv[2], purpose="creator"), run)
""")


class Runner:
    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        assert child.stdout
        words = child.stdout.readline().split()
        assert len(words) == 2, "the runner did not start"
        self.run, self.reaper = words[0], int(words[1])

    def end(self, signum: int) -> None:
        self.child.send_signal(signum)
        self.child.wait(timeout=30)


@pytest.fixture
def start(provider: Provider, image: str) -> Iterator[Callable[[], Runner]]:
    runners: list[Runner] = []

    def start_one() -> Runner:
        args = [sys.executable, "-c", RUNNER, provider.name, image]
        child = subprocess.Popen(args, cwd=project.ROOT, stdout=subprocess.PIPE, text=True)
        runners.append(Runner(child))
        return runners[-1]

    yield start_one
    for runner in runners:
        if runner.child.poll() is None:
            runner.end(signal.SIGTERM)
        assert runner.child.stdout
        runner.child.stdout.close()
        reaper.reap_run(provider, runner.run)


def of(provider: Provider, run: str) -> list[str]:
    return [belonging.name for belonging in provider.belongings() if belonging.run == run]


def gone(provider: Provider, run: str, *, timeout: float = REAPED) -> None:
    waiting.until(
        lambda: not of(provider, run),
        what=f"the end of all of run {run}",
        timeout=timeout,
        state=lambda: str(of(provider, run)),
    )


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing(
    provider: Provider, start: Callable[[], Runner], signum: signal.Signals
) -> None:
    """F5."""
    runner = start()
    assert of(provider, runner.run)
    runner.end(signum)
    gone(provider, runner.run)
    waiting.until(lambda: ended(runner.reaper), what="the reaper's end", timeout=REAPED)
    assert not reaper.run_dir(runner.run).exists()


def test_killed_while_it_creates_it_leaves_nothing(provider: Provider, image: str) -> None:
    """SIGKILL at the moment the engine is at work for it: the answer never arrives."""
    for pause in (0.0, 0.05, 0.3):
        args = [sys.executable, "-c", CREATOR, provider.name, image]
        with subprocess.Popen(args, cwd=project.ROOT, stdout=subprocess.PIPE, text=True) as child:
            runner = Runner(child)
            time.sleep(pause)
            runner.end(signal.SIGKILL)
        gone(provider, runner.run)
        waiting.until(partial(ended, runner.reaper), what="the reaper's end", timeout=REAPED)
        assert of(provider, runner.run) == []


def test_when_the_reaper_died_too_the_next_run_reaps(
    provider: Provider, start: Callable[[], Runner]
) -> None:
    """F6: and it leaves alone what belongs to a run that lives."""
    dead, living = start(), start()
    os.kill(dead.reaper, signal.SIGKILL)
    waiting.until(lambda: ended(dead.reaper), what="the reaper's death", timeout=5)
    dead.end(signal.SIGKILL)
    time.sleep(1)
    assert of(provider, dead.run), "somebody else reaped it: this test proves nothing"

    with Run(provider) as run:
        assert of(provider, dead.run) == []
        assert of(provider, living.run)
        assert living.child.poll() is None
        assert of(provider, run.id) == []
    assert of(provider, living.run)
    living.end(signal.SIGTERM)
    gone(provider, living.run)


def test_a_run_survives_the_death_of_its_reaper(
    provider: Provider, start: Callable[[], Runner]
) -> None:
    runner = start()
    os.kill(runner.reaper, signal.SIGKILL)
    time.sleep(0.5)
    assert of(provider, runner.run)
    runner.end(signal.SIGTERM)
    gone(provider, runner.run, timeout=5)


def test_what_is_kept_stays_until_it_is_named(provider: Provider, image: str) -> None:
    from tasks.sandbox.values import Spec

    with Run(provider, keep=True) as run, provider.create(Spec(image=image), run) as sandbox:
        sandbox.start()
        assert sandbox.name in sandbox.how_to_reach()
        assert sandbox.name in sandbox.how_to_delete()
    try:
        with Run(provider):
            assert of(provider, run.id) == [sandbox.name]
    finally:
        tasks("reap", "--provider", provider.name, "--run", run.id)
    assert of(provider, run.id) == []
    assert not run.folder.exists()


def command_for(provider: Provider, image: str) -> list[str]:
    """The command that tests sandboxes of `image` at that provider."""
    return [*providers.PROVIDERS[provider.name].test_command, image]


def owned_by(belonging: Belonging, pid: int) -> bool:
    who = liveness.Owner.from_label(belonging.owner)
    return who is not None and who.pid == pid


def tasks(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasks", *args],
        cwd=project.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_itself_cleans_up(
    provider: Provider, image: str, signum: signal.Signals
) -> None:
    """Ended while its sandbox starts; its status tells by what."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tasks", *command_for(provider, image), "-k", "test_healthz"],
        cwd=project.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        new = waiting.until(
            lambda: {t.run for t in provider.belongings() if owned_by(t, child.pid)} or None,
            what="a sandbox of the command",
            timeout=30,
        )
        child.send_signal(signum)
        status = child.wait(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert status == (-signum if signum == signal.SIGKILL else 128 + signum)
    for run in new:
        gone(provider, run)


def test_the_command_ends_with_nox(provider: Provider, image: str) -> None:
    """F5: SIGKILL to nox, which can tell nobody; a stand-in for it is killed here."""
    command = [sys.executable, "-m", "tasks", *command_for(provider, image), "-k", "test_healthz"]
    program = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    nox = subprocess.Popen(
        [sys.executable, "-c", program, *command],
        cwd=project.ROOT,
        env={**os.environ, "NOX_CURRENT_SESSION": "a_test"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    child = waiting.until(
        lambda: next(iter(psutil.Process(nox.pid).children()), None), what="the child", timeout=10
    )
    new = waiting.until(
        lambda: {t.run for t in provider.belongings() if owned_by(t, child.pid)} or None,
        what="a sandbox of the command",
        timeout=30,
    )
    nox.kill()
    nox.wait()
    for run in new:
        gone(provider, run)
    waiting.until(lambda: ended(child.pid), what="the end of the command", timeout=REAPED)


def test_the_command_refuses_in_one_line(image: str, make: Maker, provider: Provider) -> None:
    """N40, N42: before anything is started."""
    for unusable_image in ("no-such-image:ever", project.BASE_IMAGE):
        result = tasks(*command_for(provider, unusable_image))
        with pytest.raises(TaskError) as refusal:
            provider.check(unusable_image)
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith(f"✗ {refusal.value.what.partition(';')[0]}"), line
        assert " → nox -s snapshot" in line
        assert (result.returncode, result.stdout) == (1, "")
    result = tasks(*command_for(provider, image), "--nonsense")
    (line,) = result.stderr.strip().splitlines()
    assert fnmatchcase(line, "✗ unrecognized arguments: --nonsense → nox -s * -- --help"), line
    assert (result.returncode, result.stdout) == (2, "")
    result = tasks(*command_for(provider, image), "-k", "no_test_of_this_name")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("✗ no test matches → ")
    assert "Traceback" not in result.stderr
    assert make.made == []


@pytest.mark.parametrize(
    "environment",
    [
        {"TMPDIR": "/no/such/folder"},
        {"HOME": None},
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"},
        {"COLUMNS": "40", "TERM": "dumb"},
    ],
    ids="-".join,
)
def test_the_command_works_in_odd_places(
    environment: dict[str, str | None], provider: Provider
) -> None:
    """N43."""
    env = {**os.environ, **{k: v for k, v in environment.items() if v is not None}}
    for name in (k for k, v in environment.items() if v is None):
        env.pop(name, None)
    result = tasks("reap", "--provider", provider.name, "--list", env=env)
    assert result.returncode == 0, result.stderr
    mine = [belonging.name for belonging in provider.belongings()]
    assert all(name in result.stderr for name in mine)


def test_the_command_works_without_its_streams(provider: Provider) -> None:
    """N43: standard input and output closed."""
    command = f'exec "{sys.executable}" -m tasks reap --provider {provider.name} --list <&- >&-'
    result = subprocess.run(
        ["sh", "-c", command], cwd=project.ROOT, stderr=subprocess.PIPE, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert b"Traceback" not in result.stderr
