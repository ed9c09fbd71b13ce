"""Writing a bump down: the Dockerfile in one step, its lock files and package.json around it."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import console, files
from tasks.base.errors import BadInput, TaskError
from tasks.base.project import DOCKERFILE
from tasks.build import dockerfile_env
from tasks.bump import locks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tasks.bump.pins import Pin
    from tasks.bump.survey import Outcome

_PACKAGE_MANAGER: Final = re.compile(r'("packageManager"\s*:\s*"pnpm@)[0-9A-Za-z.+-]+(?=")')
PNPM: Final = "SANDBOX_PNPM_VERSION"
PACKAGE_JSON: Final = "package.json"


class Busy(TaskError):
    code = "busy"


class Changed(TaskError):
    code = "changed-meanwhile"


class VerificationFailed(TaskError):
    code = "verification-failed"


@dataclass(frozen=True)
class Document:
    """A file as it was read. `path` is the file itself, behind any link."""

    path: Path
    text: str

    def unchanged(self) -> bool:
        try:
            return _decode(self.path.read_bytes()) == self.text
        except OSError:
            return False


def read(root: Path, name: str = DOCKERFILE) -> Document:
    """A file of the repository that may be rewritten. Raises `BadInput` for any other."""
    path = root / name
    try:
        real = path.resolve(strict=True)
        state = real.stat()
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{name} is not there", fix="run this in the repository") from error
    if not real.is_relative_to(root.resolve()):
        raise BadInput(f"{name} is a link out of the repository", fix="put the file itself there")
    if not stat.S_ISREG(state.st_mode):
        raise BadInput(f"{name} is no file")
    if not state.st_mode & stat.S_IWUSR or not os.access(real, os.W_OK):
        raise BadInput(f"{name} is read-only", fix=f"chmod u+w {name}")
    return Document(real, _decode(real.read_bytes()))


def write(path: Path, text: str, *, through: Path) -> None:
    """Replace a file in one step: whoever is killed leaves the old or the new one, never a part;
    mode and owner stay. The new one is written in `.sandbox`, where git ignores what a kill leaves.
    """
    path.parent.mkdir(exist_ok=True)
    waiting_room = through / ".sandbox"
    waiting_room.mkdir(exist_ok=True)
    with files.replacement(path, through=waiting_room, is_durable=True) as file:
        file.write(_encode(text))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one bump of this repository at a time; the second raises `Busy` at once."""
    with (folder / "bump-versions.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            who = console.printable(file.read().strip()) or "another process"
            raise Busy(
                f"bump_versions is running in this repository already ({who})",
                fix="wait for it, then try again",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        files.remove_unfinished(folder)
        yield


@dataclass(frozen=True)
class Edit:
    """A bump that has been worked out and can be applied and taken back."""

    root: Path
    old: Document
    new_text: str
    outcomes: tuple[Outcome, ...]
    old_locks: Mapping[str, str]

    def apply(self) -> None:
        """Locks first, then the Dockerfile, which decides, then what nothing needs any more.

        Raises `Changed` when somebody edited the Dockerfile since it was read.
        """
        for outcome in self.outcomes:
            write(self._lock(outcome, outcome.target), outcome.lock, through=self.root)
        if not self.old.unchanged():
            for outcome in self.outcomes:
                if outcome.moves:
                    self._lock(outcome, outcome.target).unlink()
            raise Changed("the Dockerfile was changed meanwhile", fix="run it again")
        if self.new_text != self.old.text:
            write(self.old.path, self.new_text, through=self.root)
        tidy(self.root, [(outcome.pin, outcome.target) for outcome in self.outcomes])

    def take_back(self) -> None:
        """The inverse, on whatever else the Dockerfile says by now."""
        now = read(self.root)
        there = {d.name: d.value for d in dockerfile_env.definitions(now.text)}
        mine = [o for o in self.outcomes if there.get(o.pin.variable) == o.target]
        for outcome in mine:
            if old := self.old_locks.get(outcome.pin.variable):
                write(self._lock(outcome, outcome.version), old, through=self.root)
        back = {o.pin.variable: o.version for o in mine}
        write(now.path, dockerfile_env.replace(now.text, back), through=self.root)
        for outcome in mine:
            if outcome.moves or outcome.pin.variable not in self.old_locks:
                self._lock(outcome, outcome.target).unlink(missing_ok=True)
        sync_package_manager(self.root)

    def _lock(self, outcome: Outcome, version: str) -> Path:
        return self.root / locks.path(outcome.pin, version)


def plan(root: Path, old: Document, outcomes: Sequence[Outcome]) -> Edit:
    values = {outcome.pin.variable: outcome.target for outcome in outcomes}
    old_locks = {}
    for outcome in outcomes:
        path = root / locks.path(outcome.pin, outcome.version)
        if path.exists():
            old_locks[outcome.pin.variable] = path.read_text()
    return Edit(root, old, dockerfile_env.replace(old.text, values), tuple(outcomes), old_locks)


def tidy(root: Path, pinned: Iterable[tuple[Pin, str]]) -> None:
    """Delete the locks of versions that are not pinned; package.json follows pnpm's pin."""
    for pin, version in pinned:
        for path in locks.stale(root / locks.FOLDER, pin, version):
            path.unlink(missing_ok=True)
    sync_package_manager(root)


def sync_package_manager(root: Path) -> None:
    """package.json's `packageManager` names the pnpm that the Dockerfile pins."""
    if not (root / PACKAGE_JSON).exists():
        return
    document = read(root, PACKAGE_JSON)
    pinned = dockerfile_env.only(dockerfile_env.definitions(read(root).text), PNPM).value
    new, count = _PACKAGE_MANAGER.subn(lambda match: match[1] + pinned, document.text)
    if count == 1 and new != document.text:
        write(document.path, new, through=root)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
