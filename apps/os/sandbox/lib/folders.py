"""Folders that mounts bring along, made usable at each start.

An engine makes what it needs for a mount as root: a new volume, a folder of the host that is not
there yet, the folders on the way to either. Where services, agents, shells and package managers
keep state that would be refused to them, so such folders are given to the sandbox's user. What
belongs to somebody else stays as it is and is said.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTS: Final = Path("/proc/self/mountinfo")
#: In the home: OpenCode does not start without them.
OPENCODE_STATE: Final = (
    ".local/share/opencode",
    ".local/state/opencode",
    ".config/opencode",
    ".cache/opencode",
)
#: A volume of Docker or Podman, as mountinfo names it; or memory, which nobody else can have.
_VOLUME: Final = re.compile(r"/volumes/[^/ ]+/_data | - tmpfs ")


@dataclass(frozen=True)
class MountedFolder:
    """A folder that is a mount, or leads to one, and what it lies on."""

    path: Path
    mount: Path
    is_on_volume: bool

    def belongs_to_sandbox(self) -> bool:
        """Whether nobody but this sandbox can have use for it as it is: never a host's files."""
        return self.is_on_volume or self.mount == Path("/") or _is_empty(self.path)


def mend(home: Path) -> list[str]:
    """Give the user what mounts below `home` brought along as root's; the problems that remain."""
    problems = []
    for folder in _brought_along(home):
        path = folder.path
        if os.access(path, os.W_OK | os.X_OK) or _is_read_only(path) or not path.is_dir():
            continue
        owner = path.stat().st_uid
        is_mendable = owner == 0 and folder.belongs_to_sandbox()
        if not is_mendable or not _give(path, everything=path == folder.mount):
            problems.append(
                f"{_short(path, home)} belongs to uid {owner}, so uid {os.getuid()} cannot write to"
                f" it → docker exec -u root SANDBOX chown -R {os.getuid()} {path}"
            )
    reasons: dict[str, list[str]] = {}
    for name in OPENCODE_STATE:
        if reason := make(home / name):
            reasons.setdefault(reason, []).append(f"~/{name}")
    return problems + [
        f"OpenCode cannot write to {', '.join(names)}: {reason}"
        for reason, names in reasons.items()
    ]


def require(folder: Path) -> None:
    """`make`, for a folder without which nothing works. Raises `TaskError`."""
    if reason := make(folder):
        raise TaskError(f"cannot write to {folder}: {reason}")


def make(folder: Path) -> str:
    """Make `folder`, also on a fresh tmpfs that is root's; why it cannot be written, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError:
        _sudo("install", "-d", "-o", str(os.getuid()), "-g", str(os.getgid()), str(folder))
    except OSError as error:
        return _reason(error.strerror or "it cannot be made", folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        if not os.path.exists(folder):
            return _reason("it cannot be made", folder)
        owner = folder.stat().st_uid
        is_mendable = owner == 0 and _is_empty(folder) and not _is_read_only(folder)
        if not is_mendable or not _give(folder, everything=False):
            return _reason(f"it belongs to uid {owner} → chown it to uid {os.getuid()}", folder)
    return ""


def _reason(reason: str, folder: Path) -> str:
    """With the cure for a container that was started with --read-only."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not _is_read_only(nearest):
        return reason
    return "its file system is read-only → mount a tmpfs or a volume there, without :ro"


def _brought_along(home: Path) -> list[MountedFolder]:
    """The folders below `home` that are mounts or lead to one; those further up come first."""
    mounts = dict(_mounts())
    paths = {
        path: None
        for mount in mounts
        if home in mount.parents
        for path in (*reversed([p for p in mount.parents if home in p.parents]), mount)
        if os.path.isdir(path)
    }
    folders = []
    for path in paths:
        mount = next(place for place in (path, *path.parents) if place in mounts)
        folders.append(MountedFolder(path, mount, mounts[mount]))
    return folders


def _mounts() -> Iterator[tuple[Path, bool]]:
    """Mount points, the fifth field of proc_pid_mountinfo(5), and whether each is a volume."""
    for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        yield Path(point), bool(_VOLUME.search(line))


def _is_read_only(folder: Path) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _is_empty(folder: Path) -> bool:
    """Nothing but mount points, and what a fresh file system has."""
    try:
        with os.scandir(folder) as entries:
            return all(e.name == "lost+found" or os.path.ismount(e.path) for e in entries)
    except OSError:
        return False


def _give(folder: Path, *, everything: bool) -> bool:
    """Let root's `folder`, or everything in it that is root's, belong to the user; whether the user
    can write to it now. A file mounted read-only below it stays as it is.
    """
    change = ["chown", "--no-dereference", f"{os.getuid()}:{os.getgid()}"]
    if everything:
        _sudo("find", str(folder), "-xdev", "-uid", "0", "-exec", *change, "{}", "+")
    else:
        _sudo(*change, str(folder))
    return os.access(folder, os.W_OK | os.X_OK)


def _sudo(*command: str) -> None:
    """Run `command` as root; where sudo cannot be had, nothing happens."""
    subprocess.run(["sudo", "-n", *command], check=False, capture_output=True)


def _short(folder: Path, home: Path) -> str:
    return console.printable(f"~/{folder.relative_to(home)}")
