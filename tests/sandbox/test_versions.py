"""Exactly the pinned versions, in every kind of shell, and nothing that updates itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tasks.base import project

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox
    from tasks.sandbox.values import ExecResult

#: Tool → the pin that decides its version.
PINNED = {
    "opencode": "SANDBOX_OPENCODE_VERSION",
    "claude": "SANDBOX_CLAUDE_CODE_VERSION",
    "pi": "SANDBOX_PI_CODING_AGENT_VERSION",
    "bun": "SANDBOX_BUN_VERSION",
    "node": "SANDBOX_NODE_VERSION",
    "pnpm": "SANDBOX_PNPM_VERSION",
    "uv": "SANDBOX_UV_VERSION",
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


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DISABLE_AUTOUPDATER", "1"),
        ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
        ("PI_SKIP_VERSION_CHECK", "1"),
    ],
)
def test_agents_do_not_update_themselves(sandbox: Sandbox, variable: str, value: str) -> None:
    assert sandbox.login(f"printenv {variable}").stdout.strip() == value
    assert sandbox.exec(["printenv", variable]).stdout.strip() == value


def test_agents_cannot_be_changed_by_the_user(sandbox: Sandbox) -> None:
    """A pinned tool stays pinned when a self-updater ignores what it was told."""
    for tool in PINNED:
        # What is on PATH, and behind an agent's wrapper the agent.
        for place in (f"$(command -v {tool})", f"/opt/*/bin/{tool}"):
            target = sandbox.exec(f"readlink -f {place}").stdout.strip()
            writable = sandbox.exec(["test", "-w", target], check=False)
            assert writable.exit_code == 1, f"{target} can be written by {project.USER}"
