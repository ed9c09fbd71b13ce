"""Carry out the steps of `setup`, one run of it at a time."""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING

from tasks.base import console, project
from tasks.engine import discovery
from tasks.setup import apt, base_image, dockerd, registry_program
from tasks.setup.apt import Apt
from tasks.setup.setup_log import SetupLog
from tasks.setup.steps import ENGINE_PACKAGES, CannotSetUp, choose_packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.setup.steps import SetupStep
    from tasks.setup.system import System


def carry_out(steps: Sequence[SetupStep], system: System) -> None:
    """Do every step, in order; what is left to the user is named in the error at the end.

    Raises `CannotSetUp`, or the error of the step that failed.
    """
    packages = Apt(SetupLog(project.state_dir() / "setup.log"))
    with _one_at_a_time():
        for step in steps:
            console.step(step.description)
            _carry_out(step, system, packages)
    discovery.require()
    if by_hand := [step.description for step in steps if step.kind == "by-hand"]:
        raise CannotSetUp("the rest is set up, but " + "; ".join(by_hand))


def _carry_out(step: SetupStep, system: System, packages: Apt) -> None:
    match step.kind:
        case "packages":
            _install(step.packages, system, packages)
        case "start-engine":
            dockerd.start(system)
        case "base-image":
            engine = discovery.require()
            if base_image.is_present(engine):
                console.good(f"the engine has {base_image.NAME}")
            else:
                base_image.get(engine, system, packages)
        case "registry":
            if not apt.candidates((registry_program.PACKAGE,)):
                packages.refresh()
            console.good(f"unpacked {registry_program.unpack()}")
        case "by-hand":
            pass  # it is named at the end


def _install(names: tuple[str, ...], system: System, packages: Apt) -> None:
    if set(names) & set(ENGINE_PACKAGES):
        packages.refresh()
        candidates = apt.candidates(ENGINE_PACKAGES)
        if apt.needs_newer(system, candidates):
            console.say("  Debian 12's engine is too old: taking Debian 13's", "dim")
            packages.add_newer(system)
            candidates = apt.candidates(ENGINE_PACKAGES)
        names = choose_packages(names, candidates, system)
    packages.install(names)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (project.state_dir() / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say("another `setup` is running here; waiting for it to end …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
