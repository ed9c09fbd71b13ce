"""Git, asked in a way that a hostile repository cannot turn into running its commands.

Only plumbing runs here, and none of it reads the repository's configuration (`isolation`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from tasks.base import console, process
from tasks.base.errors import BadInput, CommandFailed, TaskError
from tasks.git import isolation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.git.isolation import IsolatedGitDir

#: What runs in a checkout. Porcelain does more than it is asked for: `add` and `status` look into
#: submodules with the submodules' own configuration, `show` checks signatures.
_PLUMBING: Final = frozenset({
    "cat-file", "check-attr", "commit-tree", "config", "for-each-ref", "ls-files", "ls-remote",
    "ls-tree", "read-tree", "rev-list", "rev-parse", "symbolic-ref", "update-index", "update-ref",
    "write-tree",
})  # fmt: skip
#: Without looking into submodules: of those only the commit counts.
_STATUS: Final = (
    "status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal",
    "--ignore-submodules=dirty",
)  # fmt: skip
_TIMEOUT: Final = 600.0


@dataclass(frozen=True)
class Repo:
    """A checkout: `root` is its working tree, `git_dir` the git directory of that tree,
    `common_dir` the one it shares with linked worktrees. `settings` are those that are data;
    `partial` is the filter of a partial clone, "" for a whole one; `filters` are the names of the
    filter drivers that convert files, which do not run here.
    """

    root: Path
    git_dir: Path
    common_dir: Path
    isolated: IsolatedGitDir
    settings: tuple[tuple[str, str], ...] = ()
    partial: str = ""
    filters: tuple[str, ...] = ()

    def git(
        self,
        *args: str,
        stdin: bytes = b"",
        check: bool = True,
        index: Path | None = None,
        settings: tuple[tuple[str, str], ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        """The output of a git command in this checkout; a failure is `CommandFailed`.

        `index` names another index file than the checkout's own; `settings` are added to the
        checkout's; `environment` is laid over the usual one.
        """
        if args[0] not in _PLUMBING:
            raise ValueError(args[0])
        env = self.environment(settings) | {**(environment or {})}
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        return self._run(args, env, stdin=stdin, check=check)

    def count_changes(self) -> int:
        """How many paths `git status` lists; for a submodule, another commit is a change."""
        return self._run(_STATUS, self.environment()).count(b"\0")

    def _run(
        self,
        args: tuple[str, ...],
        env: dict[str, str | None],
        *,
        stdin: bytes = b"",
        check: bool = True,
    ) -> bytes:
        command = ["git", "-C", str(self.root), *args]
        return process.capture(command, env=env, stdin=stdin, check=check, timeout=_TIMEOUT).stdout

    def environment(self, settings: tuple[tuple[str, str], ...] = ()) -> dict[str, str | None]:
        """What is laid over the environment of a git command in this checkout."""
        shared = isolation.environment([*self.settings, *settings])
        return shared | self.isolated.environment(self.root)

    def line(self, *args: str, check: bool = True) -> str:
        """The one line that a git command prints, "" for none."""
        return os.fsdecode(self.git(*args, check=check).rstrip(b"\n"))

    def config(self, name: str) -> str:
        """The value of a setting that is data (`isolation.DATA`), "" where it is not set."""
        spelling = _canonical(name)
        return next((value for key, value in reversed(self.settings) if key == spelling), "")

    def flag(self, name: str) -> bool | None:
        """A setting as git reads truth values (`yes`, `on`, `1`, …); None where it is not set."""
        if not self.config(name):
            return None
        return self.line("config", "--type=bool", "--get", name) == "true"

    @property
    def index_path(self) -> Path:
        return self.git_dir / "index"

    @property
    def shallow_commits(self) -> tuple[str, ...]:
        """The commits whose parents a shallow clone lacks."""
        try:
            return tuple((self.common_dir / "shallow").read_text().split())
        except FileNotFoundError:
            return ()


def _canonical(name: str) -> str:
    """As `git config --list` spells it: only a subsection keeps its case."""
    section, _, rest = name.partition(".")
    subsection, dot, key = rest.rpartition(".")
    return f"{section.lower()}.{subsection}{dot}{key.lower()}"


def open_repo(path: Path) -> Repo:
    """The checkout at `path`. Raises `BadInput` where there is none that can be built from."""
    place = path.resolve()
    try:
        root = Path(_ask(place, "rev-parse", "--show-toplevel"))
        # Two lines without a line break in them (or the option itself, of a git that lacks it).
        formats = _ask(
            place, "rev-parse", "--show-object-format", "--show-ref-format", "--absolute-git-dir"
        )
        common_dir = (place / _ask(place, "rev-parse", "--git-common-dir")).resolve()
        listed = isolation.listed(os.fsencode(_ask(place, "config", "--list", "-z")))
    except CommandFailed as error:
        raise _unusable(path, error) from None
    if not place.is_relative_to(root.resolve()):
        raise BadInput(
            f"the repository at {_printable(path)} has its files elsewhere, in {_printable(root)}",
            fix="git config --unset core.worktree, or build in that folder",
        )
    object_format, ref_format, git_dir = formats.split("\n", 2)
    isolated = isolation.isolate(
        Path(git_dir),
        common_dir,
        bare=False,
        sha256=object_format == "sha256",
        reftable=ref_format == "reftable",
    )
    return Repo(
        root=root,
        git_dir=Path(git_dir),
        common_dir=common_dir,
        isolated=isolated,
        settings=tuple(isolation.data(listed)),
        partial=isolation.partial_clone_filter(listed),
        filters=isolation.filter_drivers(listed),
    )


def is_git_dir(path: Path) -> bool:
    """Whether a `.git` is a git directory, or leads to one."""
    command = ["git", "rev-parse", "--resolve-git-dir", str(path)]
    env = isolation.asking_environment(path.parent)
    return process.capture(command, env=env, check=False, timeout=_TIMEOUT).returncode == 0


def _ask(place: Path, *args: str) -> str:
    """What git says of a repository, where it has to read the repository's configuration."""
    command = ["git", "-C", str(place), *args]
    result = process.capture(command, env=isolation.asking_environment(place), timeout=_TIMEOUT)
    return os.fsdecode(result.stdout.removesuffix(b"\n"))


def _unusable(path: Path, error: CommandFailed) -> BadInput:
    """Why the folder at `path` is not a checkout that can be built from."""
    location = _printable(path)
    if "must be run in a work tree" in error.output:
        return BadInput(
            f"{location} is a bare repository, without files", fix="work in a clone of it"
        )
    if not path.is_dir():
        return BadInput(f"{location} is not a folder", fix="check the path")
    link = path / ".git"
    if link.is_file():
        target = link.read_text(errors="replace").removeprefix("gitdir:").strip()
        return BadInput(
            f"{location} is a linked worktree whose git directory {console.printable(target)} "
            "cannot be reached from here",
            fix="mount that repository at the same path too, or use a plain clone",
        )
    if "not a git repository" in error.output:
        return BadInput(
            f"{location} is not in a git repository", fix="git init && git add -A && git commit"
        )
    return BadInput(
        f"git cannot read the repository at {location}: {console.printable(error.last_line)}",
        fix="mend what git says there; `git status` says it, too",
    )


def _printable(path: Path) -> str:
    return console.printable(str(path))


def missing_objects(sha: str, *, partial: str, reason: str = "") -> TaskError:
    """The error for a clone that lacks what `sha` needs; `partial` is `Repo.partial`."""
    if partial:
        return TaskError(
            f"this is a partial clone ({console.printable(partial)}): objects that {sha[:12]} and "
            "its history need are not in this clone, but on the remote",
            fix="git fetch --refetch --no-filter gets them; then run this again",
        )
    detail = f": {console.printable(reason)}" if reason else ""
    return TaskError(
        f"objects that {sha[:12]} and its history need are not in this clone{detail}",
        fix="git fsck names them; git fetch --refetch gets what the remote has",
    )


def origin_url(path: Path) -> str:
    """What the checkout at `path` calls `origin`; "" where there is none, or no checkout."""
    try:
        return open_repo(path).config("remote.origin.url")
    except TaskError:
        return ""


def head(repo: Repo) -> tuple[str, str | None]:
    """The full commit id that is checked out, and its branch (None: detached)."""
    sha = repo.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False)
    if not sha:
        if commit_id := repo.line("rev-parse", "--verify", "--quiet", "HEAD", check=False):
            raise missing_objects(commit_id, partial=repo.partial)
        raise BadInput(
            f"{console.printable(str(repo.root))} has no commit yet", fix="git commit first"
        )
    ref = repo.line("symbolic-ref", "--quiet", "HEAD", check=False)
    return sha, ref.removeprefix("refs/heads/") or None


def clean_url(url: str) -> str | None:
    """A remote's address without credentials; None for one that only this machine can reach.

    >>> clean_url("https://user:token@git.example/a/b.git?access_token=1")
    'https://git.example/a/b.git'
    >>> clean_url("git@git.example:a/b.git")
    'git@git.example:a/b.git'
    """
    if any(ord(c) < 32 for c in url) or "::" in url.partition("/")[0]:
        return None  # `helper::address` runs a program
    if "://" not in url:
        # scp form, `[user@]host:path`; anything else is a path on this machine
        scp = re.fullmatch(r"(?:(?P<user>[^:@/]+)@)?(?P<host>[^:@/]+):(?P<path>[^/\\].*|/.*)", url)
        return url if scp and len(scp["host"]) > 1 else None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "ssh", "git"} or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    return urlunsplit((parts.scheme, f"{user}{host}{port}", parts.path, "", ""))


def quoted(value: str) -> str:
    """As git quotes a value in its configuration, or a path in a list of paths."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
