"""`docker run IMAGE COMMAND`: the command runs in the prepared sandbox, instead of the services."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tasks.base import project, waiting
from tests.sandbox.docker_run import ca_options, docker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.checkout import Checkout
    from tests.sandbox.docker_run import Containers

pytestmark = pytest.mark.needs("init_control")

PIN = "SANDBOX_CLAUDE_CODE_VERSION"


def test_a_command_has_the_standard_streams_and_its_status_is_passed_on(
    containers: Containers,
) -> None:
    script = "cat; echo to stderr >&2; exit 7"
    result = containers.run("sh", "-c", script, options=("-i",), input="typed\n")
    assert (result.stdout, result.stderr, result.returncode) == ("typed\n", "to stderr\n", 7)


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (("no-such-command",), 127, "no-such-command: not found"),
        (("/etc/hostname",), 126, "Permission denied"),
        (("--version",), 127, "--version: not found"),
        (("bash", "-c", "kill -KILL $$"), 137, ""),
        (("bash", "-c", "exit 255"), 255, ""),
    ],
)
def test_a_commands_failure_is_passed_on(
    containers: Containers, command: tuple[str, ...], status: int, message: str
) -> None:
    result = containers.run(*command)
    assert result.returncode == status
    assert message in result.stderr


def test_a_command_has_the_environment_of_login_shells(
    containers: Containers, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("GREETING=hello brave world\n")
    env_file.chmod(0o644)
    tmp_path.chmod(0o755)
    options = ("-v", f"{env_file}:{project.HOME}/.iterate/.env:ro", "-e", "ITERATE_DAEMON_TOKEN=x")
    names = f"GREETING S6DIR SANDBOX_REPO PATH EDITOR HOME PWD {PIN} ITERATE_DAEMON_TOKEN"
    direct = containers.run("printenv", *names.split(), options=options).stdout
    login = containers.run("bash", "-lc", f"printenv {names}", options=options).stdout
    assert direct == login
    assert direct.startswith("hello brave world\n")
    assert f"\n{project.REPO}\n" in direct
    assert len(direct.splitlines()) == len(names.split()) - 1  # without the daemon's token
    agent = containers.run("claude", "--version", options=options)
    assert agent.stdout.split()[0] == containers.run("printenv", PIN).stdout.strip()
    assert agent.stderr == ""


def test_a_command_gets_signals_and_the_container_is_healthy(containers: Containers) -> None:
    script = "trap 'echo asked to end; exit 3' TERM; while :; do sleep 0.1; done"
    container = containers.start(
        "--health-interval=1s", "--health-start-interval=1s", command=("bash", "-c", script)
    )
    waiting.until(
        lambda: container.state()["Health"]["Status"] == "healthy", what="health", timeout=30
    )
    assert container.exec("pgrep", "s6-svscan").returncode == 1
    start = time.monotonic()
    docker("stop", "--time", "30", container.name)
    assert container.state()["ExitCode"] == 3
    assert "asked to end" in container.log()
    assert time.monotonic() - start < 20


def test_a_command_without_a_handler_ends_at_a_stop(containers: Containers) -> None:
    """As PID 1 the kernel would keep SIGTERM from it, and the engine would wait, then kill."""
    container = containers.start(command=("sleep", "1000"))
    waiting.until(lambda: container.exec("pgrep", "sleep").stdout, what="sleep", timeout=20)
    docker("stop", "--time", "30", container.name)
    assert container.state()["ExitCode"] == 143


def test_a_command_has_the_terminal(containers: Containers) -> None:
    controller, terminal = pty.openpty()
    line = containers.line("bash", "-c", "tty && ps -o stat= -p $$", options=("-it",))
    process = subprocess.Popen(["docker", *line], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    output = b""
    while b"+" not in output:
        output += os.read(controller, 4096)
    os.close(controller)
    assert process.wait(timeout=30) == 0
    assert b"/dev/pts/" in output  # and `+` in `ps`: the foreground


@pytest.mark.needs("local_mode")
def test_a_command_in_local_mode_sees_the_checkout(
    containers: Containers, checkout: Checkout
) -> None:
    checkout.write("README.md", "edited\n")
    options = ("-v", f"{checkout.path}:{project.LOCAL_MOUNT}:ro", *ca_options())
    result = containers.run("git", "status", "--porcelain", options=options, timeout=180)
    assert result.stdout == " M README.md\n"
    assert "sync" in result.stderr
