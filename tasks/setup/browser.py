"""The browser that the tests of the daemon's pages drive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput, TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.setup.system import System

VARIABLE: Final = "ITERATE_CHROMIUM"
NAMES: Final = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome")
APPLICATIONS: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/snap/bin/chromium",
)
#: A page needs glyphs; Chromium's package brings none.
PACKAGES: Final = ("chromium", "fonts-dejavu-core")


class NoBrowser(TaskError):
    code = "no-browser"


def find(environment: Mapping[str, str] = os.environ) -> Path | None:
    """A Chromium or Chrome: `ITERATE_CHROMIUM`, on PATH, or where applications are put."""
    if given := environment.get(VARIABLE):
        if not os.access(given, os.X_OK):
            raise BadInput(
                f"{VARIABLE}={given} is not a program", fix=f"correct or unset {VARIABLE}"
            )
        return Path(given)
    for name in NAMES:
        found = shutil.which(name, path=environment.get("PATH"))
        if found and not is_stub(Path(found)):
            return Path(found)
    return next((Path(a) for a in APPLICATIONS if os.access(a, os.X_OK)), None)


def require() -> Path:
    if path := find():
        return path
    raise NoBrowser("there is no Chromium or Chrome on this machine", fix="nox -s setup")


def is_stub(path: Path) -> bool:
    """Ubuntu's `chromium-browser` is a script that asks to install a snap."""
    try:
        with path.open("rb") as file:
            start = file.read(2048)
    except OSError:
        return True
    return start.startswith(b"#!") and b"snap" in start and not Path("/snap/bin/chromium").exists()


def how_to_get(system: System) -> str:
    """For people, where `setup` cannot get one itself."""
    return {
        "macos": "brew install --cask google-chrome",
        "ubuntu": "sudo snap install chromium",  # Ubuntu packages it no other way
        "debian": "sudo apt-get install chromium",
        "fedora": "sudo dnf install chromium",
        "arch": "sudo pacman -S chromium",
        "suse": "sudo zypper install chromium",
        "alpine": "sudo apk add chromium",
    }.get(system.family, f"install Chromium or Chrome, or set {VARIABLE}")
