"""The state of this machine, by looking only: what `setup` decides by."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.base import programs
from tasks.base.errors import TaskError
from tasks.engine import discovery
from tasks.engine import endpoint as endpoints
from tasks.engine.errors import EngineError, NoDocker
from tasks.setup import base_image, dockerd
from tasks.setup.system import System, current_system

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.engine.endpoint import ChosenBy
    from tasks.engine.engine import Engine


@dataclass(frozen=True)
class MachineState:
    system: System
    engine: Engine | None
    #: Why `engine` is None or cannot be used.
    engine_error: EngineError | None
    #: An engine answers, with or without a docker CLI on this machine.
    engine_answers: bool
    #: What made the endpoint the one to use.
    chosen_by: ChosenBy
    #: The version of an installed engine that does not run.
    dockerd_version: str | None
    #: The docker CLI has its build plugin.
    has_buildx: bool
    #: None: there is no engine to ask.
    has_base_image: bool | None
    browser: Path | None
    has_git: bool
    registry: Path | None


def inspect() -> MachineState:
    """Look at everything that `setup` can get. Changes nothing."""
    engine, error = _look_for_engine()
    chosen_by = _chosen_by()
    answers_without_cli = False
    if isinstance(error, NoDocker):
        silence = discovery.diagnose()
        answers_without_cli = silence is None
        if silence and chosen_by != "default":
            error = silence  # which a docker command would not change
    cli = shutil.which("docker")
    program = dockerd.installed_program()
    return MachineState(
        system=current_system(),
        engine=engine,
        engine_error=error,
        engine_answers=engine is not None or answers_without_cli,
        chosen_by=chosen_by,
        dockerd_version=dockerd.version(program) if program and engine is None else None,
        has_buildx=bool(cli and (engine.buildx if engine else discovery.buildx_version(cli))),
        has_base_image=base_image.is_present(engine) if engine else None,
        browser=programs.find_browser(),
        has_git=shutil.which("git") is not None,
        registry=programs.find_registry(),
    )


def _look_for_engine() -> tuple[Engine | None, EngineError | None]:
    engine = None
    try:
        engine = discovery.find()
        discovery.check(engine)
    except EngineError as error:
        return engine, error
    return engine, None


def _chosen_by() -> ChosenBy:
    with contextlib.suppress(TaskError):
        return endpoints.configured_endpoint(shutil.which("docker"), timeout=1).chosen_by
    return "context"
