"""What several test modules ask a sandbox for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx

from tasks.base import project, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.sandbox.sandbox import Sandbox

DAEMON = project.DAEMON_PORT
OPENCODE = project.OPENCODE_PORT
TOKEN_FILE = f"{project.HOME}/.iterate/daemon-token"
PASSWORD_FILE = f"{project.HOME}/.iterate/opencode-password"
ENV_FILE = f"{project.HOME}/.iterate/.env"

#: As the README has it, so that its commands are tested as they stand.
S6DIR = f"S6DIR=~/{project.IDENTITY.repository}/apps/os/sandbox/s6-daemons"


@contextlib.contextmanager
def client(sandbox: Sandbox, port: int, **options: Any) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=sandbox.url(port),
        headers=dict(sandbox.headers(port)),
        trust_env=False,
        timeout=15,
        **options,
    ) as http:
        yield http


def get(sandbox: Sandbox, path: str, *, port: int = DAEMON, **options: Any) -> httpx.Response:
    with client(sandbox, port) as http:
        return http.get(path, **options)


def health(sandbox: Sandbox) -> dict[str, Any]:
    return dict(get(sandbox, "/healthz").json())


def secret(sandbox: Sandbox, path: str) -> str:
    return sandbox.read(path).decode().strip()


def svstat(sandbox: Sandbox, service: str, field: str) -> str:
    return sandbox.login(f"{S6DIR}; s6-svstat -o {field} $S6DIR/{service}").stdout.strip()


def pid(sandbox: Sandbox, service: str) -> int:
    return int(svstat(sandbox, service, "pid"))


def variables_of(sandbox: Sandbox, process: int | str) -> dict[str, str]:
    """The environment of a process."""
    text = sandbox.exec(["cat", f"/proc/{process}/environ"]).stdout
    return dict(pair.split("=", 1) for pair in text.split("\0") if pair)


def up_again(sandbox: Sandbox, service: str, *, than: int, timeout: float = 30) -> int:
    """Wait until `service` runs under another pid than `than` and says it is ready; that pid."""
    new = waiting.until(
        lambda: (now := pid(sandbox, service)) not in {than, -1} and now,
        what=f"a new start of {service}",
        timeout=timeout,
    )
    ms = int(timeout * 1000)
    sandbox.login(f"{S6DIR}; s6-svwait -U -t {ms} $S6DIR/{service}", timeout=timeout + 5)
    return int(new)


def restart(sandbox: Sandbox, *services: str) -> None:
    for service in services:
        old_pid = pid(sandbox, service)
        sandbox.exec(f"s6-svc -t /run/service/{service}")
        up_again(sandbox, service, than=old_pid)


def ready_by_s6(sandbox: Sandbox, service: str, *, timeout: float = 20) -> None:
    """Wait for the supervisor's word. It may come later than /readyz, never for ever."""
    ms = int(timeout * 1000)
    sandbox.login(f"{S6DIR}; s6-svwait -U -t {ms} $S6DIR/{service}", timeout=timeout + 5)
    assert svstat(sandbox, service, "up,ready") == "true true"


def answers(sandbox: Sandbox) -> bool:
    """Whether /readyz says 200, nothing else."""
    try:
        return get(sandbox, "/readyz").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def until_ready(sandbox: Sandbox, *, timeout: float = 40) -> None:
    waiting.until(lambda: answers(sandbox), what="readiness", timeout=timeout)
