"""Who owns a thing, and whether that process still lives: pid, its start, and the boot it ran in.

The one way to ask. A pid alone would be taken over by an unrelated process one day, and means
nothing in a container that has the same folder mounted. A boot id and a pid namespace say whether
we may judge at all: what cannot be told is "unknown", and what is unknown is never taken for dead.
Standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable

Life = Literal["alive", "dead", "unknown"]
_OWNER_FILE: Final = "owner"
#: In place of the start of a process that does not exist.
_NO_PROCESS: Final = "ended"
#: No system gives a process this number.
_PIDS: Final = 2**31


@dataclass(frozen=True, kw_only=True)
class Owner:
    host: str
    boot: str
    namespace: str
    pid: int
    start: str

    def to_label(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_label(cls, text: str) -> Owner | None:
        """The owner that a label names; None for a text that is not one of our labels."""
        try:
            fields = parse_json(text)
            owner = cls(**fields)
        except (ValueError, TypeError):
            return None
        texts = (owner.host, owner.boot, owner.namespace, owner.start)
        if not all(isinstance(t, str) for t in texts) or type(owner.pid) is not int:
            return None
        return owner


@cache
def _surroundings() -> tuple[str, str, str]:
    return _host(), _boot(), _namespace()


def current(pid: int | None = None) -> Owner:
    """The owner that this process is, or the living process `pid`."""
    pid = os.getpid() if pid is None else pid
    host, boot, namespace = _surroundings()
    return Owner(host=host, boot=boot, namespace=namespace, pid=pid, start=_start(pid) or "")


def life(owner: Owner | None) -> Life:
    """Whether the owner lives. `unknown` where this machine cannot tell."""
    if owner is None:
        return "unknown"
    host, boot, namespace = _surroundings()
    if owner.boot != boot:
        # Another boot of this machine ended all that ran in it; another machine may be alive.
        return "dead" if host and owner.host == host else "unknown"
    if not boot or owner.namespace != namespace:
        return "unknown"
    start = _start(owner.pid)
    if start == _NO_PROCESS:
        return "dead"
    if start is None or not owner.start:
        return "unknown"
    return "alive" if owner.start == start else "dead"


def sign(folder: Path) -> None:
    """Note in `folder` that it is this process's."""
    (folder / _OWNER_FILE).write_text(current().to_label())


def life_of(folder: Path) -> Life:
    """Whether the owner lives who has signed `folder`."""
    try:
        return life(Owner.from_label((folder / _OWNER_FILE).read_text(errors="replace")))
    except OSError:
        return "unknown"


def sweep(folders: Iterable[Path], *, stale: float) -> None:
    """Remove those whose owners are dead, and those of which nobody can tell once they are `stale`
    seconds old: the owner may be in another container that shares the place.
    """
    for folder in folders:
        with suppress(OSError):  # another run sweeps, too
            folder_life = life_of(folder)
            age = time.time() - folder.stat().st_mtime
            if folder_life == "dead" or (folder_life == "unknown" and age > stale):
                shutil.rmtree(folder, ignore_errors=True)


def _start(pid: int) -> str | None:
    """When `pid` started, in a form that only equals itself; `_NO_PROCESS` when there is no such
    process, None when this process cannot see whether there is.
    """
    if not 0 < pid < _PIDS:
        return _NO_PROCESS
    return _linux_start(pid) if sys.platform == "linux" else _ps_start(pid)


def _linux_start(pid: int) -> str | None:
    try:
        is_ours = os.readlink("/proc/self") == str(os.getpid())
        # In a new namespace with the old /proc, only our own entry can be found.
        if not is_ours and pid != os.getpid():
            return None
        stat = Path("/proc", str(pid) if is_ours else "self", "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return _NO_PROCESS if not _is_there(pid) else None
    except OSError:
        return None
    # The name in brackets may hold spaces and brackets: fields count from the last one.
    fields = stat.rpartition(")")[2].split()
    return _NO_PROCESS if fields[0] in {"Z", "X"} else fields[19]


def _ps_start(pid: int) -> str | None:
    try:
        ps = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return ps.stdout.strip() or (None if _is_there(pid) else _NO_PROCESS)


def _is_there(pid: int) -> bool:
    """Whether there is a process of that number, also where /proc hides those of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    sysctl = subprocess.run(
        ["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False
    )
    return sysctl.stdout.strip()


def _host() -> str:
    """Empty when there is nothing to tell this machine from another of the same name."""
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text().strip()
        return f"{platform.node()} {machine}" if machine else ""
    return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
