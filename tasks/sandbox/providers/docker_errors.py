"""What a Docker Engine refuses, as errors of ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import docker.errors
import requests.exceptions

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.sandbox.errors import SandboxEnded

if TYPE_CHECKING:
    from collections.abc import Iterator


class EngineFailed(TaskError):
    code = "engine-failed"


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Raise `EngineFailed` for what the engine refuses, `SandboxEnded` for a container that is not
    running. `doing` says what was tried.
    """
    try:
        yield
    except docker.errors.APIError as error:
        reason = console.printable(str(error.explanation or error))
        if error.status_code in {404, 409} and (
            "is not running" in reason or "No such container" in reason or "is paused" in reason
        ):
            raise SandboxEnded(f"{doing}: {reason}") from error
        raise EngineFailed(f"{doing}: the engine said: {reason}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineFailed(
            f"{doing}: the engine does not answer ({console.printable(str(error))[:200]})",
            fix="nox -s doctor",
        ) from error
