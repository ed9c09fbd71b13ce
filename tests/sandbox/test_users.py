"""Who runs in a sandbox: its own user, root, or a uid that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base import project

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.docker_run import Containers

S6DIR = f"{project.REPO}/{project.SANDBOX_DIR}/s6-daemons"


def test_git_works_for_root(sandbox: Sandbox) -> None:
    status = ["git", "-C", project.REPO, "status", "--porcelain"]
    result = sandbox.exec(status, user="root")
    assert (result.stdout, result.stderr) == (sandbox.exec(status).stdout, "")
    head = ["git", "rev-parse", "HEAD"]
    folder = f"{project.REPO}/apps/daemon"
    assert sandbox.exec(head, user="root", cwd=folder).stdout == sandbox.exec(head).stdout


@pytest.mark.parametrize(
    "shell", [("bash", "-lc"), ("sh", "-lc"), ("bash", "-ic"), ("sudo", "-i", "sh", "-c")]
)
def test_roots_shells_know_where_the_services_are(sandbox: Sandbox, shell: tuple[str, ...]) -> None:
    script = "s6-svstat -o up $S6DIR/opencode; echo $S6DIR"
    user = project.USER if "sudo" in shell else "root"
    result = sandbox.exec([*shell, script.replace("$", "\\$") if "sudo" in shell else script],
                          user=user)  # fmt: skip
    assert result.stdout.split() == ["true", S6DIR]


@pytest.mark.needs("init_control")
@pytest.mark.parametrize("options", [("--user", "root"), ("--user", f"{project.UID}:20")])
def test_services_run_as_the_sandboxs_user(
    containers: Containers, options: tuple[str, ...]
) -> None:
    container = containers.start(*options)
    container.wait_until_ready()
    owners = container.exec("ps", "-eo", "user=,comm=").stdout.split("\n")
    services = [line for line in owners if "s6-" in line or "opencode" in line]
    assert services
    assert {line.split()[0] for line in services} == {project.USER}
    assert container.healthz()["status"] == "ok"


@pytest.mark.needs("init_control")
def test_a_command_of_root_is_roots(containers: Containers) -> None:
    script = "id -un; echo $HOME; git rev-parse --show-prefix; echo $S6DIR"
    result = containers.run("sh", "-c", script, options=("--user", "0"))
    assert result.stdout.splitlines() == ["root", "/root", "", S6DIR]
    assert result.stderr == ""


@pytest.mark.needs("init_control")
@pytest.mark.parametrize("user", ["501:20", "65534", "12345:0"])
@pytest.mark.parametrize("command", [(), ("claude", "--version")], ids=["services", "command"])
def test_another_uid_is_refused_in_one_line(
    containers: Containers, user: str, command: tuple[str, ...]
) -> None:
    result = containers.run(*command, options=("--user", user))
    assert result.returncode == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert f"cannot run as uid {user.partition(':')[0]}" in line
    assert "start it without --user" in line
