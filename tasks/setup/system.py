"""Which system this is, and how to run a command as root on it."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import process
from tasks.base.errors import MissingTool, TaskError, TimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping

Family = Literal["debian", "ubuntu", "fedora", "arch", "suse", "alpine", "macos", "other"]

PROXY_VARIABLES: Final = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


class NeedsRoot(TaskError):
    code = "needs-root"


@dataclass(frozen=True)
class System:
    family: Family
    name: str  # "Debian GNU/Linux 12 (bookworm)"
    release: str = ""  # "12", "24.04"
    codename: str = ""
    systemd: bool = False
    root: bool = False

    @property
    def has_apt(self) -> bool:
        return self.family in {"debian", "ubuntu"}


def user_name() -> str:
    """The name of the user who runs this; the number of one without an account."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def current_system() -> System:
    if sys.platform == "darwin":
        return System("macos", f"macOS {platform.mac_ver()[0]}")
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    systemd = Path("/run/systemd/system").is_dir()  # sd_booted(3)
    return from_os_release(release, systemd=systemd, root=os.geteuid() == 0)


def from_os_release(release: Mapping[str, str], *, systemd: bool, root: bool) -> System:
    distributions = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return System(
        family=_family(distributions),
        name=release.get("PRETTY_NAME") or release.get("ID") or platform.system(),
        release=release.get("VERSION_ID", ""),
        codename=release.get("VERSION_CODENAME", ""),
        systemd=systemd,
        root=root,
    )


def _family(distributions: list[str]) -> Family:
    families: list[tuple[str, Family]] = [
        ("ubuntu", "ubuntu"),
        ("debian", "debian"),
        ("fedora", "fedora"),
        ("rhel", "fedora"),
        ("arch", "arch"),
        ("suse", "suse"),
        ("opensuse", "suse"),
        ("alpine", "alpine"),
    ]
    return next((family for word, family in families if word in distributions), "other")


def root_prefix(purpose: str) -> list[str]:
    """What to put before a command so that root runs it; asks for a password on a terminal.

    `purpose` begins the error's sentence: "installing git". Raises `NeedsRoot`.
    """
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        raise NeedsRoot(
            f"{purpose} needs root, and there is no `sudo` command",
            fix="run this as root, or install sudo",
        )
    pairs = [(name, name.upper()) for name in PROXY_VARIABLES]
    proxies = [name for pair in pairs for name in pair if name in os.environ]
    prefix = ["sudo", "-n", *([f"--preserve-env={','.join(proxies)}"] if proxies else [])]
    if _succeeds([*prefix, "true"]):
        return prefix
    if sys.stdin.isatty():
        process.run(["sudo", "-v"])
        if _succeeds([*prefix, "true"]):
            return prefix
    raise NeedsRoot(
        f"{purpose} needs root, and sudo asks for the password of {user_name()}",
        fix="sudo -v, then run this again",
    )


def _succeeds(args: list[str]) -> bool:
    try:
        return process.capture(args, timeout=20, check=False).returncode == 0
    except (MissingTool, TimedOut, subprocess.SubprocessError):
        return False
