"""The registry program that tests of pushing to Daytona run on loopback."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.errors import MissingTool

if TYPE_CHECKING:
    from tasks.host.system import System

#: Debian's and Ubuntu's. Installing it must not start it: the tests run one of their own.
PACKAGES: Final = ("docker-registry",)
#: Upstream calls the program `registry`.
NAMES: Final = ("docker-registry", "registry")


def find() -> Path | None:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


def require() -> Path:
    if path := find():
        return path
    raise MissingTool("there is no `docker-registry` on this machine", fix="nox -s setup")


def how_to_get(system: System) -> str:
    """For people, where `setup` cannot get one itself."""
    return {
        "debian": "sudo apt-get install docker-registry",
        "ubuntu": "sudo apt-get install docker-registry",
        "macos": "go install github.com/distribution/distribution/v3/cmd/registry@latest",
        "fedora": "sudo dnf install docker-distribution",
        "arch": "sudo pacman -S distribution",
        "suse": "sudo zypper install distribution-registry",
        "alpine": "sudo apk add docker-registry",
    }.get(system.family, "put the registry program of the CNCF's distribution on PATH")
