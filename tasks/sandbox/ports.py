"""Is a port of this machine free, and if not: whose is it?"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.base import console
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    import docker


class PortTaken(TaskError):
    code = "port-taken"


def check_free(port: int, *, purpose: str, client: docker.DockerClient | None = None) -> None:
    """Refuse a port somebody listens on, naming who."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise PortTaken(f"port {port} for {purpose} needs more rights than you have") from error
        except OSError as error:
            raise PortTaken(
                f"port {port} for {purpose} is taken by {owner_of(port, client=client)}",
                fix="end that, or ask for port 0 (any free port)",
            ) from error


def owner_of(port: int, *, client: docker.DockerClient | None = None) -> str:
    """`python3 (pid 71)`, a container's name, or that it cannot be told."""
    if client is not None:
        for container in client.api.containers(filters={"publish": str(port)}):
            return f"container {container['Names'][0].lstrip('/')}"
    for pid in _listeners(port):
        with suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
            return f"{console.printable(name)} (pid {pid})"
    return "a process that only root can name"


def _listeners(port: int) -> list[int]:
    sockets = {f"socket:[{inode}]" for inode in listening_inodes(port)}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(fd.readlink()) in sockets for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def listening_inodes(port: int) -> set[int]:
    inodes: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            inodes |= parse_listening(Path(table).read_text(), port)
    return inodes


def parse_listening(table: str, port: int) -> set[int]:
    """Inodes of sockets in state LISTEN (0A) on `port`, from the text of /proc/net/tcp."""
    inodes = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(int(fields[9]))
    return inodes
