"""What exactly a pin installs: one lock file beside the Dockerfile for each, named by its version.

An npm tool has npm's own lock: the whole tree, each package with its integrity, no registry's
address. A wheel has a requirement with its hashes. The build installs from nothing else
(apps/os/sandbox/lib/npm_tool.py, `pip --require-hashes`) and fails where the bytes differ.

The version in the file's name makes a bump one step: the new lock is written beside the old one,
renaming the Dockerfile into place decides, the old lock goes. A run that is killed in between
leaves a file that nothing reads.
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
from tasks.base.parsing import parse_json
from tasks.base.project import SANDBOX_DIR
from tasks.bump import documents
from tasks.bump.ranges import any_satisfies
from tasks.bump.registries import npm_program
from tasks.bump.registries.model import SourceError, mapping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Release

FOLDER: Final = f"{SANDBOX_DIR}/locks"
#: Seconds for npm to resolve one tree; Pi's, with 130 packages, takes 7.
RESOLVE_TIMEOUT: Final = 180
#: Codes of npm that say nothing about a release: the registry could not be asked.
_NETWORK: Final = re.compile(
    r"code (?:E(?:5\d\d|429|401|403)|ECONN\w+|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EPIPE|EPROTO|"
    r"ERR_SOCKET_TIMEOUT|\w*CERT\w*|UNABLE_TO_\w+)\b"
)
#: What npm says of a dependency that the registry does not have; group 1 is its name.
_ABSENT: Final = (
    re.compile(r"No matching version found for (\S+?)(?: with a date|\.?\s*$)", re.MULTILINE),
    re.compile(r"'([^'\s]+)' (?:could not be found|is not in this)"),
)


class NotInstallable(TaskError):
    """Not all dependencies of the release can be had; another release may do better."""

    code = "does-not-install"


def lock_path(pin: Pin, version: str) -> str:
    """The lock file of that version, relative to the repository."""
    return f"{FOLDER}/{pin.name}-{version}.{'json' if pin.origin == 'npm' else 'txt'}"


def find_stale(root: Path, pin: Pin, version: str) -> list[Path]:
    """Lock files of other versions of the pin, left by a bump that was killed."""
    current = Path(lock_path(pin, version)).name
    of_this_pin = re.compile(rf"{re.escape(pin.name)}-\d[^/]*\.(?:json|txt)")
    files = sorted((root / FOLDER).glob("*"))
    return [f for f in files if of_this_pin.fullmatch(f.name) and f.name != current]


def make_requirement(pin: Pin, release: Release) -> str:
    """A requirement file for pip with the hashes of the wheels for Linux."""
    hashes = [f"--hash={value}" for value in sorted(release.integrity.values())]
    return " \\\n    ".join([f"{pin.package}=={release.text}", *hashes]) + "\n"


def make_npm_lock(pin: Pin, release: Release, *, cutoff: datetime, root: Path, work: Path) -> str:
    """Npm's lock of the release; no dependency is younger than `cutoff`.

    `root` is the repository, whose `.npmrc` applies; `work` is a folder for temporary files. Raises
    `NotInstallable`, and `SourceError` where the registry could not be asked.
    """
    package = {"private": True, "dependencies": {pin.package: release.text}}
    with tempfile.TemporaryDirectory(dir=work, ignore_cleanup_errors=True) as name:
        folder = Path(name, pin.name)  # npm writes the folder's name into the lock
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps(package))
        if (root / ".npmrc").is_file():
            shutil.copy(root / ".npmrc", folder)
        _resolve(folder, cutoff)
        text = documents.read_if_present(folder / "package-lock.json") or ""
    try:
        lock = parse_json(text)
    except ValueError as error:
        raise NotInstallable("npm wrote no lock file") from error
    for defect in find_defects(mapping(lock), pin, release):
        raise NotInstallable(defect)
    return text


def find_defects(lock: dict[str, Any], pin: Pin, release: Release) -> Iterator[str]:
    """Why a lock that npm wrote cannot be used."""
    packages = {place: mapping(entry) for place, entry in mapping(lock.get("packages")).items()}
    tool = packages.get(f"node_modules/{pin.package}", {})
    if tool.get("version") != release.text:
        yield f"npm resolved {pin.package} to {tool.get('version')}"
    if tool.get("integrity") != release.integrity.get(""):
        yield (
            f"the registry's checksums of {pin.package} {release.text} disagree: "
            f"{release.integrity.get('')} and {tool.get('integrity')}"
        )
    for name, specifier in release.platforms.items():
        # npm leaves an optional dependency out without a word when it cannot be had.
        version = packages.get(f"node_modules/{name}", {}).get("version")
        if not (isinstance(version, str) and any_satisfies([version], specifier)):
            yield f"its program for Linux on x86-64, {name} {specifier}, is not published"
    for place, entry in packages.items():
        if place and not entry.get("integrity") and not entry.get("inBundle"):
            yield f"{place.rpartition('node_modules/')[2]} has no checksum"
        if "resolved" in entry:
            yield f"{place} names an address"


def _resolve(folder: Path, cutoff: datetime) -> None:
    command = [
        *npm_program.npm_command(), "install", "--package-lock-only", "--ignore-scripts",
        "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund", "--no-update-notifier",
        "--loglevel=error", f"--before={cutoff:%Y-%m-%dT%H:%M:%SZ}",
    ]  # fmt: skip
    try:
        environment = npm_program.npm_environment()
        process.capture(command, cwd=folder, env=environment, timeout=RESOLVE_TIMEOUT)
    except CommandFailed as error:
        reason = explain_npm(error.output)
        if _NETWORK.search(error.output):
            raise SourceError(reason, fix="try again later") from error
        raise NotInstallable(reason) from error
    except TimedOut as error:
        raise SourceError(
            f"npm did not resolve the dependencies within {RESOLVE_TIMEOUT} s",
            fix="try again later",
        ) from error


def explain_npm(output: str) -> str:
    """What npm's error says, in one line."""
    for pattern in _ABSENT:
        if match := pattern.search(output):
            name = console.printable(match[1])[:160]
            return f"it needs {name}, which the registry does not have"
    lines = [line.removeprefix("npm error").strip() for line in output.splitlines()]
    errors = (line for line in lines if line and not line.startswith(("code ", "A complete")))
    reason = next(errors, "npm gives no reason")
    reason = re.sub(r"https?://\S+", "(address)", reason)  # it may hold a secret
    return f"npm cannot resolve it: {console.printable(reason)[:160]}"
