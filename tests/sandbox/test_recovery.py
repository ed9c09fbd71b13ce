"""Services die, hang, loop and flood; the sandbox lives on, and says what is the matter."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tasks.base import project, waiting
from tasks.base.errors import TaskError
from tasks.sandbox import readiness
from tests.sandbox.support import (
    DAEMON,
    S6DIR,
    answers,
    get,
    health,
    pid,
    ready_by_s6,
    svstat,
    until_ready,
    up_again,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.conftest import Maker

SERVICES = project.SERVICES


def zombies(sandbox: Sandbox) -> list[str]:
    lines = sandbox.exec(["ps", "-eo", "stat=,pid=,args="]).stdout.splitlines()
    return [line for line in lines if line.startswith("Z")]


def open_files(sandbox: Sandbox) -> dict[str, int]:
    """Of s6-svscan and each supervisor, the ones that live as long as the sandbox."""
    result = sandbox.exec(
        'for p in $(pgrep "^s6-(svscan|supervise)"); do echo "$p $(ls /proc/$p/fd | wc -l)"; done',
        user="root",
    ).stdout
    return {
        process: int(count) for process, count in (line.split() for line in result.splitlines())
    }


def processes(sandbox: Sandbox) -> int:
    return len(sandbox.exec(["ps", "-e", "-o", "pid="]).stdout.split())


def listeners(sandbox: Sandbox, port: int) -> int:
    output = sandbox.exec(["ss", "-Htln", f"sport = :{port}"]).stdout
    return len(output.splitlines())


def unsupervised(sandbox: Sandbox, pattern: str) -> list[str]:
    """Processes with `pattern` in their command whose parent is init instead of a supervisor."""
    lines = sandbox.exec(["ps", "-eo", "ppid=,pid=,args="]).stdout.splitlines()
    orphans = [line.split(maxsplit=2) for line in lines if line.split()[0] == "1"]
    return [args for _, _, args in orphans if pattern in args and not args.startswith("s6-")]


def replace_run(sandbox: Sandbox, service: str, script: str) -> None:
    """As one who works on a service would: a new run script, and a restart of the service."""
    sandbox.write(f"/run/service/{service}/run.new", script.encode(), mode=0o755)
    sandbox.exec(["mv", f"/run/service/{service}/run.new", f"/run/service/{service}/run"])


def until_given_up(sandbox: Sandbox, service: str) -> None:
    waiting.until(
        lambda: service in readiness.given_up(sandbox),
        what=f"giving up of {service}",
        timeout=75,
        state=lambda: svstat(sandbox, service, "up,wantedup,normallyup,exitcode"),
    )


def test_killed_again_and_again_it_comes_back(
    fresh_sandbox: Sandbox, rng: random.Random, times: Callable[[int, int], int]
) -> None:
    """F28."""
    service = "iterate-daemon"
    pid_before, files_before, processes_before = (
        pid(fresh_sandbox, service),
        open_files(fresh_sandbox),
        processes(fresh_sandbox),
    )
    current = pid_before
    for _ in range(times(20, 500)):
        time.sleep(rng.uniform(0, 0.3))
        fresh_sandbox.exec(["kill", "-9", str(current)])
        current = up_again(fresh_sandbox, service, than=current)
    until_ready(fresh_sandbox)
    assert zombies(fresh_sandbox) == []
    now = open_files(
        fresh_sandbox
    )  # fewer by one, where a service had just not been ready at first
    assert now.keys() == files_before.keys()
    assert all(now[process] <= count for process, count in files_before.items())
    assert processes(fresh_sandbox) <= processes_before + 1
    assert listeners(fresh_sandbox, DAEMON) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_killed_while_it_starts_it_comes_back(
    fresh_sandbox: Sandbox, service: str, rng: random.Random, times: Callable[[int, int], int]
) -> None:
    for _ in range(times(3, 60)):
        old = pid(fresh_sandbox, service)
        fresh_sandbox.exec(f"s6-svc -k /run/service/{service}")
        time.sleep(rng.uniform(0.0, 1.5))
        fresh_sandbox.exec(f"s6-svc -k /run/service/{service}")
        up_again(fresh_sandbox, service, than=old)
    until_ready(fresh_sandbox)
    assert zombies(fresh_sandbox) == []


def test_opencode_that_always_fails_is_given_up_and_named(fresh_sandbox: Sandbox) -> None:
    """F29: it neither spins nor hides, and the other service does not feel it."""
    daemon = pid(fresh_sandbox, "iterate-daemon")
    good = fresh_sandbox.read("/run/service/opencode/run").decode()
    replace_run(fresh_sandbox, "opencode", "#!/bin/sh\necho cannot start: no such luck\nexit 1\n")
    start = time.monotonic()
    fresh_sandbox.exec("s6-svc -k /run/service/opencode")
    until_given_up(fresh_sandbox, "opencode")
    deaths = fresh_sandbox.exec(["s6-svdt", "/run/service/opencode"]).stdout.splitlines()
    assert len(deaths) <= 2 + (time.monotonic() - start) * 1.1, "it was started too often"

    assert fresh_sandbox.end_reason() is None
    assert pid(fresh_sandbox, "iterate-daemon") == daemon
    answer = get(fresh_sandbox, "/readyz")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    answer_body = answer.json()
    assert answer_body["services"]["opencode"]["ready"] is False
    assert answer_body["services"]["opencode"]["reason"]
    assert answer_body["services"]["iterate-daemon"]["ready"] is True
    assert get(fresh_sandbox, "/healthz").status_code == httpx.codes.OK
    assert b"no such luck" in fresh_sandbox.read("/var/log/opencode/current")
    with pytest.raises(TaskError, match=r"opencode.*gave up.*"):
        fresh_sandbox.wait_until_ready(timeout=60)

    replace_run(fresh_sandbox, "opencode", good)
    fresh_sandbox.exec("s6-svc -u /run/service/opencode")
    until_ready(fresh_sandbox)


def test_daemon_that_always_fails_is_given_up(fresh_sandbox: Sandbox) -> None:
    """F29, for the one that answers for all."""
    opencode = pid(fresh_sandbox, "opencode")
    good = fresh_sandbox.read("/run/service/iterate-daemon/run").decode()
    replace_run(
        fresh_sandbox, "iterate-daemon", "#!/bin/sh\necho cannot start: no such luck\nexit 1\n"
    )
    fresh_sandbox.exec("s6-svc -k /run/service/iterate-daemon")
    until_given_up(fresh_sandbox, "iterate-daemon")
    assert fresh_sandbox.end_reason() is None
    assert pid(fresh_sandbox, "opencode") == opencode
    start = time.monotonic()
    with pytest.raises(TaskError, match=r"iterate-daemon.*gave up.*no such luck"):
        fresh_sandbox.wait_until_ready(timeout=60)
    assert time.monotonic() - start < 10

    replace_run(fresh_sandbox, "iterate-daemon", good)
    fresh_sandbox.exec("s6-svc -u /run/service/iterate-daemon")
    until_ready(fresh_sandbox)


@pytest.mark.needs("health")
def test_the_images_own_check_finds_a_dead_service(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.exec("s6-svc -d /run/service/opencode")
    waiting.until(lambda: fresh_sandbox.health() == "unhealthy", what="being unhealthy", timeout=60)
    fresh_sandbox.exec("s6-svc -u /run/service/opencode")
    waiting.until(lambda: fresh_sandbox.health() == "healthy", what="health", timeout=60)


@pytest.mark.parametrize("service", SERVICES)
def test_hung_it_is_stopped_and_started(fresh_sandbox: Sandbox, service: str) -> None:
    """F30, for a process that hears nothing (SIGSTOP): `-d` and `-u` get through all the same."""
    old = pid(fresh_sandbox, service)
    fresh_sandbox.exec(["kill", "-STOP", str(old)])
    start = time.monotonic()
    fresh_sandbox.login(
        f"{S6DIR}; s6-svc -wD -T 10000 -d $S6DIR/{service}; s6-svc -u $S6DIR/{service}"
    )
    up_again(fresh_sandbox, service, than=old)
    assert time.monotonic() - start < 15
    until_ready(fresh_sandbox)
    assert fresh_sandbox.exec(["kill", "-0", str(old)], check=False).exit_code != 0


def test_a_service_that_ignores_sigterm_is_killed(fresh_sandbox: Sandbox) -> None:
    """F30, with a program that refuses; also when the whole sandbox is stopped."""
    good = fresh_sandbox.read("/run/service/opencode/run").decode()
    deaf = "#!/bin/bash\ntrap '' TERM\nprintf '\\n' >&3\nwhile :; do sleep 1000 & wait; done\n"
    old = pid(fresh_sandbox, "opencode")
    replace_run(fresh_sandbox, "opencode", deaf)
    fresh_sandbox.exec("s6-svc -k /run/service/opencode")
    deaf_pid = up_again(fresh_sandbox, "opencode", than=old)
    replace_run(fresh_sandbox, "opencode", good)
    start = time.monotonic()
    fresh_sandbox.exec(
        "s6-svc -wD -T 10000 -d /run/service/opencode; s6-svc -u /run/service/opencode"
    )
    second_result = up_again(fresh_sandbox, "opencode", than=deaf_pid)
    assert time.monotonic() - start < 15
    until_ready(fresh_sandbox)

    replace_run(fresh_sandbox, "opencode", deaf)
    fresh_sandbox.exec("s6-svc -k /run/service/opencode")
    up_again(fresh_sandbox, "opencode", than=second_result)
    start = time.monotonic()
    fresh_sandbox.stop(grace=20)
    assert time.monotonic() - start < 6


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_supervisor_is_replaced(fresh_sandbox: Sandbox, service: str) -> None:
    """F31: and never are there two of a service."""
    supervisor = fresh_sandbox.exec(["pgrep", "-f", f"^s6-supervise {service}$"]).stdout.split()[0]
    old = pid(fresh_sandbox, service)
    fresh_sandbox.exec(["kill", "-9", supervisor])
    waiting.until(
        lambda: (
            fresh_sandbox.exec(
                ["pgrep", "-f", f"^s6-supervise {service}$"], check=False
            ).stdout.strip()
            not in {"", supervisor}
        ),
        what="a new supervisor",
        timeout=10,
    )
    # The old daemon is nobody's child now. Whether it is taken over or ended is the image's
    # choice; that there is one, supervised and serving, is not.
    waiting.until(
        lambda: svstat(fresh_sandbox, service, "up,ready") == "true true",
        what=f"{service} under its new supervisor",
        timeout=30,
        state=lambda: f"{svstat(fresh_sandbox, service, 'up,ready,pid')}; the old one was {old}",
    )
    until_ready(fresh_sandbox)
    port = project.DAEMON_PORT if service == "iterate-daemon" else project.OPENCODE_PORT
    assert listeners(fresh_sandbox, port) == 1
    # One that nobody supervises would go on with old code and an old secret.
    pattern = "iterate_daemon" if service == "iterate-daemon" else "opencode serve"
    assert unsupervised(fresh_sandbox, pattern) == []
    assert zombies(fresh_sandbox) == []
    current = pid(fresh_sandbox, service)
    fresh_sandbox.exec(f"s6-svc -t /run/service/{service}")
    up_again(fresh_sandbox, service, than=current)
    until_ready(fresh_sandbox)


@pytest.mark.needs("init_control")
def test_killed_as_a_whole_and_started_again(
    make: Maker, rng: random.Random, times: Callable[[int, int], int]
) -> None:
    """F32: SIGKILL for PID 1, at random moments; logs are appended to, no lock is stale."""
    sandbox = make()
    sandbox.exec("echo a line of old >>/var/log/iterate-daemon/current")
    # As twenty earlier ends of that kind have left them.
    sandbox.exec(
        "for i in $(seq 10 29); do"
        " echo older line $i >/var/log/iterate-daemon/@40000000650000${i}00000000.u; done"
    )
    for _ in range(times(5, 100)):
        sandbox.kill()
        assert sandbox.end_reason()
        sandbox.start()
        # Ended again while it starts: half-way is the hardest.
        time.sleep(rng.uniform(0, 2))
        if rng.random() < 0.5:
            sandbox.kill()
            sandbox.start()
        sandbox.wait_until_ready(timeout=40)
    kept = sandbox.exec("cat /var/log/iterate-daemon/*").stdout
    assert "a line of old" in kept
    assert re.findall(r"older line (\d+)", kept) == [str(i) for i in range(10, 30)]
    assert zombies(sandbox) == []
    for service in SERVICES:
        ready_by_s6(sandbox, service)


def test_a_flood_of_lines_stays_bounded(fresh_sandbox: Sandbox) -> None:
    """F33, smaller: 60 MB through the logger; what is kept is bounded, and it serves meanwhile."""
    # Opened afresh: the former program has left the pipe non-blocking, as Node and Bun do.
    flood = (
        "#!/bin/bash\nexec >/proc/self/fd/1 2>&1\nprintf '\\n' >&3\n"
        "yes 'a line that says nothing new, at some length, again and again' | head -c 60000000\n"
        "echo\necho the flood is over\nexec sleep 1000\n"
    )
    replace_run(fresh_sandbox, "opencode", flood)
    fresh_sandbox.exec("s6-svc -k /run/service/opencode")
    slowest = 0.0

    def over() -> bool:
        nonlocal slowest
        start = time.monotonic()
        assert get(fresh_sandbox, "/healthz").status_code == httpx.codes.OK
        slowest = max(slowest, time.monotonic() - start)
        log = fresh_sandbox.exec("tail -n 3 /var/log/opencode/current", check=False).stdout
        return "the flood is over" in log

    waiting.until(over, what="the end of the flood", timeout=90)
    size = int(fresh_sandbox.exec(["du", "-sb", "/var/log/opencode"]).stdout.split()[0])
    assert size < 13_000_000, "the log outgrew its bound"
    assert size > 1_000_000, "nearly nothing was kept"
    assert slowest < 5
    assert fresh_sandbox.exec("ls /var/log/opencode | wc -l").stdout.strip() not in {"0", "1"}


def test_health_names_no_problem_after_all_recovered(fresh_sandbox: Sandbox) -> None:
    for service in SERVICES:
        old = pid(fresh_sandbox, service)
        fresh_sandbox.exec(["kill", "-9", str(old)])
        up_again(fresh_sandbox, service, than=old)
    until_ready(fresh_sandbox)
    assert answers(fresh_sandbox)
    assert health(fresh_sandbox)["status"] == "ok"


def test_the_repository_synced_over_leaves_services_in_hand(fresh_sandbox: Sandbox) -> None:
    """F36: `rsync --delete` over the repository; the live service folders are elsewhere."""
    keep = "--exclude node_modules --exclude .venv --exclude dist"
    fresh_sandbox.exec(
        f"rsync -a --delete {keep} {project.REPO}/ /tmp/copy/ && cd /tmp/copy"
        f" && git clean -xfdq && rsync -a --delete {keep} /tmp/copy/ {project.REPO}/",
        timeout=60,
    )
    for service in SERVICES:
        live = f"/run/service/{service}"
        old = fresh_sandbox.exec(["s6-svstat", "-o", "pid", live]).stdout
        fresh_sandbox.exec(f"s6-svc -wR -T 20000 -r {live}", timeout=30)
        assert fresh_sandbox.exec(["s6-svstat", "-o", "pid", live]).stdout not in {old, "-1\n"}
    until_ready(fresh_sandbox)
    # And at the next start the paths that people know lead there again.
    fresh_sandbox.restart(grace=3)
    fresh_sandbox.wait_until_ready()
    for service in SERVICES:
        ready_by_s6(fresh_sandbox, service)
