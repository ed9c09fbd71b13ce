"""The registry program that tests of pushing to Daytona run on loopback.

Taken out of the distribution's package without installing that: its service would listen on
every address of this machine from then on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import process, project
from tasks.base.errors import MissingTool

if TYPE_CHECKING:
    from tasks.setup.system import System

#: Debian's and Ubuntu's.
PACKAGE: Final = "docker-registry"
#: Upstream calls the program `registry`.
NAMES: Final = ("docker-registry", "registry")


def ours() -> Path:
    """Where `setup` puts it."""
    return project.cache_dir() / PACKAGE / "usr/bin/docker-registry"


def find() -> Path | None:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found:
        return Path(found)
    return ours() if os.access(ours(), os.X_OK) else None


def require() -> Path:
    if path := find():
        return path
    raise MissingTool(
        "there is no `docker-registry` on this machine, which pushes to the stand-in need",
        fix="nox -s setup",
    )


def get() -> Path:
    """Unpack the package beside our other caches. Its lists must be fresh."""
    place = project.cache_dir() / PACKAGE
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as name:
        folder = Path(name)
        process.capture(["apt-get", "download", PACKAGE], cwd=folder, timeout=300)
        package = next(folder.glob("*.deb"))
        process.capture(["dpkg-deb", "--extract", str(package), str(folder / "new")])
        shutil.rmtree(place, ignore_errors=True)
        (folder / "new").rename(place)
    return ours()


def how_to_get(system: System) -> str:
    """For people, where `setup` cannot get one itself."""
    return {
        "debian": "nox -s setup",
        "ubuntu": "nox -s setup",
        "macos": "go install github.com/distribution/distribution/v3/cmd/registry@latest",
        "fedora": "sudo dnf install docker-distribution",
        "arch": "sudo pacman -S distribution",
        "suse": "sudo zypper install distribution-registry",
        "alpine": "sudo apk add docker-registry",
    }.get(system.family, "put the registry program of the CNCF's distribution on PATH")
