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
from tasks.engine import discovery
from tasks.engine.errors import EngineDenied
from tasks.setup.system import PROXY_VARIABLES, root_prefix, user_name

if TYPE_CHECKING:
    from tasks.setup.system import System

LOG: Final = Path("/var/log/dockerd.log")
#: Seconds for an engine to come up; one with many containers to restore takes its time.
START: Final = 60.0
#: Where root finds iptables and containerd, whatever PATH the user has.
ROOT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class EngineDidNotStart(TaskError):
    code = "engine-does-not-start"


def installed_program() -> Path | None:
    program = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:{ROOT_PATH}")
    return Path(program) if program else None


def version(program: Path) -> str:
    """The version of an installed engine that does not run."""
    output = process.capture([str(program), "--version"], timeout=10, check=False).stdout
    words = output.decode(errors="replace").replace(",", " ").split()
    return next((w for w in words if w[0].isdigit()), "0")


def start(system: System) -> None:
    """Start the installed engine, wait until it answers, and let this user talk to it."""
    watch = console.Stopwatch()
    prefix = root_prefix("starting the Docker Engine")
    user = "" if system.root else user_name()
    if system.systemd:
        process.run([*prefix, "systemctl", "start", "docker"])
    else:
        # A process of root, which removes what an unclean stop left, starts dockerd, and ends.
        code = [sys.executable, "-B", "-m", "tasks.setup.dockerd"]
        command = [*prefix, "env", f"PATH={ROOT_PATH}", *code]
        console.say(f"$ dockerd  (detached; its log: {LOG})", "dim")
        process.capture(command, cwd=project.ROOT)
    try:
        waiting.until(
            lambda: _answers(system, user), what="an answer from the started engine", timeout=START
        )
    except TimedOut as error:
        raise EngineDidNotStart(
            f"{error.what}{_error_in_log()}", fix=_where_to_look(system)
        ) from error
    console.good(f"the Docker Engine was started ({watch})")


def _answers(system: System, user: str) -> bool:
    error = discovery.diagnose()
    if user and isinstance(error, EngineDenied):
        allow(user)
    elif error and not system.systemd and not is_running():
        raise EngineDidNotStart(f"dockerd ended{_error_in_log()}", fix=_where_to_look(system))
    return error is None


def _where_to_look(system: System) -> str:
    return "journalctl -u docker" if system.systemd else f"see {LOG}"


def _error_in_log() -> str:
    try:
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    signs = ("level=error", "level=fatal", "failed")
    errors = [line for line in lines[-60:] if any(sign in line for sign in signs)]
    last = (errors or lines)[-1:]
    return f": {console.printable(last[0])[-300:]}" if last else ""


def is_running(name: str = "dockerd", proc: Path = Path("/proc")) -> bool:
    return any(_runs(entry, name) for entry in proc.glob("[0-9]*"))


def _runs(entry: Path, name: str) -> bool:
    """Whether the process is `name` and alive. A zombie is not alive."""
    try:
        _, _, rest = (entry / "stat").read_text().partition("(")
    except OSError:
        return False
    comm, _, state = rest.rpartition(") ")
    return comm == name and not state.startswith("Z")


def stale_files(run: Path = Path("/run"), proc: Path = Path("/proc")) -> list[Path]:
    """Files in the way of a start, left by an engine that was killed or went down with its machine.

    Another process may have the process id in them by now, and dockerd takes it for an engine
    that runs; dockerd also waits for a containerd whose socket exists.
    """
    files = []
    for name, path in (
        ("dockerd", run / "docker.pid"),
        ("containerd", run / "docker/containerd/containerd.pid"),
    ):
        with contextlib.suppress(OSError):
            pid = path.read_text().strip()
            if not pid.isdigit() or not _runs(proc / pid, name):
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
    """As root: start dockerd so that it outlives us. One that runs already is left alone."""
    program = installed_program()
    if program is None:
        raise EngineDidNotStart("dockerd is not installed", fix="nox -s setup")
    if is_running():
        return
    for path in stale_files():
        path.unlink(missing_ok=True)
    # A service gets the proxies of this environment, and nothing else of it.
    environment = {"PATH": ROOT_PATH, "HOME": "/root", "LANG": "C.UTF-8"}
    for name in PROXY_VARIABLES:
        environment |= {n: os.environ[n] for n in (name, name.upper()) if n in os.environ}
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        log.write(f"--- started by `nox -s setup`, {time.strftime('%FT%T%z')}\n".encode())
        log.flush()
        subprocess.Popen(
            [str(program)],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def allow(user: str) -> None:
    """Let `user` use the engine: the socket at once, the group from the next login on."""
    prefix = root_prefix(f"letting {user} use the Docker Engine")
    socket_path = "/run/docker.sock"
    for command in (["usermod", "-aG", "docker", user], ["chown", f"{user}:docker", socket_path]):
        process.run([*prefix, *command])


if __name__ == "__main__":
    start_detached()
