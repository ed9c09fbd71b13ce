"""The build context: a tar of the repository at a source, with a clean .git, without secrets.

A tar, since BuildKit's directory contexts miss a change that keeps size and mtime, and copy
FIFOs. GNU format, since that keeps any name byte for byte. Times and owners are fixed, so that
the same source gives the same bytes.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.git import commits, gitdir, object_cache
from tasks.git.secrets import findings, tree_scan

if TYPE_CHECKING:
    from tasks.build.source import Source
    from tasks.git.tree import Entry

#: Tells the image build that .git is clean already, and what the source is.
SOURCE_FILE: Final = ".git/sandbox-source.json"


class FileChanged(TaskError):
    """A file changed while it was read: the context would mix two moments."""

    code = "file-changed"


@dataclass(frozen=True)
class ContextReport:
    """What a context holds of the working tree: `files`, their `bytes`, the `largest`."""

    files: int
    bytes: int
    largest: tuple[tuple[str, int], ...]


def report(source: Source) -> ContextReport:
    entries = [entry for entry in source.tree.everything() if entry.kind != "directory"]
    largest = sorted(entries, key=lambda entry: -entry.size)[:5]
    return ContextReport(
        files=len(entries),
        bytes=sum(entry.size for entry in entries),
        largest=tuple((_printable(entry.path), entry.size) for entry in largest),
    )


def refuse_secrets(source: Source, into: Path | None = None) -> None:
    """Raise `BadInput` when anything that lands in the image is a secret by its name or content:
    a file, what the index holds, what the history of HEAD holds. `into` is the cache.
    """
    cache = into or object_cache.folder()
    root = os.fsencode(source.tree.repo.root)
    try:
        secrets = [secret for tree in source.tree.trees()
                   for secret in tree_scan.in_working_tree(tree, root, cache)]  # fmt: skip
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _file_changed(os.path.relpath(error.filename, root)) from error
    findings.refuse(secrets, findings.read_allowed_in(source.tree.repo.root))


def write(source: Source, out: IO[bytes]) -> None:
    """Write the context's tar. Raises `FileChanged` when a file is not as it was listed."""
    root = os.fsencode(source.tree.repo.root)
    mtime = commits.read(source.tree.repo, source.sha).committed
    with (
        tempfile.TemporaryDirectory(prefix="iterate-git-") as folder,
        tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8",
                     errors="surrogateescape") as tar,
    ):  # fmt: skip
        for entry in source.tree.everything():
            _add_entry(tar, root, entry, mtime)
        for number, tree in enumerate(source.tree.trees()):
            clean = Path(folder) / str(number)
            gitdir.export(tree, clean)
            if number == 0:
                _source_file(clean).write_text(json.dumps(source.record()) + "\n")
            _add_folder(tar, clean, os.fsdecode(tree.prefix) + ".git", mtime)


def _source_file(git_dir: Path) -> Path:
    return git_dir / SOURCE_FILE.removeprefix(".git/")


def _add_entry(tar: tarfile.TarFile, root: bytes, entry: Entry, mtime: int) -> None:
    info = _info(entry.path.decode("utf-8", "surrogateescape"), mtime)
    path = os.path.join(root, entry.path)
    if entry.kind == "directory":
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        return
    if entry.kind == "symlink":
        info.type, info.mode = tarfile.SYMTYPE, 0o777
        try:
            info.linkname = os.readlink(path).decode("utf-8", "surrogateescape")
        except OSError as error:  # gone, or a file now
            raise _file_changed(entry.path) from error
        tar.addfile(info)
        return
    info.mode = 0o755 if entry.kind == "executable" else 0o644
    info.size = entry.size
    try:
        with open(path, "rb") as file:
            tar.addfile(info, file)
            status = os.fstat(file.fileno())
    except OSError as error:  # gone, or shorter than it was
        raise _file_changed(entry.path) from error
    if (status.st_ctime_ns, status.st_size) != (entry.ctime_ns, entry.size):
        raise _file_changed(entry.path)


def _file_changed(path: bytes) -> FileChanged:
    return FileChanged(
        f"{_printable(path)} changed while it was read", fix="wait until nothing writes to it"
    )


def _printable(path: bytes) -> str:
    return console.printable(path.decode(errors="backslashreplace"))


def _add_folder(tar: tarfile.TarFile, folder: Path, name: str, mtime: int) -> None:
    for path in [folder, *sorted(folder.rglob("*"))]:
        relative = path.relative_to(folder).as_posix()
        info = _info(name if relative == "." else f"{name}/{relative}", mtime)
        if path.is_dir():
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        else:
            info.mode, info.size = 0o644, path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(info, file)


def _info(name: str, mtime: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mtime = mtime
    return info
