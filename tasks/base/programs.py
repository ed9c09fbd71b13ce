"""Programs beside this repository that its tests drive: a browser and a container registry.

`nox -s setup` gets them where they are missing; `nox -s doctor` shows them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import project
from tasks.base.errors import BadInput, MissingTool

if TYPE_CHECKING:
    from collections.abc import Mapping

BROWSER_VARIABLE: Final = "ITERATE_CHROMIUM"
_BROWSERS: Final = (
    "chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome",
)  # fmt: skip
#: Browsers outside of PATH: macOS applications, and Ubuntu's snap.
BROWSER_APPLICATIONS: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/snap/bin/chromium",
)
#: The CNCF's `distribution`: Debian and Ubuntu call the program docker-registry.
_REGISTRIES: Final = ("docker-registry", "registry")


def find_browser(environment: Mapping[str, str] = os.environ) -> Path | None:
    """A Chromium or Chrome: `ITERATE_CHROMIUM`, one on PATH, or an application. Raises `BadInput`
    where the variable does not name a program.
    """
    if path := environment.get(BROWSER_VARIABLE):
        if not os.access(path, os.X_OK):
            raise BadInput(
                f"{BROWSER_VARIABLE}={path} is not a program",
                fix=f"correct or unset {BROWSER_VARIABLE}",
            )
        return Path(path)
    for name in _BROWSERS:
        program = shutil.which(name, path=environment.get("PATH"))
        if program and not _is_snap_stub(Path(program)):
            return Path(program)
    applications = (Path(path) for path in BROWSER_APPLICATIONS)
    return next((path for path in applications if os.access(path, os.X_OK)), None)


def require_browser() -> Path:
    """As `find_browser`; raises `MissingTool` where there is none."""
    if browser := find_browser():
        return browser
    raise MissingTool("there is no Chromium or Chrome on this machine", fix="nox -s setup")


def _is_snap_stub(path: Path) -> bool:
    """Ubuntu's `chromium-browser` is a script that asks the user to install a snap."""
    try:
        with path.open("rb") as file:
            start = file.read(2048)
    except OSError:
        return True
    return start.startswith(b"#!") and b"snap" in start and not Path("/snap/bin/chromium").exists()


def registry_from_setup() -> Path:
    """Where `nox -s setup` puts the registry program."""
    return project.cache_dir() / "docker-registry/usr/bin/docker-registry"


def find_registry() -> Path | None:
    """The registry program: on PATH, or where `nox -s setup` puts it."""
    for name in _REGISTRIES:
        if program := shutil.which(name):
            return Path(program)
    program_path = registry_from_setup()
    return program_path if os.access(program_path, os.X_OK) else None


def require_registry() -> Path:
    """As `find_registry`; raises `MissingTool` where there is none."""
    if program := find_registry():
        return program
    raise MissingTool(
        "there is no `docker-registry` on this machine, which pushes to the stand-in need",
        fix="nox -s setup",
    )
