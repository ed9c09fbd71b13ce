"""What `doctor` says about the Docker Engine: client, engine, API, buildx, and what is on it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.engine import discovery
from tasks.engine.engine import MIN_API, MIN_ENGINE, version_numbers
from tasks.engine.errors import EngineError
from tasks.setup import base_image
from tasks.setup.prerequisite import Prerequisite, check_disk

if TYPE_CHECKING:
    from tasks.engine.engine import Engine
    from tasks.setup.prerequisite import PrerequisiteState

#: Bytes on the engine's disk for the image, its build cache and the test containers.
ENGINE_DISK: Final = 8_000_000_000
_ENGINE_REQUIREMENT: Final = f"{MIN_ENGINE[0]} or newer, for Linux containers"
_API_REQUIREMENT: Final = ".".join(map(str, MIN_API)) + " or newer"
_DISK_REQUIREMENT: Final = f"{console.size(ENGINE_DISK)} free"


def check_engine() -> list[Prerequisite]:
    """The rows are the same ones whether an engine answers or not: their ids are stable."""
    cli = shutil.which("docker")
    state: PrerequisiteState = "ok" if cli else "missing"
    client = Prerequisite("docker-cli", "docker CLI", state, cli or "none", "any", "nox -s setup")
    try:
        engine = discovery.find()
        return [client, *judge_engine(engine), _check_base_image(engine), _check_disk(engine)]
    except EngineError as error:
        unknown = "unknown: no engine answers"
        return [
            client,
            Prerequisite(
                "engine", "Docker Engine", "missing", error.what, _ENGINE_REQUIREMENT, error.fix
            ),
            Prerequisite("engine-api", "engine API", "absent", unknown, _API_REQUIREMENT),
            Prerequisite("buildx", "buildx", "absent", unknown, "any"),
            Prerequisite("base-image", "base image", "absent", unknown, base_image.NAME),
            _disk_unknown(unknown),
        ]


def judge_engine(engine: Engine) -> list[Prerequisite]:
    """The rows of an engine that answers: its version, its API, its buildx."""
    upgrade = f"install Docker Engine {MIN_ENGINE[0]} or newer, or choose another docker context"
    is_recent = version_numbers(engine.version) >= MIN_ENGINE and engine.os == "linux"
    has_api = version_numbers(engine.api) >= MIN_API
    description = f"{engine.version} ({engine.os}/{engine.arch}) at {engine.endpoint}"
    return [
        Prerequisite(
            "engine", "Docker Engine", "ok" if is_recent else "missing", description,
            _ENGINE_REQUIREMENT, upgrade,
        ),
        Prerequisite(
            "engine-api", "engine API", "ok" if has_api else "missing", engine.api,
            _API_REQUIREMENT, upgrade,
        ),
        Prerequisite(
            "buildx", "buildx", "ok" if engine.buildx else "missing", engine.buildx or "none",
            "any", "nox -s setup",
        ),
    ]  # fmt: skip


def _check_base_image(engine: Engine) -> Prerequisite:
    is_present = base_image.is_present(engine)
    state: PrerequisiteState = "ok" if is_present else "missing"
    actual = "present" if is_present else "none"
    return Prerequisite("base-image", "base image", state, actual, base_image.NAME, "nox -s setup")


def _check_disk(engine: Engine) -> Prerequisite:
    folder = _root_folder(engine) if engine.is_local else ""
    if not folder or not Path(folder).is_dir():
        return _disk_unknown("unknown: the engine's disk is not visible from here")
    return check_disk("engine-disk", "engine's disk", folder, ENGINE_DISK, "docker system prune")


def _root_folder(engine: Engine) -> str:
    try:
        information = engine.get("/info").json()
    except ValueError:
        return ""
    return str(information.get("DockerRootDir") or "") if isinstance(information, dict) else ""


def _disk_unknown(reason: str) -> Prerequisite:
    return Prerequisite(
        "engine-disk", "engine's disk", "absent", reason, _DISK_REQUIREMENT, required=False
    )
