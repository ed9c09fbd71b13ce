"""A repository with every pin and a registry that has them, both for the test to change."""

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
from tasks.bump import lock_files, pins
from tasks.commands import bump_versions
from tests.support import package_registry
from tests.support.package_registry import integrity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tasks.bump.pins import Pin
    from tests.support.package_registry import PackageRegistry

#: The pins as they stand in a `Workspace`.
VERSIONS = dict.fromkeys((pin.variable for pin in pins.PINS), "1.0.0") | {
    "SANDBOX_OPENCODE_VERSION": "1.18.0",
    "SANDBOX_CLAUDE_CODE_VERSION": "2.1.0",
    "SANDBOX_PI_CODING_AGENT_VERSION": "0.87.0",
    "SANDBOX_BUN_VERSION": "1.4.0",
    "SANDBOX_NODE_VERSION": "24.19.0",
    "SANDBOX_PNPM_VERSION": "12.21.0",
    "SANDBOX_UV_VERSION": "0.13.9",
}
DOCKERFILE = "# head\r\nFROM x AS pins\n" + "".join(f"ENV {n}={v}\n" for n, v in VERSIONS.items())


def lock_text(
    pin: Pin, version: str, entries: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """What a lock file holds, as the bumper or npm writes it; `entries` are its dependencies."""
    if pin.origin == "pypi":
        return f"{pin.package}=={version} --hash=sha256:{'0' * 64}\n"
    tool = {"version": version, "integrity": integrity(pin.package, version)}
    packages = {f"node_modules/{name}": entry for name, entry in (entries or {}).items()}
    root = {"dependencies": {pin.package: version}}
    return json.dumps({
        "name": pin.name, "lockfileVersion": 3,
        "packages": {"": root, f"node_modules/{pin.package}": tool, **packages},
    })  # fmt: skip


@dataclass
class BumpWorkspace:
    """A throw-away repository; `run` is the command as a user gives it."""

    root: Path
    registry: PackageRegistry
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def dockerfile(self) -> Path:
        return self.root / project.DOCKERFILE

    @property
    def state(self) -> Path:
        return self.root / ".sandbox"

    def pinned_versions(self) -> dict[str, str]:
        return pins.current_versions(self.dockerfile.read_bytes().decode())

    def locks(self) -> set[str]:
        return {path.name for path in (self.root / lock_files.FOLDER).iterdir()}

    def lock(self, name: str, version: str) -> Path:
        return self.root / lock_files.lock_path(pins.find_pin(name), version)

    def offer(self, name: str, *versions: str, **manifest: Any) -> None:
        """Newer versions beside the pinned one."""
        pinned_version = VERSIONS[pins.find_pin(name).variable]
        self.registry.npm(name, {pinned_version: {}, **dict.fromkeys(versions, manifest)})

    def environment(self) -> dict[str, str]:
        """Nothing of the machine's own configuration."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.upper().startswith(("NPM_", "PIP_"))
        }
        return inherited | {
            "npm_config_registry": self.registry.url,
            "npm_config_userconfig": str(self.root / "user-npmrc"),
            "npm_config_globalconfig": str(self.root / "global-npmrc"),
            "npm_config_cache": str(self.root / ".sandbox/npm-cache"),
            "npm_config_fetch_retries": "0",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{self.registry.url}simple/",
            "no_proxy": "127.0.0.1",
            **self.variables,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tasks", "bump-versions", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command as a process."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.root, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

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

    def record(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """`--json`, by variable."""
        result = self.run("--json", *arguments)
        assert result.returncode == status, result.stderr
        document = json.loads(result.stdout)
        assert document["schema"] == 1
        return {pin["pin"]: pin for pin in document["pins"]}


@pytest.fixture
def registry() -> Iterator[PackageRegistry]:
    with package_registry.serving() as server:
        for pin in pins.PINS:
            version = VERSIONS[pin.variable]
            if pin.origin == "npm":
                server.npm(pin.package, {version: {}})
            else:
                server.pypi(pin.package, {version: 30.0})
        yield server


@pytest.fixture
def workspace(tmp_path: Path, registry: PackageRegistry) -> BumpWorkspace:
    """Every pin is the newest there is, and has its lock."""
    root = tmp_path / "repository"
    shutil.copytree(project.ROOT / "tasks", root / "tasks",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    workspace = BumpWorkspace(root, registry)
    workspace.dockerfile.parent.mkdir(parents=True)
    workspace.dockerfile.write_bytes(DOCKERFILE.encode())
    workspace.state.mkdir()
    (root / "pyproject.toml").write_text("")
    (root / "package.json").write_text('{\n  "packageManager": "pnpm@12.21.0"\n}\n')
    (root / lock_files.FOLDER).mkdir()
    for pin in pins.PINS:
        version = VERSIONS[pin.variable]
        (root / lock_files.lock_path(pin, version)).write_text(lock_text(pin, version))
    return workspace
