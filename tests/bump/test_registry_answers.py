"""What `bump_versions` makes of registries that answer slowly, wrongly, or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.bump.conftest import DOCKERFILE, VERSIONS
from tests.support.loopback import Answer
from tests.support.package_registry import NOW, packument

if TYPE_CHECKING:
    from tests.bump.conftest import BumpWorkspace

BUN = "SANDBOX_BUN_VERSION"
CLAUDE = "SANDBOX_CLAUDE_CODE_VERSION"
PI = "SANDBOX_PI_CODING_AGENT_VERSION"
NODE = "SANDBOX_NODE_VERSION"
PNPM = "SANDBOX_PNPM_VERSION"


def test_a_failing_source_does_not_stop_the_others(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.4.1")
    workspace.registry.answers["/opencode-ai"] = Answer(b"<!DOCTYPE html><p>maintenance", 200)
    result = workspace.run()
    assert result.returncode == 2
    assert "opencode-ai: the registry sent a web page" in result.stderr
    assert workspace.pinned_versions() == VERSIONS | {BUN: "1.4.1"}
    assert workspace.run("--check").returncode == 2


HUGE = Answer(b"{" + b" " * 70_000_000, 200)
FAR = Answer(b"", 302, {"Location": "http://localhost:1/bun"})
UGLY = {
    "a web page": Answer(b"<html><body>502</body></html>"),
    "truncated": Answer(json.dumps(packument("bun", {"1.4.0": {}, "9.9.9": {}})).encode()[:-40]),
    "cut off": Answer(b'{"name": "bun"', length=4000),
    "nothing": Answer(b""),
    "a list": Answer(b"[]"),
    "deep": Answer(b'{"a":' * 200_000),
    "not utf-8": Answer(b"\xff\xfe\x00"),
    "no versions": Answer(b'{"name": "bun", "dist-tags": {"latest": "9.9.9"}}'),
    "versions a text": Answer(b'{"name": "bun", "versions": "9.9.9"}'),
    "no latest": Answer(json.dumps(packument("bun", {"9.9.9": {}}) | {"dist-tags": {}}).encode()),
    "latest points nowhere": Answer(
        json.dumps(packument("bun", {"1.4.0": {}, "1.4.1": {}}, latest="9.9.9")).encode()
    ),
    "latest a number": Answer(
        json.dumps(packument("bun", {"9.9.9": {}}) | {"dist-tags": {"latest": 9}}).encode()
    ),
    "latest is evil": Answer(
        json.dumps(packument("bun", {"9.9.9\nRUN evil": {}}, latest="9.9.9\nRUN evil")).encode()
    ),
    "another package": Answer(json.dumps(packument("bum", {"9.9.9": {}})).encode()),
    "huge": HUGE,
    "another host": FAR,
    "in circles": Answer(b"", 302, {"Location": "/bun"}),
    "unknown": Answer(b"{}", 404),
    "forbidden": Answer(b"{}", 403),
    "broken": Answer(b"{}", 500),
}


@pytest.mark.parametrize("answer", UGLY.values(), ids=UGLY)
def test_garbage_from_a_registry_bumps_nothing(workspace: BumpWorkspace, answer: Answer) -> None:
    """Exit 2, one clear line with the package's name, the Dockerfile as it was."""
    workspace.registry.answers["/bun"] = answer
    result = workspace.run("--only", "bun")
    assert result.returncode == 2
    assert [line for line in result.stderr.splitlines() if line.startswith("✗ bun: bun: ")]
    assert workspace.dockerfile.read_bytes().decode() == DOCKERFILE


def test_releases_without_dates_are_held_back(workspace: BumpWorkspace) -> None:
    document = packument("bun", {"1.4.0": {}, "1.4.1": {}})
    del document["time"]
    workspace.registry.answers["/bun"] = Answer(json.dumps(document).encode())
    record = workspace.record()
    assert record[BUN]["to"] == "1.4.0"
    assert record[BUN]["held"][0]["why"] == "the registry has no date for it"


def test_a_passing_fault_is_tried_again(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.4.1")
    good = workspace.registry.answer("/bun")
    workspace.registry.answers["/bun"] = [Answer(b"", 503), Answer(b"{", length=99), good]
    assert workspace.record("--dry-run")[BUN]["to"] == "1.4.1"


def test_slow_sources_are_asked_side_by_side(workspace: BumpWorkspace) -> None:
    """All at once: four slow answers take as long as one."""
    from tasks.base import console

    usual = console.Stopwatch()
    assert workspace.run("--check").returncode == 0
    usual_time = usual.elapsed
    for name in ("bun", "pnpm", "opencode-ai", "@anthropic-ai/claude-code"):
        workspace.registry.answer(f"/{name}").after = 1.5
    watch = console.Stopwatch()
    assert workspace.run("--check").returncode == 0
    assert watch.elapsed - usual_time < 4.5


def test_an_npmrc_gives_scopes_and_credentials(workspace: BumpWorkspace) -> None:
    """A scope's own registry and a token with a variable in it, as npm has them."""
    host = workspace.registry.url.removeprefix("http:")
    (workspace.root / ".npmrc").write_text(
        f"@anthropic-ai:registry={workspace.registry.url}private/\n"
        f"{host}private/:_authToken=${{SECRET_TOKEN}}\n"
    )
    answers = workspace.registry.answers
    answers["/private/@anthropic-ai/claude-code"] = answers.pop("/@anthropic-ai/claude-code")
    workspace.variables = {"SECRET_TOKEN": "s3cret"}
    result = workspace.run("--check")
    assert result.returncode == 0, result.stderr
    authorizations = {
        path: headers.get("Authorization") for path, headers in workspace.registry.requests
    }
    assert authorizations["/private/@anthropic-ai/claude-code"] == "Bearer s3cret"
    assert authorizations["/bun"] is None
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize("skew", [-1, 1])
def test_the_cool_down_goes_by_the_registrys_clock(workspace: BumpWorkspace, skew: int) -> None:
    """Wherever this machine's clock is: the registry says that it is NOW, and we say so."""
    workspace.offer("bun", "1.4.1", age=3.1)
    result = workspace.run("--json")
    record = json.loads(result.stdout)
    assert record["now"].startswith("2026-11-23T10:00")
    assert "the registries' clock" in record["clock"]
    workspace.registry.date = NOW + timedelta(days=skew)
    workspace.dockerfile.write_bytes(DOCKERFILE.encode())
    target = workspace.record("--dry-run")[BUN]["to"]
    assert target == ("1.4.1" if skew > 0 else "1.4.0")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("asker", ["its own request", "npm"])
def test_the_first_signal_ends_a_run_that_a_registry_holds_up(
    workspace: BumpWorkspace, signum: signal.Signals, asker: str
) -> None:
    dripping = Answer(b" " * 100, drip=1.0, length=1_000_000)
    workspace.offer("bun", "1.4.1", dependencies={"left": "1"})
    workspace.registry.npm("left", {"1.0.0": {}})
    path, good = "/left", workspace.registry.answers["/left"]
    if asker == "its own request":
        path = "/bun"
        workspace.registry.answers[path] = dripping
    else:  # asks for it after the bumper itself
        workspace.registry.answers[path] = [good, dripping] if isinstance(good, Answer) else good
    count = 1 if asker == "its own request" else 2
    child = workspace.start()
    while workspace.registry.requested(path) < count:
        assert child.poll() is None
    child.send_signal(signum)
    _, output = child.communicate(timeout=60)
    assert child.returncode == 128 + signum
    assert "interrupted" in output
    assert workspace.dockerfile.read_bytes() == DOCKERFILE.encode()


@pytest.mark.parametrize("answer", [Answer(b"{}", 503), Answer(b"", status=0), Answer(b"{}", 403)])
def test_a_registry_that_fails_npm_is_no_verdict_on_a_release(
    workspace: BumpWorkspace, answer: Answer
) -> None:
    """The bumper itself gets an answer, npm does not; the next run asks again."""
    workspace.offer("bun", "1.4.1", dependencies={"left": "1"})
    workspace.registry.npm("left", {"1.0.0": {}})
    good = workspace.registry.answer("/left")
    workspace.registry.answers["/left"] = [good, answer]
    result = workspace.run("--only", "bun")
    assert result.returncode == 2
    assert "npm cannot resolve it" in result.stderr
    workspace.registry.answers["/left"] = good
    assert workspace.record("--only", "bun")[BUN]["to"] == "1.4.1"


HANGING_NAMES = """
import socket, sys, threading
def hang(*arguments, **options):
    print("looking up", file=sys.stderr, flush=True)
    threading.Event().wait()
socket.getaddrinfo = hang
from tasks import __main__ as program
sys.exit(program.main(["bump-versions", "--check", "--only", "bun"]))
"""


def test_the_first_signal_ends_a_run_that_a_name_server_holds_up(
    workspace: BumpWorkspace,
) -> None:
    workspace.variables = {"npm_config_registry": "http://registry.invalid/"}
    with subprocess.Popen(
        [sys.executable, "-c", HANGING_NAMES], cwd=workspace.root, env=workspace.environment(),
        text=True, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stderr
        assert child.stderr.readline() == "looking up\n"
        child.send_signal(signal.SIGTERM)
        _, output = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert "interrupted" in output
