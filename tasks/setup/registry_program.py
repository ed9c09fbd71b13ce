"""The registry program that tests of pushing to Daytona run on loopback.

It is taken out of the distribution's package without installing that package: the package's
service would listen on every address of this machine from then on.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import process
from tasks.base.programs import registry_from_setup

if TYPE_CHECKING:
    from tasks.setup.system import System

#: Debian's and Ubuntu's.
PACKAGE: Final = "docker-registry"


def unpack() -> Path:
    """Unpack the package beside our other caches, and return the program. The package lists must
    be fresh.
    """
    program = registry_from_setup()
    target = program.parents[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        process.capture(["apt-get", "download", PACKAGE], cwd=folder, timeout=300)
        package = next(folder.glob("*.deb"))
        process.capture(["dpkg-deb", "--extract", str(package), str(folder / "new")])
        shutil.rmtree(target, ignore_errors=True)
        (folder / "new").rename(target)
    return program


def how_to_install(system: System) -> str:
    """For people, where `setup` cannot install one itself."""
    return {
        "debian": "nox -s setup",
        "ubuntu": "nox -s setup",
        "macos": "go install github.com/distribution/distribution/v3/cmd/registry@latest",
        "fedora": "sudo dnf install docker-distribution",
        "arch": "sudo pacman -S distribution",
        "suse": "sudo zypper install distribution-registry",
        "alpine": "sudo apk add docker-registry",
    }.get(system.family, "put the registry program of the CNCF's distribution on PATH")
