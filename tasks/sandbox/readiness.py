"""Waiting for the readiness contract, GET /readyz answers 200, for as long as there is hope."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from tasks.base import console, project, waiting
from tasks.base.errors import TaskError
from tasks.base.http import Client, Limits, Service
from tasks.base.parsing import parse_json
from tasks.base.progress import ProgressLine
from tasks.base.retry import RemoteFailed
from tasks.sandbox.errors import SandboxEnded, ServiceFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.sandbox.values import ExecResult

#: How often the supervisors are asked whether a service has given up, in seconds.
_SUPERVISOR_INTERVAL: Final = 2.0
#: The live scan directory; s6-svstat reads it whatever the repo's copy looks like.
_SCAN: Final = "/run/service"
#: A sandbox, as a service that is asked over HTTP; its answers are short.
SERVICE: Final = Service(name="the sandbox")
_LIMITS: Final = Limits(connect=5, idle=5, total=15, size=1_000_000)


class ObservedSandbox(Protocol):
    """What is asked of a sandbox here."""

    name: str

    def end_reason(self) -> str | None: ...
    def url(self, port: int) -> str: ...
    def headers(self, port: int) -> Mapping[str, str]: ...
    def console(self, *, tail: int | None = None) -> str: ...
    def how_to_reach(self) -> str: ...
    def exec(
        self, command: list[str], *, timeout: float = ..., check: bool = ...
    ) -> ExecResult: ...


def wait_until_ready(sandbox: ObservedSandbox, *, timeout: float) -> dict[str, Any]:
    """The answer of /readyz once all services answer.

    Raises `SandboxEnded`, `ServiceFailed` or, after `timeout` seconds, `TimedOut`.
    """
    return _ReadinessWait(sandbox).until_ready(timeout=timeout)


def given_up(sandbox: ObservedSandbox) -> list[str]:
    """Services that are down for good: down, not wanted up any more, though normally up."""
    script = "; ".join(
        f"echo {service} $(s6-svstat -o up,wantedup,normallyup {_SCAN}/{service})"
        for service in project.SERVICES
    )
    answer = sandbox.exec(["sh", "-c", script], check=False, timeout=10)
    return parse_given_up(answer.stdout)


def parse_given_up(text: str) -> list[str]:
    """From lines of `SERVICE UP WANTEDUP NORMALLYUP`; a service without an answer is undecided."""
    words = (line.split() for line in text.splitlines())
    return [w[0] for w in words if len(w) == 4 and w[1:] == ["false", "false", "true"]]


class _ReadinessWait:
    def __init__(self, sandbox: ObservedSandbox) -> None:
        self._sandbox = sandbox
        self._last = "nothing answered yet"
        self._ask_supervisors_at = time.monotonic() + _SUPERVISOR_INTERVAL

    def until_ready(self, *, timeout: float) -> dict[str, Any]:
        watch = console.Stopwatch()
        progress = ProgressLine(lambda: f"waiting for {self._sandbox.name}, {watch}: {self._last}")
        with contextlib.closing(Client(SERVICE, limits=_LIMITS)) as client, progress:
            return waiting.until(
                lambda: self._probe(client),
                what=f"readiness of {self._sandbox.name}",
                timeout=timeout,
                state=lambda: f"{self._last}; {last_lines(self._sandbox)}",
            )

    def _probe(self, client: Client) -> dict[str, Any] | None:
        if end := self._sandbox.end_reason():
            raise SandboxEnded(
                f"{self._sandbox.name} {end} before it was ready: {last_lines(self._sandbox)}"
            )
        port = project.DAEMON_PORT
        try:
            url, headers = self._sandbox.url(port), self._sandbox.headers(port)
        except SandboxEnded:
            return None  # it has ended since the question above; the next round says how
        try:
            response = client.send("GET", f"{url}/readyz", doing="/readyz", headers=headers)
            self._last = f"/readyz: {response.status} {console.printable(response.text)[:300]}"
            if response.status == 200:
                return dict(parse_json(response.body))
        except RemoteFailed as error:
            if not error.passing:
                raise
            self._last = error.what
        except (ValueError, TypeError) as error:
            self._last = f"/readyz: {console.printable(str(error))}"
        self._end_if_given_up()
        return None

    def _end_if_given_up(self) -> None:
        if time.monotonic() < self._ask_supervisors_at:
            return
        self._ask_supervisors_at = time.monotonic() + _SUPERVISOR_INTERVAL
        try:
            services = given_up(self._sandbox)
        except TaskError:
            return  # it has just ended, or is too busy: the next round says more
        if services:
            raise ServiceFailed(
                f"{', '.join(services)} in {self._sandbox.name} gave up: "
                f"{service_lines(self._sandbox, services[0])}",
                fix=f"{self._sandbox.how_to_reach()}, then s6-svstat {_SCAN}/{services[0]}",
            )


def last_lines(sandbox: ObservedSandbox, *, count: int = 5) -> str:
    """The end of the console on one line, for an error message."""
    with contextlib.suppress(TaskError):
        lines = sandbox.console(tail=count).strip().splitlines()[-count:]
        return "its last lines: " + " | ".join(console.printable(line) for line in lines)
    return "its console cannot be read"


def service_lines(sandbox: ObservedSandbox, service: str, *, count: int = 6) -> str:
    log = sandbox.exec(["tail", "-n", str(count), f"/var/log/{service}/current"], check=False)
    return " | ".join(console.printable(line) for line in log.stdout.splitlines())
