"""The platform that an image is built for, as `os/architecture`: part of a source's identity.

https://docs.docker.com/reference/cli/docker/ (DOCKER_DEFAULT_PLATFORM); the forms and synonyms are
those of containerd, https://github.com/containerd/platforms.
"""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.engine.engine import Engine

#: What the docker CLI builds and runs, where the user sets it.
VARIABLE: Final = "DOCKER_DEFAULT_PLATFORM"
_FORM: Final = re.compile(
    r"(?:(?P<os>[a-z0-9_]+)/)?(?P<arch>[a-z0-9_]+)(?:/(?P<variant>[a-z0-9]+))?"
)
_SYNONYMS: Final = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
#: Variants that mean no other code than none does.
_PLAIN_VARIANTS: Final = {("arm64", "v8"), ("amd64", "v1")}


def of_machine() -> str:
    """What this program runs on: in a build, what the build is for."""
    return normalize(f"linux/{platform.machine().lower()}")


def of_engine(engine: Engine, environment: Mapping[str, str] = os.environ) -> str:
    """What a build on `engine` is for."""
    return requested_platform(environment) or normalize(f"{engine.os}/{engine.arch}")


def requested_platform(environment: Mapping[str, str] = os.environ) -> str | None:
    """What the user asks docker for. Raises `BadInput`."""
    text = environment.get(VARIABLE, "").strip()
    return normalize(text) if text else None


def normalize(text: str) -> str:
    """One spelling of a platform. Raises `BadInput` for what is none, or is not Linux.

    >>> normalize("linux/aarch64"), normalize("amd64"), normalize("linux/arm/v7")
    ('linux/arm64', 'linux/amd64', 'linux/arm/v7')
    """
    match = _FORM.fullmatch(text.lower())
    if not match or (match["os"] or "linux") != "linux":
        raise BadInput(
            f"{console.printable(text)} is not a platform that a sandbox can be built for",
            fix=f"set {VARIABLE} to a form like linux/amd64, or unset it",
        )
    arch = _SYNONYMS.get(match["arch"], match["arch"])
    variant = match["variant"]
    suffix = f"/{variant}" if variant and (arch, variant) not in _PLAIN_VARIANTS else ""
    return f"linux/{arch}{suffix}"


def arch_of(name: str) -> str:
    """The architecture and variant of a platform, as a word: `amd64`, `arm-v7`."""
    return name.partition("/")[2].replace("/", "-")
