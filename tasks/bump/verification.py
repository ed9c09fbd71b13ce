"""Whether a bump works: the image builds and the agents start; if not, which pin is to blame."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from tasks.base import console, process, project
from tasks.base.errors import CommandFailed
from tasks.bump import edit, journal
from tasks.bump.journal import VerificationFailed
from tasks.sandbox import providers
from tasks.sandbox.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tasks.bump.edit import Edit, PinMove

T = TypeVar("T")

#: Tests that a version which does not start cannot pass: ready in time, every tool at its pinned
#: version in every kind of shell, every agent in a conversation with the model stand-in.
TESTS: Final = "test_is_ready_in_time or test_installed_is_pinned or test_it_answers_and_knows"


def verify(bump: Edit, state: Path, works: Callable[[], bool] | None = None) -> None:
    """Apply `bump` and keep it if the sandbox made from it works; else take it back and raise
    `VerificationFailed`, which names the pins to blame. An interrupt takes it back, too; after a
    kill the next run does.
    """
    works = works or sandbox_works
    is_kept = False
    journal.begin(state, bump.moves, work=bump.work)
    try:
        bump.apply()
        is_kept = works()
        if not is_kept:
            raise VerificationFailed(
                _find_cause(bump, works), fix="leave it out: --only the others, or wait for a fix"
            )
    finally:
        if not is_kept:
            edit.take_back(bump.root, bump.moves, work=bump.work)
        journal.end(state)


def _find_cause(bump: Edit, works: Callable[[], bool]) -> str:
    console.warn("the bump does not work and is taken back; looking for the pin to blame")
    edit.take_back(bump.root, bump.moves, work=bump.work)

    def fails(moves: Sequence[PinMove]) -> bool:
        names = ", ".join(move.name for move in moves) or "no bump at all"
        console.step(f"trying {names}")
        bump.with_moves(moves).apply()
        try:
            return not works()
        finally:
            edit.take_back(bump.root, moves, work=bump.work)

    if fails([]):
        return "the sandbox does not work without any bump either; the Dockerfile is as it was"
    culprits = find_culprits(bump.moves, fails)
    names = " and ".join(map(str, culprits))
    suffix = " (only together)" if len(culprits) > 1 and not fails(culprits[:1]) else ""
    return f"the verification failed because of {names}{suffix}; the Dockerfile is as it was"


def find_culprits(changes: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Which changes fail, of `changes` that fail as a whole. Several that each fail alone are all
    returned; where only a combination fails, that is returned, without what it does not need.
    """
    if len(changes) < 2:
        return list(changes)
    middle = len(changes) // 2
    halves = (changes[:middle], changes[middle:])
    failing = [half for half in halves if fails(half)]
    if not failing:
        return _reduce(changes, fails)
    return [culprit for half in failing for culprit in find_culprits(half, fails)]


def _reduce(changes: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Neither half fails alone: leave out one change after another while the rest still fails."""
    remaining = list(changes)
    for change in [*remaining]:
        rest = [c for c in remaining if c is not change]
        if len(rest) > 1 and fails(rest):
            remaining = rest
    return remaining


def sandbox_works() -> bool:
    """Build the working tree under a name of its own and test that; the image is deleted then."""
    with closing(providers.connect("docker")) as provider, Run(provider) as run:
        tag = f"{project.IMAGE}-bump:{run.id}"
        labels = [f"{name}={value}" for name, value in run.labels("bump").items()]
        options = [word for label in labels for word in ("--label", label)]
        command = [sys.executable, "-m", "tasks"]
        try:
            process.run([*command, "snapshot-local", "--tag", tag, *options])
            process.run([*command, "local-test", "--image", tag, "-x", "-k", TESTS])
        except CommandFailed as error:
            console.fail(error.what)
            return False
    return True
