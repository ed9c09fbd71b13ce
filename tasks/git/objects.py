"""A repository's objects, held: whatever `git gc --prune=now` removes there meanwhile stays here.

The hold is a bare git directory of our own whose packs and loose objects are hard links to the
repository's (where the file system has them; else only an alternate, which is safe for whatever
a branch or tag reaches). It has no refs, hooks or settings, and reads nobody's git configuration:
what git does in it depends on the objects alone, and writes nothing anywhere else.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from tasks import git
from tasks.base import liveness, process
from tasks.base.errors import CommandFailed, TaskError
from tasks.base.project import cache_dir
from tasks.git import isolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK: Final = 1 << 20
_ATTEMPTS: Final = 5
#: Seconds; no hold is needed for a week.
_STALE: Final = 7 * 86400
#: Bounds git's memory, whatever the repository's size; large files are streamed.
_FRUGAL: Final = {
    "core.bigFileThreshold": "8m",
    "core.commitGraph": "false",
    "core.packedGitLimit": "128m",
    "core.packedGitWindowSize": "8m",
    "core.deltaBaseCacheLimit": "32m",
    "pack.deltaCacheSize": "32m",
    "pack.writeReverseIndex": "false",
}


class Blob:
    """The content of one object, read once and in order."""

    def __init__(self, oid: str, size: int, stream: IO[bytes]) -> None:
        self.oid = oid
        self.size = size
        self._remaining = size
        self._stream = stream

    def read(self, count: int = -1) -> bytes:
        size = self._remaining if count < 0 else min(count, self._remaining)
        data = self._stream.read(size)
        if len(data) < size:
            raise TaskError(f"git ended within object {self.oid[:12]}", fix="git fsck")
        self._remaining -= size
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass


@dataclass(frozen=True)
class Store:
    """Objects to read: `env` leads git to them, `shallow` are the commits whose parents are
    missing. `git_dir` is the hold's own, or the repository's where nothing is held; `partial` is
    `Repo.partial`. `repo` is kept, since what `env` names goes with it.
    """

    git_dir: Path
    env: dict[str, str | None]
    shallow: tuple[str, ...]
    partial: str
    repo: git.Repo

    @staticmethod
    def command(*args: str) -> list[str]:
        return ["git", *args]

    def git(self, *args: str, stdin: bytes = b"", cwd: Path | None = None) -> bytes:
        """The output of a git command; a failure is `CommandFailed`."""
        command = self.command(*args)
        return process.capture(command, env=self.env, stdin=stdin, cwd=cwd, timeout=None).stdout

    def write(self, *args: str, stdin: bytes, out: IO[bytes]) -> None:
        """Run a git command with its output in a file."""
        with (
            tempfile.TemporaryFile(prefix="iterate-stdin-") as source,
            tempfile.TemporaryFile(prefix="iterate-stderr-") as errors,
        ):
            source.write(stdin)
            source.seek(0)
            child = process.start(
                self.command(*args), env=self.env, stdin=source.fileno(), stdout=out.fileno(),
                stderr=errors.fileno(),
            )  # fmt: skip
            _require_success(args, process.wait(child), errors)

    def lines(self, *args: str, stdin: Iterable[bytes] = ()) -> Iterator[bytes]:
        """The lines that a git command prints, as they come; `stdin` are those that it reads."""
        with (
            tempfile.TemporaryFile(prefix="iterate-stdin-") as source,
            tempfile.TemporaryFile(prefix="iterate-stderr-") as errors,
        ):
            source.writelines(line + b"\n" for line in stdin)
            source.seek(0)
            child = process.start(
                self.command(*args), env=self.env, stdin=source.fileno(), stdout=subprocess.PIPE,
                stderr=errors.fileno(),
            )  # fmt: skip
            with child:
                try:
                    for line in child.stdout or ():
                        yield line.rstrip(b"\n")
                    status = process.wait(child)
                finally:
                    if child.poll() is None:
                        process.stop(child)
            _require_success(args, status, errors)

    def blobs(self, oids: Iterable[str]) -> Iterator[Blob]:
        """Objects in the order asked for, each to be read before the next is taken."""
        with tempfile.TemporaryFile(prefix="iterate-oids-") as requests:
            for oid in oids:
                requests.write(oid.encode() + b"\n")
            requests.seek(0)
            child = process.start(
                self.command("cat-file", "--batch", "--buffer"),
                env=self.env, stdin=requests.fileno(), stdout=subprocess.PIPE,
            )  # fmt: skip
            with child:
                try:
                    yield from self._read(child.stdout)
                finally:
                    if child.poll() is None:
                        child.kill()

    def sizes(self, oids: Iterable[str]) -> dict[str, int]:
        """The bytes of each object. Raises `TaskError` where one is missing."""
        sizes: dict[str, int] = {}
        listed = (oid.encode() for oid in oids)
        for line in self.lines(
            "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=listed
        ):
            oid, _, size = line.decode().partition(" ")
            if not size.isdecimal():
                raise self.missing(oid)
            sizes[oid] = int(size)
        return sizes

    def content(self, oid: str) -> bytes:
        """The whole of one object."""
        for blob in self.blobs([oid]):
            return blob.read()
        raise self.missing(oid)

    def missing(self, sha: str, reason: str = "") -> TaskError:
        """The error where `sha`, or what it reaches, is not among the objects."""
        return git.missing_objects(sha, partial=self.partial, reason=reason)

    def _read(self, stream: IO[bytes] | None) -> Iterator[Blob]:
        while stream and (head := stream.readline()):
            oid, _, rest = head.decode().rstrip().partition(" ")
            if rest in {"missing", ""}:
                raise self.missing(oid)
            blob = Blob(oid, int(rest.rpartition(" ")[2]), stream)
            yield blob
            blob.drain()
            stream.read(1)


def _require_success(args: tuple[str, ...], status: int, errors: IO[bytes]) -> None:
    if status:
        errors.seek(0)
        raise CommandFailed(
            f"`git {args[0]}` failed with status {status}",
            status=status,
            output=errors.read().decode(errors="replace"),
        )


def unheld(repo: git.Repo) -> Store:
    """The objects of `repo` as they are, for what nobody removes meanwhile."""
    env = repo.environment(tuple(_FRUGAL.items()))
    return Store(repo.git_dir, env, repo.shallow_commits, repo.partial, repo)


@contextmanager
def hold(repo: git.Repo, sha: str) -> Iterator[Store]:
    """The objects of `repo`, from now to the end of the block. Raises `TaskError` without `sha`."""
    objects = repo.isolated.objects.resolve()
    cut = repo.shallow_commits
    holds = cache_dir() / "holds"
    holds.mkdir(parents=True, exist_ok=True)
    liveness.sweep(holds.glob("hold-*"), stale=_STALE)
    with tempfile.TemporaryDirectory(prefix="hold-", dir=holds) as folder:
        git_dir = Path(folder)
        liveness.sign(git_dir)
        (git_dir / "objects/pack").mkdir(parents=True)
        (git_dir / "objects/info").mkdir()
        (git_dir / "refs").mkdir()
        sha256 = len(sha) == 64
        format_ = "\tobjectFormat = sha256\n" if sha256 else ""
        (git_dir / "config").write_text(
            f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tbare = true\n"
            + (f"[extensions]\n{format_}" if sha256 else "")
        )
        (git_dir / "HEAD").write_text(f"{sha}\n")
        if cut:
            (git_dir / "shallow").write_text("".join(f"{commit}\n" for commit in cut))
        _link(objects, git_dir / "objects")
        env = isolation.environment(_FRUGAL.items()) | {
            "GIT_DIR": str(git_dir),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": git.quoted(str(objects)),
        }
        store = Store(git_dir, env, cut, repo.partial, repo)
        try:
            store.git("cat-file", "-e", f"{sha}^{{tree}}")
        except CommandFailed:
            raise store.missing(sha) from None
        yield store


def _link(objects: Path, into: Path) -> None:
    """Hard-link every object. A `gc` beside us replaces packs as they are listed: then again."""
    for _ in range(_ATTEMPTS):
        try:
            for folder in sorted(objects.iterdir()):
                if folder.name == "pack":
                    _link_files(folder, into / "pack", {".pack", ".idx"})
                elif len(folder.name) == 2:
                    (into / folder.name).mkdir(exist_ok=True)
                    _link_files(folder, into / folder.name, {""})
        except FileNotFoundError:
            continue
        except OSError:
            return  # another file system, or one without links: the alternate has to do
        return


def _link_files(folder: Path, into: Path, suffixes: set[str]) -> None:
    # An index is linked before its pack is used; without its pack it is of no use, nor harm.
    for path in sorted(folder.iterdir()):
        if path.suffix in suffixes and not (into / path.name).exists():
            os.link(path, into / path.name)
