"""What exactly a pin installs: one lock file beside the Dockerfile for each, named by its version.

An npm tool has npm's own lock: the whole tree, each package with its integrity, no registry's
address. A wheel has a requirement with its hashes. The build installs from nothing else
(apps/os/sandbox/lib/npm_tool.py, `pip --require-hashes`) and fails where the bytes differ.

The version in the file's name makes a bump one step: the new lock is written beside the old one,
renaming the Dockerfile into place decides, the old lock goes. Whoever is killed in between leaves
a file that nothing reads.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console, process
from tasks.base.errors import CommandFailed, TaskError, TimedOut
from tasks.base.project import SANDBOX_DIR
from tasks.bump.registries import config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Release

FOLDER: Final = f"{SANDBOX_DIR}/locks"
#: Seconds for npm to resolve one tree; Pi's, with 130 packages, takes 7.
PATIENCE: Final = 180


class DoesNotInstall(TaskError):
    """The release's dependencies cannot all be had; another release may do better."""

    code = "does-not-install"


def path(pin: Pin, version: str) -> str:
    """The lock file of that version, relative to the repository."""
    return f"{FOLDER}/{pin.name}-{version}.{'json' if pin.origin == 'npm' else 'txt'}"


def stale(folder: Path, pin: Pin, version: str) -> list[Path]:
    """Lock files of other versions of the pin, left by a bump that was killed."""
    keep = Path(path(pin, version)).name
    lock_name = re.compile(rf"{re.escape(pin.name)}-\d[^/]*\.(?:json|txt)")
    return [f for f in sorted(folder.glob("*")) if lock_name.fullmatch(f.name) and f.name != keep]


def make(pin: Pin, release: Release, *, before: datetime, root: Path) -> str:
    """The lock's text. Dependencies are no younger than `before`. Raises `DoesNotInstall`."""
    if pin.origin == "pypi":
        return requirement(pin, release)
    with tempfile.TemporaryDirectory(prefix="bump-") as folder:
        work = Path(folder, pin.name)  # npm writes the folder's name into the lock
        work.mkdir()
        wanted = {"private": True, "dependencies": {pin.package: release.text}}
        Path(work, "package.json").write_text(json.dumps(wanted))
        if Path(root, ".npmrc").is_file():
            shutil.copy(root / ".npmrc", work)
        _resolve(work, before)
        text = Path(work, "package-lock.json").read_text()
    for trouble in troubles(json.loads(text), pin, release):
        raise DoesNotInstall(trouble)
    return text


def requirement(pin: Pin, release: Release) -> str:
    """A requirement file for pip with the hashes of the wheels for Linux."""
    hashes = sorted(release.integrity.values())
    return " \\\n    ".join(
        [f"{pin.package}=={release.text}", *(f"--hash={h}" for h in hashes)]
    ) + ("\n")


def troubles(lock: dict[str, Any], pin: Pin, release: Release) -> Iterator[str]:
    """Why a lock that npm wrote is not to be used."""
    packages = lock.get("packages", {})
    own = packages.get(f"node_modules/{pin.package}", {})
    if own.get("version") != release.text:
        yield f"npm resolved {pin.package} to {own.get('version')}"
    if own.get("integrity") != release.integrity.get(""):
        yield (
            f"{pin.package} {release.text}: the registry's checksums disagree, "
            f"{release.integrity.get('')} and {own.get('integrity')}"
        )
    for name, version in release.platforms.items():
        # npm leaves an optional dependency out without a word when it cannot be had.
        if packages.get(f"node_modules/{name}", {}).get("version") != version:
            yield f"its program for Linux on x86-64, {name} {version}, is not published"
    for place, entry in packages.items():
        if place and not entry.get("integrity") and not entry.get("inBundle"):
            yield f"{place.rpartition('node_modules/')[2]} has no checksum"
        if "resolved" in entry:
            yield f"{place} names an address"


def _resolve(folder: Path, before: datetime) -> None:
    command = [
        *config.npm_command(), "install", "--package-lock-only", "--ignore-scripts",
        "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund", "--no-update-notifier",
        "--loglevel=error", f"--before={before:%Y-%m-%dT%H:%M:%SZ}",
    ]  # fmt: skip
    try:
        process.capture(command, cwd=folder, timeout=PATIENCE)
    except CommandFailed as error:
        raise DoesNotInstall(reason(error.output)) from error
    except TimedOut as error:
        raise DoesNotInstall(f"npm did not resolve it within {PATIENCE} s") from error


def reason(output: str) -> str:
    """What npm's error says in one line."""
    if match := re.search(r"No matching version found for (\S+?)(?: with a date|\.?\s*$)", output,
                          re.MULTILINE):  # fmt: skip
        return f"it needs {match[1]}, which the registry does not have"
    if match := re.search(r"'([^'\s]+)' (?:could not be found|is not in this)", output):
        return f"it needs {match[1]}, which the registry does not have"
    lines = [line.removeprefix("npm error").strip() for line in output.splitlines()]
    said = next((line for line in lines if line and not line.startswith(("code ", "A complete"))),
                "npm does not say why")  # fmt: skip
    said = re.sub(r"https?://\S+", "(address)", said)  # may hold a secret; nothing to publish
    return f"npm cannot resolve it: {console.printable(said)[:160]}"
