"""Who owns a run, and whether that process still lives: pid, its start, and the boot it ran in.

A pid alone would be taken over by an unrelated process one day. A boot id and a pid
namespace say whether we may judge at all: engines are shared by machines and containers.
Standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Life = Literal["alive", "dead", "unknown"]


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
        """None for what is not one of our labels: it may come from anybody."""
        try:
            fields = json.loads(text)
            owner = cls(**fields)
        except (ValueError, TypeError):
            return None
        texts = (owner.host, owner.boot, owner.namespace, owner.start)
        if not all(isinstance(t, str) for t in texts) or type(owner.pid) is not int:
            return None
        return owner


@cache
def _here() -> tuple[str, str, str]:
    return _host(), _boot(), _namespace()


def current(pid: int | None = None) -> Owner:
    """The owner that this process is, or the living process `pid`."""
    pid = os.getpid() if pid is None else pid
    host, boot, namespace = _here()
    return Owner(host=host, boot=boot, namespace=namespace, pid=pid, start=_start(pid) or "")


def life(owner: Owner | None) -> Life:
    """Whether the owner lives. `unknown` where this machine cannot tell."""
    if owner is None:
        return "unknown"
    host, boot, namespace = _here()
    if owner.boot != boot:
        # Another boot of this machine ended all that ran in it; another machine may be alive.
        return "dead" if host and owner.host == host else "unknown"
    if owner.namespace != namespace:
        return "unknown"
    return "alive" if owner.start and _start(owner.pid) == owner.start else "dead"


def _start(pid: int) -> str | None:
    """When `pid` started, in a form that only equals itself; None when there is no such process."""
    if pid <= 0:
        return None
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        # The name in brackets may hold spaces and brackets: fields count from the last one.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else fields[19]
    ps = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return ps.stdout.strip() or None


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
