"""Why there is no Docker Engine to work with. Each failure has its own code and exit status."""

from __future__ import annotations

from typing import ClassVar

from tasks.base.errors import TaskError


class EngineError(TaskError):
    """There is no engine to work with."""

    code: ClassVar[str] = "engine"


class NoDocker(EngineError):
    code = "no-docker"
    exit_status = 10


class EngineDown(EngineError):
    code = "engine-down"
    exit_status = 11


class EngineDenied(EngineError):
    code = "engine-denied"
    exit_status = 12


class EngineUnreachable(EngineError):
    code = "engine-unreachable"
    exit_status = 13


class EngineHangs(EngineError):
    code = "engine-hangs"
    exit_status = 14


class ApiTooOld(EngineError):
    code = "api-too-old"
    exit_status = 15


class EngineTooOld(EngineError):
    code = "engine-too-old"
    exit_status = 16


class NoBuildx(EngineError):
    code = "no-buildx"
    exit_status = 17


class NotDocker(EngineError):
    code = "not-docker"
    exit_status = 18


class ContextUnusable(EngineError):
    code = "docker-context"
    exit_status = 19
