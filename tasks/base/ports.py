"""Who listens on a port of this machine."""

from __future__ import annotations

import contextlib
import errno
import shutil
import socket
from pathlib import Path
from typing import Final

from tasks.base import process
from tasks.base.errors import TimedOut

LISTEN: Final = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a sandbox could be published there. A socket in TIME_WAIT does not hinder."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno not in {errno.EADDRINUSE, errno.EACCES}
    return True


def owner(port: int, proc: Path = Path("/proc")) -> str:
    """`python3 (pid 4711)`; empty where the system does not tell us."""
    if not (proc / "net/tcp").exists():
        return _owner_by_lsof(port)
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            inodes |= listening((proc / "net" / name).read_text(), port)
    links = {f"socket:[{inode}]" for inode in inodes}
    for entry in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone by now
            if any(str(fd.readlink()) in links for fd in (entry / "fd").iterdir()):
                return f"{(entry / 'comm').read_text().strip()} (pid {entry.name})"
    return ""


def listening(table: str, port: int) -> set[str]:
    """Inodes of the sockets listening on `port`, of the text of /proc/net/tcp."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {
        row[9]
        for row in rows
        if len(row) > 9 and row[3] == LISTEN and int(row[1].rpartition(":")[2], 16) == port
    }


def _owner_by_lsof(port: int) -> str:
    if shutil.which("lsof") is None:
        return ""
    args = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    try:
        lines = process.capture(args, timeout=2, check=False).stdout.decode().splitlines()
    except TimedOut:
        return ""
    fields = {line[0]: line[1:] for line in lines if line}
    return f"{fields['c']} (pid {fields['p']})" if {"c", "p"} <= fields.keys() else ""
