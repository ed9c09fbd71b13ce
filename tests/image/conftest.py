"""Real builds, in throw-away clones of this repository, on the machine's own engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import certificates, project
from tasks.build import image, source
from tasks.engine import discovery
from tasks.git import worktree
from tasks.sandbox.providers.docker import DockerProvider
from tasks.sandbox.run import Run
from tests.support import repos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Built:
    """An image under test, and how to look into it."""

    tag: str

    def files(self, to: Path) -> Path:
        """The image's repository, unpacked as it is."""
        archive = to.with_suffix(".tar")
        script = ("tar", "-C", project.REPO, "--exclude=./node_modules", "-cf", "-", ".")
        with archive.open("wb") as file:
            command = ["docker", "run", "--rm", "--entrypoint", script[0], self.tag, *script[1:]]
            subprocess.run(command, stdout=file, check=True, timeout=120)
        with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as tar:
            repos.extract(tar, to)
        archive.unlink()
        for path in ("apps/daemon/.venv", "apps/daemon/web/node_modules", "apps/daemon/web/dist"):
            shutil.rmtree(to / path)
        return to

    def run(self, *command: str) -> str:
        line = ["docker", "run", "--rm", "--entrypoint", command[0], self.tag, *command[1:]]
        return subprocess.run(line, check=True, capture_output=True, text=True, timeout=120).stdout

    def record(self) -> dict[str, Any]:
        build_record: dict[str, Any] = json.loads(self.run("cat", project.BUILD_INFO))
        return build_record

    def labels(self) -> dict[str, str]:
        form = "{{json .Config.Labels}}"
        shown = subprocess.run(
            ["docker", "image", "inspect", "--format", form, self.tag],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        labels: dict[str, str] = json.loads(shown.stdout)
        return labels

    def contains(self, *canaries: bytes) -> set[bytes]:
        """Which of `canaries` stand anywhere in the image: layers, configuration, history."""
        canaries_inside: set[bytes] = set()
        tail = b""
        with subprocess.Popen(["docker", "save", self.tag], stdout=subprocess.PIPE) as save:
            assert save.stdout is not None
            while chunk := save.stdout.read(1 << 22):
                window = tail + chunk
                canaries_inside |= {canary for canary in canaries if canary in window}
                tail = window[-256:]
        assert save.returncode == 0
        return canaries_inside


class Workshop:
    """A clone of this repository at its present state, to change and to build."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root = root
        self.run = run
        self._count = 0
        # The same at each build: another time of creation would be another image.
        self._labels = [f"{name}={value}" for name, value in run.labels("image").items()]

    def tag(self, purpose: str) -> str:
        self._count += 1
        return f"{project.IMAGE}-test:{self.run.id}-{self._count}-{purpose}"

    def command(self, *arguments: str) -> list[str]:
        options = [word for label in self._labels for word in ("--label", label)]
        return [sys.executable, "-m", "tasks", "snapshot-local", *arguments, *options]

    def build(self, tag: str, *arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
        """`snapshot_local` in the clone; its JSON, with the log's text beside it."""
        result = self.attempt(tag, *arguments, env=env)
        assert result.returncode == 0, result.stderr
        record: dict[str, Any] = json.loads(result.stdout)
        return record

    def attempt(
        self, tag: str, *arguments: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command("--tag", tag, "--json", *arguments),
            cwd=self.root, check=False, capture_output=True, text=True, timeout=900,
            env={**os.environ, "PYTHONPATH": "", **(env or {})},
        )  # fmt: skip

    def bump(self, *arguments: str) -> dict[str, Any]:
        """`bump_versions` in the clone, on the real registries; its JSON."""
        result = subprocess.run(
            [sys.executable, "-m", "tasks", "bump-versions", "--json", *arguments],
            cwd=self.root, check=False, capture_output=True, text=True, timeout=300,
            env={**os.environ, "PYTHONPATH": ""},
        )  # fmt: skip
        assert result.returncode in {0, 1}, result.stderr
        record: dict[str, Any] = json.loads(result.stdout)
        return record

    def by_hand(self, tag: str) -> None:
        result = self.attempt_by_hand(tag)
        assert result.returncode == 0, result.stderr[-3000:]

    def attempt_by_hand(self, tag: str) -> subprocess.CompletedProcess[str]:
        """`docker build` as a person would type it, in a plain clone."""
        labels = [f"--label={name}={value}" for name, value in self.run.labels("hand").items()]
        bundle = certificates.find_ca_bundle()
        secret = [f"--secret=id=ca_bundle,src={bundle}"] if bundle else []
        command = ["docker", "build", "-t", tag, "-f", project.DOCKERFILE, *labels, *secret, "."]
        return subprocess.run(
            command, cwd=self.root, check=False, capture_output=True, text=True, timeout=900
        )


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    discovery.require()
    with DockerProvider.connect() as provider, Run(provider) as started:
        yield started


@pytest.fixture
def workshop(run: Run, tmp_path: Path) -> Workshop:
    """A clone that holds this checkout as it is on disk, committed."""
    return Workshop(copy_of_this(tmp_path / "clone"), run)


def copy_of_this(to: Path) -> Path:
    repos.git(to.parent, "clone", "-q", "--no-hardlinks", str(project.ROOT), str(to))
    repos.git(to, "checkout", "-q", "-B", "main")  # this checkout may be at no branch
    for entry in worktree.scan(project.ROOT).everything():
        path = os.fsdecode(entry.path)
        if entry.kind == "directory":
            continue
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        (to / path).unlink(missing_ok=True)
        shutil.copy2(project.ROOT / path, to / path, follow_symlinks=False)
    repos.commit(to, "this checkout as it is on disk")
    return to


def identity(root: Path) -> str:
    return source.from_working_tree(root, build_args=image.BUILD_ARGS).identity
