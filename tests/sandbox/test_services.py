"""The supervised services, with the commands as the README has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base import project, waiting
from tests.sandbox.support import S6DIR, answers, pid, svstat, until_ready, up_again

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox

SERVICES = project.SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_svstat_says_it_is_up_and_ready(sandbox: Sandbox, service: str) -> None:
    output = sandbox.login(f"{S6DIR}; s6-svstat $S6DIR/{service}").stdout
    assert output.startswith("up (pid "), output
    assert "ready" in output, output


@pytest.mark.parametrize("service", SERVICES)
def test_svc_t_restarts_it(fresh_sandbox: Sandbox, service: str) -> None:
    old = pid(fresh_sandbox, service)
    fresh_sandbox.login(f"{S6DIR}; s6-svc -t $S6DIR/{service}")
    assert up_again(fresh_sandbox, service, than=old) != old
    until_ready(fresh_sandbox)


@pytest.mark.parametrize("service", SERVICES)
def test_svc_d_and_u_take_it_down_and_up(fresh_sandbox: Sandbox, service: str) -> None:
    second_service = next(s for s in SERVICES if s != service)
    others_pid = pid(fresh_sandbox, second_service)
    fresh_sandbox.login(
        f"{S6DIR}; s6-svc -d $S6DIR/{service}; s6-svwait -D -t 10000 $S6DIR/{service}"
    )
    assert fresh_sandbox.login(f"{S6DIR}; s6-svstat $S6DIR/{service}").stdout.startswith("down")
    waiting.until(lambda: not answers(fresh_sandbox), what="an end of readiness", timeout=10)
    assert pid(fresh_sandbox, second_service) == others_pid
    fresh_sandbox.login(
        f"{S6DIR}; s6-svc -u $S6DIR/{service}; s6-svwait -U -t 20000 $S6DIR/{service}"
    )
    until_ready(fresh_sandbox)


@pytest.mark.parametrize("service", SERVICES)
def test_tail_follows_the_log(fresh_sandbox: Sandbox, service: str) -> None:
    result = fresh_sandbox.login(
        f"{S6DIR}; (sleep 0.5; s6-svc -t $S6DIR/{service}) &"
        f" timeout 5 tail -n 0 -f /var/log/{service}/current",
        check=False,
    )
    assert result.exit_code == 124
    assert result.stdout.strip(), "a restart left no line in the log"


@pytest.mark.parametrize("service", SERVICES)
def test_every_line_has_its_time(sandbox: Sandbox, service: str) -> None:
    lines = sandbox.read(f"/var/log/{service}/current").decode(errors="replace").splitlines()
    assert lines
    for line in lines:
        stamp = line.partition("  ")[0]
        assert stamp.startswith(("@4", "20")), line


@pytest.mark.needs("console")
def test_logs_reach_the_console_too(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.login(f"{S6DIR}; s6-svc -t $S6DIR/iterate-daemon")
    waiting.until(
        lambda: all(
            any(s in line for line in fresh_sandbox.console().splitlines()) for s in SERVICES
        ),
        what="a line of each service on the console",
        timeout=20,
        state=fresh_sandbox.console,
    )


def test_svstat_tells_when_it_is_ready(fresh_sandbox: Sandbox) -> None:
    """Readiness is the service's own word, not the fact that it was started."""
    for service in SERVICES:
        old = pid(fresh_sandbox, service)
        fresh_sandbox.login(f"{S6DIR}; s6-svc -k $S6DIR/{service}")
        up_again(fresh_sandbox, service, than=old)
        assert svstat(fresh_sandbox, service, "ready") == "true"
    until_ready(fresh_sandbox)
