"""At build time: install one npm tool from its lock file, and keep one copy of each program.

`npm_tool.py NAME` takes the one pin in /pins, its version and its lock; the result is /opt/NAME,
the tool's own commands in /opt/NAME/bin. `npm ci` compares every package with its integrity in the
lock and fails with both values where they differ.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path("/pins")
OPT = Path("/opt")
#: What npm calls the processors we may be built on.
PROCESSORS = {"x86_64": "x64", "aarch64": "arm64"}
#: The same program for another C library, or for processors without AVX2.
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
    tailor(lock, cpu)
    (tool / "package-lock.json").write_text(json.dumps(lock))
    (tool / "package.json").write_text(json.dumps(lock["packages"][""]))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    if status := subprocess.run(command, cwd=tool, check=False).returncode:
        sys.exit(status)
    link_commands(tool, package)
    deduplicate(tool)


def fits(entry: dict[str, Any], cpu: str) -> bool:
    """Whether a locked package is for machines like this one."""
    return (
        cpu in entry.get("cpu", [cpu])
        and "linux" in entry.get("os", ["linux"])
        and "glibc" in entry.get("libc", ["glibc"])
    )


def tailor(lock: dict[str, Any], cpu: str) -> None:
    """Cut the lock to this machine: what is for others goes, its own programs become required.

    They are optional dependencies, and npm passes over an optional dependency without a word when
    it cannot be had or its integrity is wrong.
    """
    packages = lock["packages"]
    for place, entry in [*packages.items()]:
        name = place.rpartition("node_modules/")[2]
        if entry.get("optional") and (TWIN.search(name) or not fits(entry, cpu)):
            del packages[place]
        elif "cpu" in entry and place == f"node_modules/{name}":
            packages[""]["dependencies"][name] = entry["version"]
            entry.pop("optional", None)
    remaining_packages = {place.rpartition("node_modules/")[2] for place in packages}
    for entry in packages.values():
        optional = entry.get("optionalDependencies", {})
        for name in [name for name in optional if name not in remaining_packages]:
            del optional[name]


def link_commands(tool: Path, package: str) -> None:
    """The tool's own commands, not those of what it depends on."""
    manifest = json.loads((tool / "node_modules" / package / "package.json").read_text())
    bins = manifest["bin"]
    (tool / "bin").mkdir()
    for command in [package.rpartition("/")[2]] if isinstance(bins, str) else bins:
        target = os.path.realpath(tool / "node_modules/.bin" / command)
        (tool / "bin" / command).symlink_to(os.path.relpath(target, tool / "bin"))


def deduplicate(tool: Path) -> None:
    """Packages hard-link their program under several names, which a layer would store each."""
    first: dict[int, Path] = {}
    for path in sorted(tool.rglob("*")):
        status = path.lstat()
        if path.is_symlink() or not path.is_file() or status.st_nlink < 2 or status.st_size < 1e6:
            continue
        if status.st_ino in first:
            path.unlink()
            path.symlink_to(os.path.relpath(first[status.st_ino], path.parent))
        else:
            first[status.st_ino] = path


if __name__ == "__main__":
    main(sys.argv[1])
