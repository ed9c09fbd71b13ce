"""Clean-up that survives its owner: a process of its own deletes what a dead run left behind.

The reaper (`python -m tasks reap --run ID --watch`) holds the reading end of a pipe whose
writing end only the run has. Reading ends when the run says what to do, or when it died:
the kernel closes the pipe however it died, SIGKILL included. Should the reaper die first,
the next run finds the leftovers by their labels.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Final, Literal

from tasks.base import console, files, liveness, project
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tasks.sandbox.sandbox import Belonging, Provider

Verdict = Literal["alive", "dead", "kept", "unknown"]

#: What a run writes into the pipe when nothing is left to do for the reaper.
DONE: Final = b"done"
#: Things of an owner that cannot be judged from here (another machine) live this long.
STRANGER_AGE: Final = 24 * 3600.0
#: After its owner's death a request to the engine may still be under way: look for this long.
_SETTLE: Final = 2.0
_PATIENCE: Final = 60.0


def verdicts(
    belongings: Iterable[Belonging],
    *,
    now: float,
    life: Callable[[liveness.Owner | None], liveness.Life] = liveness.life,
) -> dict[str, Verdict]:
    """Run → what is to become of it. Whoever is not surely dead is left alone."""
    result: dict[str, Verdict] = {}
    for thing in belongings:
        alive = life(liveness.Owner.from_label(thing.owner))
        verdict: Verdict
        if alive == "unknown":
            verdict = "dead" if now - thing.created > STRANGER_AGE else "unknown"
        else:
            verdict = alive
        if thing.keep and verdict == "dead":
            verdict = "kept"
        # Things of one run should agree; when they do not, the kindest verdict counts.
        kindness: tuple[Verdict, ...] = ("dead", "kept", "unknown", "alive")
        result[thing.run] = max(result.get(thing.run, verdict), verdict, key=kindness.index)
    return result


def reap_dead(provider: Provider) -> list[Belonging]:
    """Delete what dead runs left. Live runs, kept things and strangers' stay."""
    things = provider.belongings()
    judged = verdicts(things, now=time.time())
    dead = [t for t in things if judged[t.run] == "dead"]
    _remove(provider, dead)
    for run in {t.run for t in dead}:
        shutil.rmtree(run_dir(run), ignore_errors=True)
    _sweep_folders(judged)
    return dead


def reap_run(provider: Provider, run: str, *, settle: float = 0.0) -> list[Belonging]:
    """Delete all of one run, whoever owns it, until nothing has turned up for `settle` seconds."""
    removed: dict[str, Belonging] = {}
    deadline = time.monotonic() + _PATIENCE
    quiet_since = time.monotonic()
    while time.monotonic() < deadline:
        things = [t for t in provider.belongings() if t.run == run]
        if things:
            _remove(provider, things)
            removed |= {t.id: t for t in things}
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= settle:
            shutil.rmtree(run_dir(run), ignore_errors=True)
            return list(removed.values())
        else:
            time.sleep(0.25)
    raise TaskError(f"run {run} still owns {', '.join(t.name for t in things)}")


def _remove(provider: Provider, things: list[Belonging]) -> None:
    """Containers first: networks and volumes are held by them."""
    for containers in (True, False):
        group = [t for t in things if (t.kind == "container") is containers]
        if group:
            with ThreadPoolExecutor(max_workers=4) as pool:
                list(pool.map(provider.remove, group))


def run_dir(run: str) -> Path:
    """Files of a run that die with it: temporary checkouts, the reaper's log."""
    return project.state_dir() / "runs" / run


def _sweep_folders(judged: dict[str, Verdict]) -> None:
    """Folders of dead runs that own nothing any more (the owner is noted inside), and old logs."""
    runs = project.state_dir() / "runs"
    files.remove_unused(runs, seconds=STRANGER_AGE, pattern="*.log")
    for folder in runs.glob("*"):
        if folder.name not in judged and liveness.life_of(folder) == "dead":
            shutil.rmtree(folder, ignore_errors=True)


# ── the process of its own ──────────────────────────────────────────────────────────────────


class Watcher:
    """The run's end of the pipe to its reaper."""

    def __init__(self, *, run: str, provider: str) -> None:
        # Beside the run's folder: it is read when the folder is gone.
        self._log: Path = run_dir(run).with_suffix(".reaper.log")
        # Nox's session marker would tie the reaper's life to its parent's: see tasks/__main__.py.
        env = {k: v for k, v in os.environ.items() if k != "NOX_CURRENT_SESSION"}
        with self._log.open("wb") as log:
            self._child: subprocess.Popen[bytes] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tasks", "reap"),
                    *("--watch", "--run", run, "--provider", provider),
                ],
                cwd=project.ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def dismiss(self) -> None:
        """Nothing is left to reap. Says so when the reaper had not lived to hear it."""
        early = self._child.poll()
        pipe = self._child.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(DONE)
                pipe.flush()
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        if early is not None:
            console.warn(f"the reaper had ended early, with status {early}: see {self._log}")
            return
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.unlink(missing_ok=True)


def watch(provider: Provider, run: str, pipe: IO[bytes]) -> list[Belonging]:
    """Wait for the run's end, and delete what it left unless it said that nothing is left."""
    if pipe.read() == DONE:
        return []
    return reap_run(provider, run, settle=_SETTLE)
