"""Local mode's work on a synced repository: dependencies, the daemon's UI, the home folder.

A step runs only when what it depends on has changed since it last succeeded; the image's own build
counts as the first time (`build.py record`). A step that fails leaves the former result in place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import process
from tasks.base.errors import CommandFailed, TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KEYS: Final = Path.home() / ".local/state/iterate/built"
_VENV: Final = "apps/daemon/.venv"
_WEB: Final = "apps/daemon/web"
_BUILT: Final = frozenset({"node_modules", "dist", "dist.next", ".venv"})


@dataclass(frozen=True)
class StartStep:
    """`work` makes `result` from the files that `inputs` gives and the tools' versions."""

    name: str
    work: Callable[[Path], None]
    inputs: Callable[[Path], Iterator[Path]]
    tools: tuple[str, ...]
    result: str

    def run(self, repo: Path) -> str:
        """Do the work unless it is done already; says which. Raises `TaskError`."""
        key, noted = self._key(repo), _KEYS / self.name
        if (repo / self.result).is_dir() and noted.exists() and noted.read_text() == key:
            return "up to date"
        # Gone before the work begins: an interrupted step is never taken for a finished one.
        noted.unlink(missing_ok=True)
        self.work(repo)
        self.note(repo)
        return "done"

    def note(self, repo: Path) -> None:
        _KEYS.mkdir(parents=True, exist_ok=True)
        (_KEYS / self.name).write_text(self._key(repo))

    def _key(self, repo: Path) -> str:
        digest = hashlib.sha256()
        for tool in self.tools:
            digest.update(process.capture([tool, "--version"]).stdout + b"\0")
        for path in self.inputs(repo):
            content = path.read_bytes() if path.exists() else b"absent"
            digest.update(os.fsencode(path.relative_to(repo)) + b"\0%d\0" % len(content) + content)
        return digest.hexdigest()


def _packages(repo: Path) -> Iterator[Path]:
    yield from (repo / name for name in ("pnpm-lock.yaml", "pnpm-workspace.yaml"))
    yield from (path for path in _sources(repo) if path.name == "package.json")


def _requirements(repo: Path) -> Iterator[Path]:
    yield repo / "apps/daemon/requirements.txt"


def _ui_sources(repo: Path) -> Iterator[Path]:
    yield repo / "pnpm-lock.yaml"
    yield from _sources(repo / _WEB)


def _sources(folder: Path) -> Iterator[Path]:
    """The files below `folder` that nobody built, in a fixed order."""
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _BUILT and name != ".git")
        yield from (Path(at) / name for name in sorted(files))


def _install(repo: Path) -> None:
    # The lock file is the host's, checked when it was made: asking the registry about the age of
    # each entry again would need a network at every start.
    install = ["pnpm", "install", "--frozen-lockfile", "--trust-lockfile"]
    _run("pnpm install", install, repo)


def _sync_packages(repo: Path) -> None:
    python = f"{_VENV}/bin/python"
    if not (repo / python).exists():
        _run("uv venv", ["uv", "venv", "--quiet", "--python", "/usr/bin/python3", _VENV], repo)
    sync = ["uv", "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode"]
    _run("uv pip sync", [*sync, "--python", python, "apps/daemon/requirements.txt"], repo)


def _build_ui(repo: Path) -> None:
    """Build beside the UI that is served, then swap: a failed build leaves the old one.

    The old one is removed, not renamed: a folder of the image's layers cannot be (overlayfs).
    """
    served, fresh = repo / _WEB / "dist", repo / _WEB / "dist.next"
    build = ["pnpm", "--filter", "@iterate/daemon-web", "build", "--outDir", fresh.name]
    try:
        _run("the UI's build", build, repo)
        shutil.rmtree(served, ignore_errors=True)
        fresh.rename(served)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


STEPS: Final = (
    StartStep("install", _install, _packages, ("pnpm", "node"), "node_modules"),
    StartStep("python", _sync_packages, _requirements, ("uv",), _VENV),
    StartStep("ui", _build_ui, _ui_sources, ("node",), f"{_WEB}/dist"),
)


def set_up_home(repo: Path) -> str:
    _run("setup-home.sh", ["bash", "apps/os/sandbox/setup-home.sh"], repo)
    return "done"


def _run(name: str, command: list[str], repo: Path) -> None:
    try:
        process.run(command, cwd=repo, env={"CI": "true"}, quiet=True)
    except CommandFailed as error:
        raise TaskError(
            f"{name} failed with status {error.status}; what was there before stays in use",
            fix="its output stands in the container's log",
        ) from None


if __name__ == "__main__":
    for step in STEPS:
        step.note(Path(sys.argv[1]))
