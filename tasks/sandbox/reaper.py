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

    from tasks.sandbox.provider import Provider
    from tasks.sandbox.values import Belonging

Verdict = Literal["alive", "dead", "kept", "unknown"]

#: What a run writes into the pipe when nothing is left to do for the reaper.
FAREWELL: Final = b"done"
#: Seconds that belongings stay whose owner cannot be judged from here (another machine).
STRANGER_AGE: Final = 24 * 3600.0
#: After its owner's death a request to the engine may still be under way: seconds to look for it.
_SETTLE: Final = 2.0
#: Seconds in which all of one run must be deleted.
_PATIENCE: Final = 60.0
#: The order of verdicts that are more and more careful.
_CAUTION: Final[tuple[Verdict, ...]] = ("dead", "kept", "unknown", "alive")


def verdicts(
    belongings: Iterable[Belonging],
    *,
    current_time: float,
    life: Callable[[liveness.Owner | None], liveness.Life] = liveness.life,
) -> dict[str, Verdict]:
    """Run → its verdict at `current_time`, in seconds since the epoch.

    Only what is surely dead will be deleted.
    """
    result: dict[str, Verdict] = {}
    for belonging in belongings:
        verdict: Verdict = life(liveness.Owner.from_label(belonging.owner))
        if verdict == "unknown" and current_time - belonging.created_at > STRANGER_AGE:
            verdict = "dead"
        if belonging.keep and verdict == "dead":
            verdict = "kept"
        # Belongings of one run should agree; if they do not, the most careful verdict wins.
        former = result.get(belonging.run, verdict)
        result[belonging.run] = max(former, verdict, key=_CAUTION.index)
    return result


def reap_dead(provider: Provider) -> list[Belonging]:
    """Delete what dead runs left. What is alive, kept or of an unknown owner stays."""
    belongings = provider.belongings()
    verdict_of = verdicts(belongings, current_time=time.time())
    dead = [belonging for belonging in belongings if verdict_of[belonging.run] == "dead"]
    _remove(provider, dead)
    for run in {belonging.run for belonging in dead}:
        shutil.rmtree(run_dir(run), ignore_errors=True)
    _sweep_folders(verdict_of)
    return dead


def reap_run(provider: Provider, run: str, *, settle: float = 0.0) -> list[Belonging]:
    """Delete all of one run, whoever owns it, until nothing new appears for `settle` seconds.

    Raises `TaskError` for what cannot be deleted within a minute.
    """
    reaped: dict[str, Belonging] = {}
    deadline = time.monotonic() + _PATIENCE
    last_deletion = time.monotonic()
    while time.monotonic() < deadline:
        belongings = [belonging for belonging in provider.belongings() if belonging.run == run]
        if belongings:
            _remove(provider, belongings)
            reaped |= {belonging.id: belonging for belonging in belongings}
            last_deletion = time.monotonic()
        elif time.monotonic() - last_deletion >= settle:
            shutil.rmtree(run_dir(run), ignore_errors=True)
            return list(reaped.values())
        else:
            time.sleep(0.25)
    names = ", ".join(belonging.name for belonging in belongings)
    raise TaskError(f"run {run} still owns {names}", fix=f"python -m tasks reap --run {run}")


def _remove(provider: Provider, belongings: list[Belonging]) -> None:
    """Containers first: networks and volumes are held by them."""
    for is_container in (True, False):
        group = [b for b in belongings if (b.kind == "container") is is_container]
        if group:
            with ThreadPoolExecutor(max_workers=4) as pool:
                list(pool.map(provider.remove, group))


def run_dir(run: str) -> Path:
    """Files of a run that die with it: temporary checkouts, the reaper's log."""
    return project.state_dir() / "runs" / run


def _sweep_folders(verdict_of: dict[str, Verdict]) -> None:
    """Delete folders of dead runs that own nothing any more (each names its owner) and old logs."""
    runs = project.state_dir() / "runs"
    files.remove_unused(runs, seconds=STRANGER_AGE, pattern="*.log")
    for folder in runs.glob("*"):
        if folder.name not in verdict_of and liveness.life_of(folder) == "dead":
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
        """Nothing is left to reap. Warns when the reaper had ended before."""
        status = self._child.poll()
        pipe = self._child.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(FAREWELL)
                pipe.flush()
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        if status is not None:
            console.warn(f"the reaper had ended early, with status {status}: see {self._log}")
            return
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.unlink(missing_ok=True)


def watch(provider: Provider, run: str, pipe: IO[bytes]) -> list[Belonging]:
    """Wait for the run's end, and delete what it left, unless it has said that nothing is left."""
    if pipe.read() == FAREWELL:
        return []
    return reap_run(provider, run, settle=_SETTLE)
