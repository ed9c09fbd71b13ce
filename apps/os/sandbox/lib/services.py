"""The live s6 service folders, in /run/service: copies of the repository's s6-daemons/.

Copies, since a sync that deletes must not cut supervisors off, and since s6 keeps its pipes and
locks beside `run`. In the repository's folders only git-ignored links lead to the live state, so
that s6-svstat and s6-svc work on the paths people know.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

LIVE: Final = Path("/run/service")
LOGS: Final = Path("/var/log")
_SCRIPTS: Final = ("run", "finish", "log/run", "data/check")
_LINKS: Final = ("supervise", "event")


def lay_out(repo: Path) -> None:
    """Make /run/service afresh from `repo`'s services."""
    _end_leftovers()
    writable(LIVE)
    for old in LIVE.iterdir():
        shutil.rmtree(old)
    definitions = repo / "apps/os/sandbox/s6-daemons"
    for definition in sorted(path for path in definitions.iterdir() if path.is_dir()):
        live = LIVE / definition.name
        shutil.copytree(definition, live, ignore=shutil.ignore_patterns(*_LINKS))
        for script in _SCRIPTS:
            if (live / script).exists():
                (live / script).chmod(0o755)
        _link(definition, live)
        _link(definition / "log", live / "log")
        writable(LOGS / definition.name)


def writable(folder: Path) -> None:
    """Make sure that `folder` is there and ours, also where /run or /var/log is a fresh tmpfs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError:
        owner = f"{os.getuid()}:{os.getgid()}"
        install = ["sudo", "-n", "install", "-d", "-o", owner.split(":", maxsplit=1)[0], "-g",
                   owner.split(":")[1], str(folder)]  # fmt: skip
        if subprocess.run(install, check=False).returncode:
            raise TaskError(
                f"cannot make {folder}", fix=f"let it belong to uid {os.getuid()}"
            ) from None
    if not os.access(folder, os.W_OK):
        raise TaskError(f"cannot write to {folder}", fix=f"let it belong to uid {os.getuid()}")


def _link(definition: Path, live: Path) -> None:
    if not definition.is_dir():
        return
    for name in _LINKS:
        link = definition / name
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)  # left by a supervisor that ran in the tree itself
        if not link.is_symlink() or link.readlink() != live / name:
            link.unlink(missing_ok=True)
            link.symlink_to(live / name)


def _end_leftovers() -> None:
    """End supervisors that outlived a killed s6-svscan: they hold locks and their services' ports.

    Nothing of the kind lives when the container itself was restarted, only when this runs as the
    child of another init.
    """
    if any(_processes_of("s6-svscan")):
        raise TaskError(
            "the sandbox's services run already", fix="s6-svscanctl -t /run/service ends them"
        )
    supervisors = list(_processes_of("s6-supervise"))
    if not supervisors:
        return
    console.warn(f"ending {len(supervisors)} supervisors left by a killed s6-svscan")
    # SIGTERM: take the service down, then exit (s6-supervise's documentation).
    for pid in supervisors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while any(_processes_of("s6-supervise")) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in _processes_of("s6-supervise"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes_of(name: str) -> Iterator[int]:
    """The processes of that name, of this user."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            is_ours = folder.name.isdigit() and folder.stat().st_uid == os.getuid()
            if is_ours and (folder / "comm").read_text().strip() == name:
                yield int(folder.name)
