"""At build time: install one npm tool from its lock file, and keep one copy of each program.

`npm_tool.py NAME` takes the one pin in /pins, its version and its lock; the result is /opt/NAME with
the tool's own commands in /opt/NAME/bin. `npm ci` compares every package with its integrity in the
lock and fails with both values where they differ.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path("/pins")
OPT = Path("/opt")
#: What npm calls the processors we may be built on.
PROCESSORS = {"x86_64": "x64", "aarch64": "arm64"}
TWIN = re.compile(r"-(?:baseline|musl)(?:-|$)")


def main(name: str) -> None:
    [pin] = PINS.glob("*_VERSION")
    version = pin.read_text()
    lock = json.loads(Path(f"{pin}.lock").read_text())
    [package] = lock["packages"][""]["dependencies"]
    locked = lock["packages"][f"node_modules/{package}"]["version"]
    if locked != version:
        sys.exit(f"{pin.name} is {version}, but its lock file has {package} {locked} → "
                 f"nox -s bump_versions -- --only {pin.name}")  # fmt: skip
    tool = OPT / name
    tool.mkdir(parents=True)
    cpu = PROCESSORS.get(platform.machine(), platform.machine())
    require(lock, cpu)
    (tool / "package-lock.json").write_text(json.dumps(lock))
    (tool / "package.json").write_text(json.dumps(lock["packages"][""]))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    if status := subprocess.run(command, cwd=tool, check=False).returncode:
        sys.exit(status)
    link_commands(tool, package)
    drop_twins(tool / "node_modules")
    deduplicate(tool)


def fits(entry: dict[str, Any], cpu: str) -> bool:
    """Whether a locked package is for this machine and for nobody else."""
    return (
        cpu in entry.get("cpu", [])
        and "linux" in entry.get("os", [])
        and "glibc" in entry.get("libc", ["glibc"])
    )


def require(lock: dict[str, Any], cpu: str) -> None:
    """Make this machine's programs required, top to bottom of the lock.

    They are optional dependencies, and npm passes over an optional dependency without a word when
    it cannot be had or its integrity is wrong.
    """
    root = lock["packages"][""]
    for place, entry in lock["packages"].items():
        name = place.removeprefix("node_modules/")
        if place and "node_modules/" not in name and fits(entry, cpu) and not TWIN.search(name):
            root["dependencies"][name] = entry["version"]
            entry.pop("optional", None)


def link_commands(tool: Path, package: str) -> None:
    """The tool's own commands, not those of what it depends on."""
    manifest = json.loads((tool / "node_modules" / package / "package.json").read_text())
    bins = manifest["bin"]
    (tool / "bin").mkdir()
    for command in [package.rpartition("/")[2]] if isinstance(bins, str) else bins:
        target = os.path.realpath(tool / "node_modules/.bin" / command)
        (tool / "bin" / command).symlink_to(os.path.relpath(target, tool / "bin"))


def drop_twins(modules: Path) -> None:
    """The same program for other processors and C libraries."""
    for folder in [*modules.glob("*"), *modules.glob("@*/*")]:
        if folder.name.endswith(("-baseline", "-musl")):
            shutil.rmtree(folder)


def deduplicate(tool: Path) -> None:
    """Packages hard-link their program under several names, which a layer would store each."""
    first: dict[int, Path] = {}
    for path in sorted(tool.rglob("*")):
        known = path.lstat()
        if path.is_symlink() or not path.is_file() or known.st_nlink < 2 or known.st_size < 1e6:
            continue
        if known.st_ino in first:
            path.unlink()
            path.symlink_to(os.path.relpath(first[known.st_ino], path.parent))
        else:
            first[known.st_ino] = path


if __name__ == "__main__":
    main(sys.argv[1])
