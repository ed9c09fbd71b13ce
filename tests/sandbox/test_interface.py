"""What every provider's sandbox has to do, before anything can be tested on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tasks.base import project, waiting
from tasks.sandbox.errors import ExecFailed, ExecTimedOut, SandboxEnded
from tests.sandbox.support import DAEMON, get

if TYPE_CHECKING:
    from tasks.sandbox.provider import Provider
    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.conftest import Maker


def test_exec_keeps_streams_and_status_apart(sandbox: Sandbox) -> None:
    result = sandbox.exec("echo out; echo err >&2; exit 7", check=False)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 7)
    with pytest.raises(ExecFailed, match="status 7: err"):
        sandbox.exec("echo err >&2; exit 7")


def test_exec_takes_arguments_as_they_are(sandbox: Sandbox) -> None:
    odd = ["", "a b", "$HOME", "'\"`\\", "new\nline", "-n", "*", "ünï"]
    result = sandbox.exec(["printf", "%s\\0", *odd])
    assert result.stdout.split("\0")[:-1] == odd


def test_exec_has_user_folder_and_environment(sandbox: Sandbox) -> None:
    assert sandbox.exec(["pwd"]).stdout.strip() == project.REPO
    assert sandbox.exec(["pwd"], cwd="/usr").stdout.strip() == "/usr"
    assert sandbox.exec(["id", "-un"], user="root").stdout.strip() == "root"
    assert sandbox.exec('echo "$A"', env={"A": "b c"}).stdout == "b c\n"


def test_exec_feeds_standard_input_of_any_size(sandbox: Sandbox) -> None:
    content = bytes(range(256)) * 8192
    assert sandbox.exec(["cat"], stdin=content).stdout_bytes == content
    assert sandbox.exec(["cat"]).stdout_bytes == b""


def test_exec_ends_at_its_deadline_and_takes_everything_along(sandbox: Sandbox) -> None:
    start = time.monotonic()
    with pytest.raises(ExecTimedOut, match="within 2 s") as caught:
        sandbox.exec("echo before; setsid sleep 4711 & sudo sleep 4712 & sleep 4713", timeout=2)
    assert time.monotonic() - start < 8
    assert caught.value.result.stdout == "before\n"
    left = "ps -eo args | grep '^sleep 471' || true"
    waiting.until(lambda: sandbox.exec(left).stdout == "", what="their end", timeout=10)


def test_exec_does_not_wait_for_what_goes_on_in_the_background(sandbox: Sandbox) -> None:
    start = time.monotonic()
    sandbox.exec("setsid sleep 30 >/dev/null 2>&1 </dev/null &")
    assert time.monotonic() - start < 10


def test_files_keep_bytes_and_mode(sandbox: Sandbox) -> None:
    content = bytes(range(256)) * 4096
    path = "/tmp/a folder/with\nan odd name"
    sandbox.write(path, content, mode=0o640)
    assert sandbox.read(path) == content
    output = sandbox.exec(["stat", "-c", "%a %U", path]).stdout.split()
    assert output == ["640", project.USER]


def test_a_sandbox_can_be_stopped_started_and_deleted(make: Maker, provider: Provider) -> None:
    """Made, started, stopped, started, deleted; deleting again does nothing."""
    sandbox = make(ready=False)
    assert sandbox.end_reason()
    sandbox.start()
    sandbox.wait_until_ready()
    assert sandbox.end_reason() is None
    sandbox.stop(grace=3)
    assert sandbox.end_reason()
    with pytest.raises(SandboxEnded):
        sandbox.exec(["true"])
    sandbox.start()
    sandbox.wait_until_ready()
    assert get(sandbox, "/healthz", port=DAEMON).status_code == httpx.codes.OK
    assert sandbox.name in [belonging.name for belonging in provider.belongings()]
    sandbox.delete()
    sandbox.delete()
    assert sandbox.name not in [belonging.name for belonging in provider.belongings()]


def test_tells_how_to_reach_and_delete_it(sandbox: Sandbox) -> None:
    assert sandbox.how_to_reach()
    assert sandbox.how_to_delete()
    names = sandbox.describe()
    assert names
