"""The commands of the documentation, typed as they stand there, with DAYTONA_API_KEY alone; and
what leads to the stand-in instead of Daytona.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tasks.daytona import content
from tasks.daytona.ledger import open_ledger
from tasks.daytona.naming import SnapshotName
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.daytona.snapshot import Snapshot
    from tests.daytona.conftest import PublishingBench

BRANCH = "my-feature-branch"
#: Variables by which a command could know more than the key.
_PREFIXES = ("DAYTONA_", "SANDBOX_", "GITHUB_", "GIT_", "APP_STAGE", "ITERATE_USER", "NOX", "npm_")
_STAND_IN = ("DAYTONA_API_KEY", "DAYTONA_API_URL", "DAYTONA_ALLOW_LOOPBACK_HTTP")


class BranchedClone:
    """A clone of this repository on a branch of its own, and a shell in it."""

    def __init__(self, folder: Path, bench: PublishingBench) -> None:
        self.root = folder / "repository"
        self._programs = folder / "bin"
        self._bench = bench
        repos.git(project.ROOT, "clone", "--quiet", str(project.ROOT), str(self.root))
        repos.git(self.root, "checkout", "--quiet", "-b", "current")
        repos.git(self.root, "checkout", "--quiet", "-b", BRANCH)
        repos.commit(self.root, "A feature")
        repos.git(self.root, "checkout", "--quiet", "current")
        self._programs.mkdir()
        # The environments of this repository's own sessions are used.
        command = [sys.executable, "-m", "nox", "--envdir", str(project.ROOT / ".nox")]
        self._install("nox", f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n'.encode())

    def _install(self, name: str, program: bytes) -> None:
        path = self._programs / name
        path.write_bytes(program)
        path.chmod(0o755)

    def install_pnpm(self, snapshot: Snapshot) -> None:
        """The one that is in the snapshot."""
        images = self._bench.stand_in.state()["images"]
        image = next(image for image, users in images.items() if snapshot.name in users)
        script = 'cat "$(readlink -f "$(command -v pnpm)")"'
        command = ["docker", "run", "--rm", "--entrypoint", "bash", image, "-lc", script]
        program = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
        self._install("pnpm", program)

    def run(self, line: str) -> str:
        """What the command reports. One test of the sandbox is enough here."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_PREFIXES)}
        environment |= {name: os.environ[name] for name in _STAND_IN}
        environment["PATH"] = f"{self._programs}{os.pathsep}{environment['PATH']}"
        environment["PYTEST_ADDOPTS"] = "-k test_healthz"
        process = subprocess.run(
            ["bash", "-c", line], cwd=self.root, env=environment, check=False,
            capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        report = process.stdout + process.stderr
        assert process.returncode == 0, f"{line}: {process.returncode}\n{report[-4000:]}"
        return report

    def current(self, stage: str) -> str:
        """The snapshot that the stage uses."""
        entry = open_ledger(self.root, self.root / ".sandbox", local=True).current(stage)
        return entry.snapshot if entry else ""


@pytest.fixture
def checkout(bench: PublishingBench, tmp_path: Path) -> BranchedClone:
    return BranchedClone(tmp_path, bench)


@pytest.mark.timeout(3000)
def test_documented_commands_work_with_a_key_alone(
    bench: PublishingBench, checkout: BranchedClone
) -> None:
    checkout.run(f"nox -s daytona_test -- --ref {BRANCH}")
    [feature] = ours(bench)
    own_stage = stage_of(feature)
    assert own_stage.startswith("dev-")
    checkout.install_pnpm(feature)

    checkout.run("SANDBOX_ITERATE_REPO_REF=$(git branch --show-current) pnpm snapshot:daytona:prd")
    released_name = checkout.current("prd")
    identity = identity_of(bench, released_name)
    assert identity != content.identity_of(feature)

    checkout.run(f"SANDBOX_ITERATE_REPO_REF={BRANCH} pnpm snapshot:daytona:prd")
    feature_name = checkout.current("prd")
    assert identity_of(bench, feature_name) == content.identity_of(feature)

    # The current branch is published first, and the stages do not move.
    assert "1 passed" in checkout.run("pnpm snapshot:daytona:test")
    own_identities = {content.identity_of(s) for s in ours(bench) if stage_of(s) == own_stage}
    assert own_identities == {identity, content.identity_of(feature)}
    assert checkout.current("prd") == feature_name

    creations = bench.request_count("POST /api/snapshots")
    assert creations == 4
    for line in (
        f"SANDBOX_ITERATE_REPO_REF={BRANCH} pnpm snapshot:daytona:test",
        f"DAYTONA_SNAPSHOT_NAME={released_name} pnpm snapshot:daytona:test",
    ):
        assert "1 passed" in checkout.run(line)
    assert bench.request_count("POST /api/snapshots") == creations, "there was nothing to build"
    for snapshot in ours(bench):
        bench.leaves(snapshot.name, "active")


def ours(bench: PublishingBench) -> list[Snapshot]:
    return [snapshot for snapshot in bench.api.snapshots.list_all() if content.is_ours(snapshot)]


def stage_of(snapshot: Snapshot) -> str:
    name = SnapshotName.parse(snapshot.name)
    return name.stage if name else ""


def identity_of(bench: PublishingBench, name: str) -> str:
    snapshot = bench.api.snapshots.find(name)
    return (content.identity_of(snapshot) if snapshot else None) or ""
