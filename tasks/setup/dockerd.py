"""Start the Docker Engine that is installed here, with systemd or without."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console, process, project, waiting
from tasks.base.errors import TaskError, TimedOut
from tasks.engine import engine
from tasks.setup import system as this

if TYPE_CHECKING:
    from tasks.setup.system import System

LOG: Final = Path("/var/log/dockerd.log")
#: Seconds for an engine to come up; one with many containers to restore takes its time.
START: Final = 60.0
#: Where root finds iptables and containerd, whatever PATH the user has.
ROOT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotStart(TaskError):
    code = "engine-does-not-start"


def installed() -> Path | None:
    found = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:{ROOT_PATH}")
    return Path(found) if found else None


def version(program: Path) -> str:
    """Of the installed engine, which does not run."""
    output = process.capture([str(program), "--version"], timeout=10, check=False).stdout
    words = output.decode(errors="replace").replace(",", " ").split()
    return next((w for w in words if w[0].isdigit()), "0")


def start(system: System) -> None:
    """Start the installed engine, wait until it answers, and let this user talk to it."""
    watch = console.Stopwatch()
    prefix = this.as_root("starting the Docker Engine")
    user = "" if system.root else this.user()
    if system.systemd:
        process.run([*prefix, "systemctl", "start", "docker"])
    else:
        # As root, in a process of its own: clear what an unclean stop left, then let go.
        code = [sys.executable, "-B", "-m", "tasks.setup.dockerd"]
        command = [*prefix, "env", f"PATH={ROOT_PATH}", *code]
        console.say(f"$ dockerd  (detached; its log: {LOG})", "dim")
        process.capture(command, cwd=project.ROOT)
    try:
        waiting.until(
            lambda: _answers(system, user), what="an answer of the started engine", timeout=START
        )
    except TimedOut as error:
        raise CannotStart(f"{error.what}{_last_words()}", fix=_look(system)) from error
    console.good(f"the Docker Engine was started ({watch})")


def _answers(system: System, user: str) -> bool:
    trouble = engine.trouble()
    if user and isinstance(trouble, engine.EngineDenied):
        allow(user)
    elif trouble and not system.systemd and not running():
        raise CannotStart(f"dockerd ended{_last_words()}", fix=_look(system))
    return trouble is None


def _look(system: System) -> str:
    return "journalctl -u docker" if system.systemd else f"see {LOG}"


def _last_words() -> str:
    try:
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    wrong = [s for s in lines[-60:] if "level=error" in s or "level=fatal" in s or "failed" in s]
    last = (wrong or lines)[-1:]
    return f": {console.printable(last[0])[-300:]}" if last else ""


def running(name: str = "dockerd", proc: Path = Path("/proc")) -> bool:
    return any(_is(entry, name) for entry in proc.glob("[0-9]*"))


def _is(entry: Path, name: str) -> bool:
    """Whether the process is `name` and alive; a zombie is not."""
    try:
        _, _, rest = (entry / "stat").read_text().partition("(")
    except OSError:
        return False
    comm, _, state = rest.rpartition(") ")
    return comm == name and not state.startswith("Z")


def stale(run: Path = Path("/run"), proc: Path = Path("/proc")) -> list[Path]:
    """What an engine that was killed, or went down with its machine, leaves in the way.

    A process id may belong to another process by now, and dockerd takes that for itself;
    it also waits for a containerd whose socket is there.
    """
    files = []
    for name, path in (
        ("dockerd", run / "docker.pid"),
        ("containerd", run / "docker/containerd/containerd.pid"),
    ):
        with contextlib.suppress(OSError):
            pid = path.read_text().strip()
            if not pid.isdigit() or not _is(proc / pid, name):
                files.append(path)
    sockets = (run / "containerd/containerd.sock", run / "docker.sock")
    return files + [path for path in sockets if path.is_socket() and _refuses(path)]


def _refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def start_detached() -> None:
    """As root: start dockerd so that it outlives us. One that is there already is left alone."""
    program = installed()
    if program is None:
        raise CannotStart("dockerd is not installed", fix="nox -s setup")
    if running():
        return
    for path in stale():
        path.unlink(missing_ok=True)
    # What nox and the terminal told us is not for a service; proxies are.
    keep = {"PATH": ROOT_PATH, "HOME": "/root", "LANG": "C.UTF-8"}
    for name in this.PROXY_VARIABLES:
        keep |= {n: os.environ[n] for n in (name, name.upper()) if n in os.environ}
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        log.write(f"--- started by `nox -s setup`, {time.strftime('%FT%T%z')}\n".encode())
        log.flush()
        subprocess.Popen(
            [str(program)],
            cwd="/",
            env=keep,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def allow(user: str) -> None:
    """Let `user` talk to the engine: by the group from the next login on, by the socket now."""
    prefix = this.as_root(f"letting {user} use the Docker Engine")
    socket_path = "/run/docker.sock"
    for command in (["usermod", "-aG", "docker", user], ["chown", f"{user}:docker", socket_path]):
        process.run([*prefix, *command])


if __name__ == "__main__":
    start_detached()
