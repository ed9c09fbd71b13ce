"""`nox -s setup`: get what is missing on this machine, and change nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base import console
from tasks.base.options import Parser
from tasks.setup import base_image, installation, machine
from tasks.setup.steps import choose_steps

if TYPE_CHECKING:
    from tasks.setup.machine import MachineState


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s setup --", description=__doc__)
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and do nothing"
    )
    parser.add_argument(
        "--engine-only",
        action="store_true",
        help="get the engine and the base image, but not what only tests need",
    )
    options = parser.parse_args(arguments)
    watch = console.Stopwatch()
    state = machine.inspect()
    _show(state, engine_only=options.engine_only)
    steps = choose_steps(state, engine_only=options.engine_only)
    if not steps:
        console.good(f"nothing is missing ({watch})")
        return
    console.step("these steps would be taken:" if options.dry_run else "these steps are taken:")
    for number, step in enumerate(steps, 1):
        console.say(f"  {number}. {step.description}")
    if options.dry_run:
        return
    installation.carry_out(steps, state.system)
    console.good(f"everything is set up ({watch})")


def _show(state: MachineState, *, engine_only: bool) -> None:
    console.say(f"system: {state.system.name}")
    if (engine := state.engine) and state.engine_error is None:
        console.good(f"Docker Engine {engine.version} at {engine.endpoint}, buildx {engine.buildx}")
    else:
        console.warn(state.engine_error.what if state.engine_error else "no Docker Engine")
    if state.has_base_image is not None:
        _show_one(f"base image {base_image.NAME}", present=state.has_base_image)
    if engine_only:
        return
    _show_one(f"browser {state.browser or ''}".rstrip(), present=state.browser is not None)
    if not state.has_git:
        _show_one("git", present=False)
    _show_one(f"registry {state.registry or ''}".rstrip(), present=state.registry is not None)


def _show_one(name: str, *, present: bool) -> None:
    if present:
        console.good(name)
    else:
        console.warn(f"{name}: missing")
