"""How to install the browser that the tests of the daemon's page drive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.base.programs import BROWSER_VARIABLE

if TYPE_CHECKING:
    from tasks.setup.system import System

#: Chromium's package brings no fonts, and a page needs one.
PACKAGES: Final = ("chromium", "fonts-dejavu-core")


def how_to_install(system: System) -> str:
    """For people, where `setup` cannot install one itself."""
    return {
        "macos": "brew install --cask google-chrome",
        "ubuntu": "sudo snap install chromium",  # Ubuntu packages it no other way
        "debian": "sudo apt-get install chromium",
        "fedora": "sudo dnf install chromium",
        "arch": "sudo pacman -S chromium",
        "suse": "sudo zypper install chromium",
        "alpine": "sudo apk add chromium",
    }.get(system.family, f"install Chromium or Chrome, or set {BROWSER_VARIABLE}")
