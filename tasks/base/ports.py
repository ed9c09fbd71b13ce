"""Whether a port of this machine is free, and who listens on it otherwise."""

from __future__ import annotations

import contextlib
import errno
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console, process
from tasks.base.errors import TaskError, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

_LISTEN: Final = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it
_LOOPBACK: Final = "127.0.0.1"


class PortTaken(TaskError):
    code = "port-taken"


def is_free(port: int) -> bool:
    """Whether a sandbox could be published there. A socket in TIME_WAIT does not hinder."""
    return _problem(port) is None


def require_free(
    port: int, *, purpose: str, find_publisher: Callable[[int], str] = lambda _: ""
) -> None:
    """Raise `PortTaken` for a port that cannot be listened on, with the name of who does.

    `find_publisher` returns the name of a container that publishes the port, or "": the process
    that listens for it is the engine's.
    """
    problem = _problem(port)
    if problem == errno.EACCES:
        raise PortTaken(
            f"port {port} for {purpose} needs more rights than you have",
            fix="ask for a port above 1023, or for port 0 (any free port)",
        )
    if problem is not None:
        container = find_publisher(port)
        owner = container or find_owner(port) or "a process that only root can name"
        raise PortTaken(
            f"port {port} for {purpose} is taken by {owner}",
            fix="end that, or ask for port 0 (any free port)",
        )


def _problem(port: int) -> int | None:
    """Why nobody can listen there, as an errno."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError as error:
            return error.errno
    return None


def find_owner(port: int, proc: Path = Path("/proc")) -> str:
    """`python3 (pid 4711)`; empty where the system does not tell us."""
    if not (proc / "net/tcp").exists():
        return _find_owner_by_lsof(port)
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            inodes |= parse_listeners((proc / "net" / name).read_text(), port)
    links = {f"socket:[{inode}]" for inode in inodes}
    for entry in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone by now
            if any(str(link.readlink()) in links for link in (entry / "fd").iterdir()):
                name = (entry / "comm").read_text(errors="replace").strip()
                return f"{console.printable(name)} (pid {entry.name})"
    return ""


def parse_listeners(table: str, port: int) -> set[str]:
    """Inodes of the sockets that listen on `port`, from the text of /proc/net/tcp."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {
        row[9]
        for row in rows
        if len(row) > 9 and row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port
    }


def _find_owner_by_lsof(port: int) -> str:
    if shutil.which("lsof") is None:
        return ""
    args = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    try:
        lines = process.capture(args, timeout=2, check=False).stdout.decode().splitlines()
    except TimedOut:
        return ""
    fields = {line[0]: line[1:] for line in lines if line}
    return f"{fields['c']} (pid {fields['p']})" if {"c", "p"} <= fields.keys() else ""
