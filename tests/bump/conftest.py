"""A repository with seven pins and a registry that has them, both ours to change."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tasks.base import console, project
from tasks.base.errors import TaskError
from tasks.bump import locks, pins
from tasks.commands import bump_versions
from tests.support import registry as support

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.registry import Registry

#: The pins as they stand in `Desk`.
VERSIONS = {
    "SANDBOX_OPENCODE_VERSION": "1.18.0",
    "SANDBOX_CLAUDE_CODE_VERSION": "2.1.0",
    "SANDBOX_PI_CODING_AGENT_VERSION": "0.87.0",
    "SANDBOX_BUN_VERSION": "1.4.0",
    "SANDBOX_NODE_VERSION": "24.19.0",
    "SANDBOX_PNPM_VERSION": "12.21.0",
    "SANDBOX_UV_VERSION": "0.13.9",
}
DOCKERFILE = "# head\r\nFROM x AS pins\n" + "".join(f"ENV {n}={v}\n" for n, v in VERSIONS.items())


@dataclass
class Desk:
    """A throw-away repository; `run` is the command as a user gives it."""

    root: Path
    registry: Registry
    more: dict[str, str] = field(default_factory=dict)

    @property
    def dockerfile(self) -> Path:
        return self.root / project.DOCKERFILE

    def pinned(self) -> dict[str, str]:
        return pins.current(self.dockerfile.read_bytes().decode())

    def locks(self) -> set[str]:
        return {path.name for path in (self.root / locks.FOLDER).iterdir()}

    def environment(self) -> dict[str, str]:
        """Nothing of the machine's own configuration."""
        kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("NPM_", "PIP_"))}
        return kept | {
            "npm_config_registry": self.registry.url,
            "npm_config_userconfig": str(self.root / "user-npmrc"),
            "npm_config_globalconfig": str(self.root / "global-npmrc"),
            "npm_config_cache": str(self.root / ".sandbox/npm-cache"),
            "npm_config_fetch_retries": "0",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{self.registry.url}simple/",
            "no_proxy": "127.0.0.1",
            **self.more,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tasks", "bump-versions", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In this process, which saves the start of another; ends as tasks.__main__ would."""
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            mock.patch.object(project, "ROOT", self.root),
            contextlib.chdir(self.root),
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            status = 0
            try:
                bump_versions.main(list(arguments))
            except TaskError as error:
                console.fail(str(error))
                status = error.exit_status
            except SystemExit as exit_:
                status = int(str(exit_.code or 0))
        return subprocess.CompletedProcess([], status, out.getvalue(), err.getvalue())

    def told(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """`--json`, by variable."""
        result = self.run("--json", *arguments)
        assert result.returncode == status, result.stderr
        found = json.loads(result.stdout)
        assert found["schema"] == 1
        return {pin["pin"]: pin for pin in found["pins"]}


@pytest.fixture
def registry() -> Iterator[Registry]:
    with support.serving() as serving:
        for pin in pins.PINS:
            version = VERSIONS[pin.variable]
            if pin.origin == "npm":
                serving.npm(pin.package, {version: {}})
            else:
                serving.pypi(pin.package, {version: 30.0})
        yield serving


@pytest.fixture
def desk(tmp_path: Path, registry: Registry) -> Desk:
    """Every pin is the newest there is, and has its lock."""
    root = tmp_path / "repository"
    shutil.copytree(project.ROOT / "tasks", root / "tasks",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    made = Desk(root, registry)
    made.dockerfile.parent.mkdir(parents=True)
    made.dockerfile.write_bytes(DOCKERFILE.encode())
    (root / "pyproject.toml").write_text("")
    (root / "package.json").write_text('{\n  "packageManager": "pnpm@12.21.0"\n}\n')
    (root / locks.FOLDER).mkdir()
    for pin in pins.PINS:
        (root / locks.path(pin, VERSIONS[pin.variable])).write_text(f"old {pin.name}")
    return made
