"""Writing a bump down: the Dockerfile in one step, its lock files and package.json around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base.errors import TaskError
from tasks.base.project import DOCKERFILE
from tasks.build import dockerfile_env
from tasks.bump import documents, lock_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tasks.bump.documents import Document
    from tasks.bump.outcome import Outcome
    from tasks.bump.pins import Pin

PNPM: Final = "SANDBOX_PNPM_VERSION"
PACKAGE_JSON: Final = "package.json"
#: All that a bump may write, relative to the repository.
PATHS: Final = (DOCKERFILE, lock_files.FOLDER, PACKAGE_JSON)
_PACKAGE_MANAGER: Final = re.compile(r'("packageManager"\s*:\s*"pnpm@)[0-9A-Za-z.+-]+(?=")')


class DockerfileChanged(TaskError):
    code = "changed-meanwhile"


@dataclass(frozen=True)
class PinMove:
    """One pin from one version to another, or to the same one with a new lock. Paths are relative
    to the repository; `old_lock` is None where there was no lock file.
    """

    variable: str
    name: str
    old_version: str
    new_version: str
    old_path: str
    new_path: str
    old_lock: str | None
    new_lock: str

    def __str__(self) -> str:
        return f"{self.name} {self.old_version} → {self.new_version}"


@dataclass(frozen=True)
class Edit:
    """A bump that has been worked out; it can be applied, and taken back."""

    root: Path
    document: Document
    moves: tuple[PinMove, ...]
    work: Path

    @property
    def new_text(self) -> str:
        """The Dockerfile afterwards."""
        values = {move.variable: move.new_version for move in self.moves}
        return dockerfile_env.replace(self.document.text, values)

    def with_moves(self, moves: Sequence[PinMove]) -> Edit:
        """The same with some of its moves, on the Dockerfile as it is now."""
        return Edit(self.root, documents.read(self.root, DOCKERFILE), tuple(moves), self.work)

    def apply(self) -> None:
        """Locks first, then the Dockerfile, which decides, then what nothing needs any more.

        Raises `DockerfileChanged` when somebody edited the Dockerfile since it was read.
        """
        for move in self.moves:
            documents.write(self.root / move.new_path, move.new_lock, work=self.work)
        if not self.document.is_unchanged():
            for move in self.moves:
                if move.new_path != move.old_path:
                    (self.root / move.new_path).unlink(missing_ok=True)
            raise DockerfileChanged(
                "the Dockerfile was changed while the registries were asked", fix="run it again"
            )
        if self.new_text != self.document.text:
            documents.write(self.document.path, self.new_text, work=self.work)
        for move in self.moves:
            if move.new_path != move.old_path:
                (self.root / move.old_path).unlink(missing_ok=True)
        sync_package_manager(self.root, work=self.work)


def prepare(root: Path, document: Document, outcomes: Iterable[Outcome], *, work: Path) -> Edit:
    """The edit that brings about all `outcomes` that change something."""
    moves = [_move(root, outcome) for outcome in outcomes if outcome.changes]
    return Edit(root, document, tuple(moves), work)


def _move(root: Path, outcome: Outcome) -> PinMove:
    old_path = lock_files.lock_path(outcome.pin, outcome.version)
    return PinMove(
        variable=outcome.pin.variable,
        name=outcome.pin.name,
        old_version=outcome.version,
        new_version=outcome.target,
        old_path=old_path,
        new_path=lock_files.lock_path(outcome.pin, outcome.target),
        old_lock=documents.read_if_present(root / old_path),
        new_lock=outcome.lock,
    )


def take_back(root: Path, moves: Iterable[PinMove], *, work: Path) -> list[PinMove]:
    """Undo the moves that the Dockerfile shows, whatever else it says by now; returns them.

    It may be interrupted at any moment and be called again.
    """
    document = documents.read(root, DOCKERFILE)
    definitions = dockerfile_env.definitions(document.text)
    values = {definition.name: definition.value for definition in definitions}
    to_undo = [move for move in moves if values.get(move.variable) == move.new_version]
    for move in to_undo:
        if move.old_lock is not None:
            documents.write(root / move.old_path, move.old_lock, work=work)
    text = dockerfile_env.replace(document.text, {m.variable: m.old_version for m in to_undo})
    if text != document.text:
        documents.write(document.path, text, work=work)
    for move in to_undo:
        if move.new_path != move.old_path or move.old_lock is None:
            (root / move.new_path).unlink(missing_ok=True)
    sync_package_manager(root, work=work)
    return to_undo


def find_leftovers(root: Path, versions: Iterable[tuple[Pin, str]]) -> list[str]:
    """What `tidy` would change, in words: a run was killed before it was through."""
    leftovers = [
        str(path.relative_to(root))
        for pin, version in versions
        for path in lock_files.find_stale(root, pin, version)
    ]
    if _package_manager_edit(root) is not None:
        leftovers.append(f"`packageManager` in {PACKAGE_JSON}")
    return leftovers


def tidy(root: Path, versions: Iterable[tuple[Pin, str]], *, work: Path) -> None:
    """Delete the locks of versions that are not pinned; package.json follows pnpm's pin."""
    for pin, version in versions:
        for path in lock_files.find_stale(root, pin, version):
            path.unlink(missing_ok=True)
    sync_package_manager(root, work=work)


def sync_package_manager(root: Path, *, work: Path) -> None:
    """package.json's `packageManager` names the pnpm that the Dockerfile pins."""
    if edit := _package_manager_edit(root):
        document, text = edit
        documents.write(document.path, text, work=work)


def _package_manager_edit(root: Path) -> tuple[Document, str] | None:
    """package.json and its new text; None where nothing is to be changed."""
    if not (root / PACKAGE_JSON).exists():
        return None
    document = documents.read(root, PACKAGE_JSON)
    definitions = dockerfile_env.definitions(documents.read(root, DOCKERFILE).text)
    version = dockerfile_env.single_definition(definitions, PNPM).value
    text, count = _PACKAGE_MANAGER.subn(lambda match: match[1] + version, document.text)
    return (document, text) if count == 1 and text != document.text else None
