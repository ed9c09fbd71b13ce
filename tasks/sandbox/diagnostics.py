"""One folder that tells what was the matter with a sandbox: the same files for every provider."""

from __future__ import annotations

import json
import re
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from tasks.base import console, envfile, project, redaction
from tasks.base.errors import TaskError
from tasks.base.http import Client, Limits
from tasks.sandbox.readiness import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.sandbox.sandbox import Sandbox

_SECRET_FILES: Final = (
    f"{project.HOME}/.iterate/daemon-token",
    f"{project.HOME}/.iterate/opencode-password",
)
_ENV_FILE: Final = f"{project.HOME}/.iterate/.env"

#: File of the bundle → shell text (run as root) whose output it holds.
_COMMANDS: Final = {
    "services.txt": 'for s in /run/service/*/; do echo "$s $(s6-svstat $s)"; done 2>&1',
    "processes.txt": "ps -eo pid,ppid,user,stat,etime,rss,args --forest",
    "ports.txt": "ss -tlnp",
    "disk.txt": "df -h / /run /tmp; free -m; du -sh /var/log/*",
    # The user's own: root without CAP_SYS_PTRACE could not read them.
    "environment.txt": (
        f"sudo -u {project.USER} sh -c 'cat /proc/[0-9]*/environ 2>/dev/null' |"
        " tr '\\0' '\\n' | cut -d= -f1 | grep -E '^[A-Za-z_][A-Za-z0-9_]*$' | sort -u"
    ),
    "versions.txt": (
        # Each agent and tool has its commands in a folder of its own.
        "for t in $(basename -a /opt/*/bin/*) git python3 s6-svscan; do"
        f' echo "$t $(timeout 20 sudo -u {project.USER} env HOME=$HOME $t --version 2>&1'
        ' </dev/null | head -1)"; done'
    ),
    "git.txt": (
        f"cd {project.REPO};"
        f" sudo -u {project.USER} git status --porcelain=v1 --branch | head -100;"
        f" sudo -u {project.USER} git log -3 --oneline; sudo -u {project.USER} git remote -v"
    ),
    "kernel.txt": "dmesg 2>/dev/null | tail -20",
}
_FILES: Final = {
    "state.json": "/run/iterate/state.json",
    "build.json": project.BUILD_INFO,
    **{f"{service}.log": f"/var/log/{service}/current" for service in project.SERVICES},
}


@dataclass(frozen=True, kw_only=True)
class Bundle:
    folder: Path
    summary: str


def collect(sandbox: Sandbox, folder: Path, *, reason: str) -> Bundle:
    """Write everything known about `sandbox` into `folder`, free of secrets.

    Never raises for what the sandbox cannot tell any more: the reason stands in its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    secrets = _secrets(sandbox)
    parts = {name: _text(partial(_shell, sandbox, script)) for name, script in _COMMANDS.items()}
    parts |= {name: _text(partial(_file, sandbox, path)) for name, path in _FILES.items()}
    parts["console.log"] = _text(lambda: sandbox.console(tail=2000))
    parts["provider.json"] = _text(lambda: json.dumps(sandbox.describe(), indent=2, default=str))
    parts["readyz.json"] = _text(lambda: _http(sandbox, "/readyz"))
    parts["healthz.json"] = _text(lambda: _http(sandbox, "/healthz"))
    parts["reason.txt"] = reason
    parts = {name: redaction.redact(text, secrets) for name, text in parts.items()}
    parts["summary.txt"] = _summary(sandbox, parts)
    for name, text in parts.items():
        (folder / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8", errors="replace")
    return Bundle(folder=folder, summary=parts["summary.txt"])


def folder_for(run: str, test: str, sandbox: str) -> Path:
    slug = re.sub(r"[^\w.-]+", "-", test).strip("-")[-120:]
    return project.state_dir() / "diagnostics" / run / slug / sandbox


def _secrets(sandbox: Sandbox) -> set[str]:
    """What must not be told: what the sandbox was given, and what it made up itself."""
    secrets = redaction.secrets_in(sandbox.spec.env)
    for path in _SECRET_FILES:
        with suppress(TaskError):
            secrets.add(sandbox.read(path).decode(errors="replace").strip())
    with suppress(TaskError):
        secrets |= set(envfile.parse(sandbox.read(_ENV_FILE)).values.values())
    return secrets


def _text(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (TaskError, OSError) as error:
        return f"(not available: {console.printable(str(error))})"


def _shell(sandbox: Sandbox, script: str) -> str:
    env = {"HOME": project.HOME}
    result = sandbox.exec(
        ["sh", "-c", script], user="root", cwd="/", env=env, timeout=60, check=False
    )
    return result.stdout + result.stderr


def _file(sandbox: Sandbox, path: str) -> str:
    return sandbox.read(path).decode(errors="replace")


def _http(sandbox: Sandbox, path: str) -> str:
    port = project.DAEMON_PORT
    url, headers = f"{sandbox.url(port)}{path}", sandbox.headers(port)
    with closing(Client(SERVICE, limits=Limits(connect=10, idle=10, total=30))) as client:
        response = client.send("GET", url, doing=path, headers=headers)
    return f"{response.status} {response.text}"


def _summary(sandbox: Sandbox, parts: dict[str, str]) -> str:
    def tail(name: str, count: int) -> list[str]:
        return [f"    {console.printable(line)}" for line in parts[name].splitlines()[-count:]]

    lines = [f"{sandbox.name}: {_text(lambda: sandbox.end_reason() or 'runs')}"]
    lines += [f"  {parts['readyz.json'][:300]}", "  services:", *tail("services.txt", 6)]
    for service in project.SERVICES:
        lines += [f"  end of the log of {service}:", *tail(f"{service}.log", 5)]
    lines += ["  end of the console:", *tail("console.log", 8)]
    return "\n".join(lines)
