"""Whether a bump works: the image builds and the agents start; if not, which pin is to blame."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

from tasks.base import console, process
from tasks.base.errors import CommandFailed
from tasks.bump import bisect, edit
from tasks.bump.edit import VerificationFailed
from tasks.sandbox import providers
from tasks.sandbox.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tasks.bump.edit import Edit
    from tasks.bump.survey import Outcome

#: Tests that a version which does not start cannot pass: ready in time, every tool at its pinned
#: version in every kind of shell, every agent in a conversation with the model stand-in.
TESTS: Final = "test_is_ready_in_time or test_installed_is_pinned or test_it_answers_and_knows"


def verify(change: Edit, works: Callable[[], bool] | None = None) -> None:
    """Apply `change` and keep it if the sandbox made from it works; else take it back and raise
    `VerificationFailed`, which names the pins to blame. An interrupt takes it back, too.
    """
    works = works or Workbench().works
    kept = False
    change.apply()
    try:
        kept = works()
    finally:
        if not kept:
            change.take_back()
    if kept:
        return
    console.warn("the bump does not work and is rolled back; looking for the pin to blame")
    raise VerificationFailed(
        _blame(change, works), fix="leave it out: --only the others, or wait for a fix"
    )


def _blame(change: Edit, works: Callable[[], bool]) -> str:
    def fails(outcomes: Sequence[Outcome]) -> bool:
        part = edit.plan(change.root, edit.read(change.root), outcomes)
        names = ", ".join(outcome.pin.name for outcome in outcomes) or "no bump at all"
        console.step(f"trying {names}")
        part.apply()
        try:
            return not works()
        finally:
            part.take_back()

    if fails([]):
        return "the sandbox does not work without any bump either; the Dockerfile is as it was"
    guilty = bisect.culprits(change.outcomes, fails)
    named = " and ".join(f"{o.pin.name} {o.version} → {o.target}" for o in guilty)
    together = " (only together)" if len(guilty) > 1 and not fails(guilty[:1]) else ""
    return f"the verification failed because of {named}{together}; the Dockerfile is as it was"


class Workbench:
    """Builds the working tree under a name of its own, and tests that; then the image goes."""

    def works(self) -> bool:
        with closing(providers.connect("docker")) as provider, Run(provider) as run:
            tag = f"iterate-sandbox-bump:{run.id}"
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
