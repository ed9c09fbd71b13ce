"""The home folder: the skeleton is in it, and whatever somebody puts there stays."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from tasks.base import project
from tests.sandbox.support import OPENCODE, get
from tests.sandbox.test_agents import AGENTS

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox

SKELETON = f"{project.REPO}/{project.SANDBOX_DIR}/home-skeleton"
SETUP = f"{project.REPO}/{project.SANDBOX_DIR}/setup-home.sh"
FILES = [agent.instructions for agent in AGENTS]

#: Through links: whether an agent's file is one or a copy is the skeleton's affair.
LIST = 'cd "$1" && find -L . -path ./src -prune -o -type f -exec sha256sum {} + | sort -k2'
STAT = 'cd "$1" && find . -printf "%p %i %T@ %m %u\\n" | sort'


@pytest.fixture
def home(sandbox: Sandbox) -> str:
    """A home folder of the test's own, in the shared sandbox."""
    folder = f"/tmp/home-{uuid.uuid4().hex}"
    sandbox.exec(["mkdir", folder])
    return folder


def set_up(sandbox: Sandbox, home: str) -> None:
    sandbox.exec(["bash", SETUP], env={"HOME": home})


def listing(sandbox: Sandbox, folder: str, script: str = LIST) -> list[str]:
    return sandbox.exec(["sh", "-c", script, "sh", folder]).stdout.splitlines()


def test_the_skeleton_is_in_the_home(sandbox: Sandbox) -> None:
    skeleton = listing(sandbox, SKELETON)
    assert skeleton
    assert set(skeleton) <= set(listing(sandbox, project.HOME))


@pytest.mark.parametrize("name", FILES)
def test_every_agent_has_its_instructions(sandbox: Sandbox, name: str) -> None:
    text = sandbox.exec(["cat", f"{project.HOME}/{name}"]).stdout
    assert len(text) > 200
    assert project.REPO in text or f"~/{project.IDENTITY.repository}" in text


def test_setup_puts_the_whole_skeleton_into_an_empty_home(sandbox: Sandbox, home: str) -> None:
    set_up(sandbox, home)
    assert set(listing(sandbox, SKELETON)) <= set(listing(sandbox, home))


def test_setup_twice_changes_nothing(sandbox: Sandbox, home: str) -> None:
    set_up(sandbox, home)
    original_files = listing(sandbox, home, STAT)
    set_up(sandbox, home)
    assert listing(sandbox, home, STAT) == original_files


@pytest.mark.parametrize("name", FILES)
def test_setup_keeps_what_somebody_edited(sandbox: Sandbox, home: str, name: str) -> None:
    set_up(sandbox, home)
    sandbox.write(f"{home}/{name}", b"mine now\n", mode=0o640)
    set_up(sandbox, home)
    assert sandbox.read(f"{home}/{name}") == b"mine now\n"
    assert sandbox.exec(["stat", "-L", "-c", "%a", f"{home}/{name}"]).stdout.strip() == "640"


def test_setup_keeps_what_was_there_before_it(sandbox: Sandbox, home: str) -> None:
    sandbox.write(f"{home}/{FILES[0]}", b"older than the skeleton\n")
    sandbox.write(f"{home}/.claude/projects/notes.txt", b"of an agent\n")
    set_up(sandbox, home)
    assert sandbox.read(f"{home}/{FILES[0]}") == b"older than the skeleton\n"
    assert sandbox.read(f"{home}/.claude/projects/notes.txt") == b"of an agent\n"


def test_setup_does_not_follow_a_link_out_of_the_home(sandbox: Sandbox, home: str) -> None:
    target = f"/tmp/target-{uuid.uuid4().hex}"
    sandbox.write(target, b"elsewhere\n")
    sandbox.exec(["mkdir", "-p", f"{home}/.claude"])
    sandbox.exec(["ln", "-s", target, f"{home}/{FILES[0]}"])
    set_up(sandbox, home)
    assert sandbox.read(target) == b"elsewhere\n"
    assert sandbox.exec(["readlink", f"{home}/{FILES[0]}"]).stdout.strip() == target


def test_edits_in_the_home_survive_a_restart(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.write(f"{project.HOME}/{FILES[1]}", b"mine now\n")
    fresh_sandbox.write(f"{project.HOME}/notes/new.txt", b"new\n")
    fresh_sandbox.restart(grace=3)
    fresh_sandbox.wait_until_ready()
    assert fresh_sandbox.read(f"{project.HOME}/{FILES[1]}") == b"mine now\n"
    assert fresh_sandbox.read(f"{project.HOME}/notes/new.txt") == b"new\n"


def test_login_shells_load_the_users_secrets(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.write(
        f"{project.HOME}/.iterate/.env", b"MY_RUN_TIME_SETTING='a value'\n", mode=0o600
    )
    assert fresh_sandbox.login('echo "$MY_RUN_TIME_SETTING"').stdout.strip() == "a value"


def test_services_load_the_users_secrets(fresh_sandbox: Sandbox) -> None:
    token, password = "token-of-the-file-" + "a" * 20, "password-of-the-file-" + "b" * 20
    text = f"ITERATE_DAEMON_TOKEN={token}\nexport OPENCODE_SERVER_PASSWORD='{password}'\n"
    fresh_sandbox.write(f"{project.HOME}/.iterate/.env", text.encode(), mode=0o600)
    fresh_sandbox.restart(grace=3)
    fresh_sandbox.wait_until_ready()
    bearer = {"Authorization": f"Bearer {token}"}
    assert get(fresh_sandbox, "/api/status", headers=bearer).status_code == httpx.codes.OK
    auth = ("opencode", password)
    assert get(fresh_sandbox, "/config", port=OPENCODE, auth=auth).status_code == httpx.codes.OK
