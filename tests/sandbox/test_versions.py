"""Exactly the pinned versions, in every kind of shell, and nothing that updates itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from iterate_daemon.versions import TOOLS

from tasks.base import project
from tests.sandbox.support import pid, variables_of

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox
    from tasks.sandbox.values import ExecResult

#: Tool → the pin that decides its version.
PINNED = {tool.command: tool.pin for tool in TOOLS}
#: Agent → the variable that keeps it from updating itself.
UPDATER_VARIABLES = {
    "claude": "DISABLE_AUTOUPDATER",
    "opencode": "OPENCODE_DISABLE_AUTOUPDATE",
    "pi": "PI_SKIP_VERSION_CHECK",
}
OTHERS = ("npm", "npx", "uvx", "bunx", "git", "python3", "rsync", "curl", "jq", "rg", "less", "ps")


def in_login_shell(sandbox: Sandbox, text: str) -> ExecResult:
    return sandbox.login(text)


def in_shell(sandbox: Sandbox, text: str) -> ExecResult:
    return sandbox.exec(["bash", "-c", text])


def without_shell(sandbox: Sandbox, text: str) -> ExecResult:
    return sandbox.exec(text.split())


SHELLS = [in_login_shell, in_shell, without_shell]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("tool", PINNED)
def test_installed_is_pinned(sandbox: Sandbox, tool: str, shell: object) -> None:
    assert callable(shell)
    pins = sandbox.read_json(project.BUILD_INFO)["pins"]
    output = shell(sandbox, f"{tool} --version").stdout
    matches = re.findall(r"(?<![\w.])v?(\d+\.\d+\.\d+(?:[-+][\w.]+)?)", output)
    assert matches[:1] == [pins[PINNED[tool]]], output


def test_every_pin_is_tested(sandbox: Sandbox) -> None:
    pins = sandbox.read_json(project.BUILD_INFO)["pins"]
    assert set(pins) == set(PINNED.values())


def test_every_process_has_the_pins_in_its_environment(sandbox: Sandbox) -> None:
    pins = sandbox.read_json(project.BUILD_INFO)["pins"]
    environments = [
        dict(line.split("=", 1) for line in sandbox.exec(["env"]).stdout.splitlines()),
        dict(re.findall("(?m)^([A-Z_]+)=(.*)$", sandbox.login("env").stdout)),
        *(variables_of(sandbox, pid(sandbox, service)) for service in project.SERVICES),
    ]
    for variables in environments:
        assert pins == {name: variables.get(name) for name in pins}
        assert set(pins) == {name for name in variables if name.startswith("SANDBOX_")} - {
            "SANDBOX_REPO"
        }


@pytest.mark.parametrize("tool", [*PINNED, *OTHERS])
def test_shells_agree_where_it_is(sandbox: Sandbox, tool: str) -> None:
    places = {
        sandbox.login(f"command -v {tool}").stdout,
        sandbox.exec(f"command -v {tool}").stdout,
        sandbox.exec(["bash", "-ic", f"command -v {tool}"]).stdout,
        sandbox.exec(["sh", "-c", f"command -v {tool}"]).stdout,
    }
    assert len(places) == 1
    assert places.pop().startswith("/usr/")


@pytest.mark.parametrize("variable", UPDATER_VARIABLES.values())
def test_agents_do_not_update_themselves(sandbox: Sandbox, variable: str) -> None:
    assert sandbox.login(f"printenv {variable}").stdout.strip() == "1"
    assert sandbox.exec(["printenv", variable]).stdout.strip() == "1"


def test_agents_cannot_be_changed_by_the_user(sandbox: Sandbox) -> None:
    """A pinned tool stays pinned when a self-updater ignores what it was told."""
    for tool in PINNED:
        # What is on PATH, and behind an agent's wrapper the agent.
        for place in (f"$(command -v {tool})", f"/opt/*/bin/{tool}"):
            target = sandbox.exec(f"readlink -f {place}").stdout.strip()
            writable = sandbox.exec(["test", "-w", target], check=False)
            assert writable.exit_code == 1, f"{target} can be written by {project.USER}"
