"""Git, asked in a way that a hostile repository cannot turn into running its commands.

A repository's own configuration names programs: fsmonitor, hooks, filters. Here only plumbing
runs, with all of these switched off, and with the caller's GIT_* variables out of the way.
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

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Switches off whatever a configuration could make git run, write, or leave out.
OVERRIDES: Final = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.untrackedCache": "false",
    "core.pager": "cat",
    "core.alternateRefsCommand": "true",
    "protocol.allow": "never",
    "status.showUntrackedFiles": "normal",
}


@dataclass(frozen=True)
class Repo:
    """A checkout: `root` is its working tree, `git_dir` the git directory of that tree."""

    root: Path
    git_dir: Path
    filters: tuple[str, ...] = ()

    def git(
        self, *args: str, stdin: bytes = b"", check: bool = True, index: Path | None = None
    ) -> bytes:
        """The output of a git command in this checkout; a failure is `CommandFailed`.

        `index` names another index file than the checkout's own.
        """
        env = environment(self.root, self.filters)
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        command = ["git", "-C", str(self.root), *args]
        return process.capture(command, env=env, stdin=stdin, check=check, timeout=600).stdout

    def line(self, *args: str, check: bool = True) -> str:
        """The one line that a git command prints, "" for none."""
        return os.fsdecode(self.git(*args, check=check).rstrip(b"\n"))

    def config(self, name: str) -> str:
        return self.line("config", "--get", name, check=False)

    @property
    def index_path(self) -> Path:
        return self.root / self.line("rev-parse", "--git-path", "index")


def environment(root: Path | None, filters: tuple[str, ...] = ()) -> dict[str, str | None]:
    """What is laid over the environment of every git command."""
    settings = dict(OVERRIDES)
    if root is not None:
        # The overrides make a foreign owner's configuration harmless (a mount's owner differs).
        settings["safe.directory"] = str(root)
    settings |= {name: "false" if name.endswith(".required") else "" for name in filters}
    env: dict[str, str | None] = {name: None for name in os.environ if name.startswith("GIT_")}
    env |= {
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }
    return env | configured(settings.items())


def configured(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Settings as git takes them from its environment; a name may come more than once."""
    env: dict[str, str] = {}
    number = 0
    for number, (name, value) in enumerate(settings, 1):
        env |= {f"GIT_CONFIG_KEY_{number - 1}": name, f"GIT_CONFIG_VALUE_{number - 1}": value}
    return env | {"GIT_CONFIG_COUNT": str(number)}


def open_repo(path: Path) -> Repo:
    """The checkout at `path`. Raises `BadInput` where there is none that can be built from."""
    shown = console.printable(str(path))
    bare = Repo(path.resolve(), path)
    try:
        root = bare.git("rev-parse", "--show-toplevel", "--absolute-git-dir")
    except CommandFailed as error:
        if "must be run in a work tree" in error.output:
            raise BadInput(
                f"{shown} is a bare repository, without files", fix="work in a clone of it"
            ) from None
        if not path.is_dir():
            raise BadInput(f"{shown} is not a folder", fix="check the path") from None
        link = path / ".git"
        if link.is_file():
            target = link.read_text(errors="replace").removeprefix("gitdir:").strip()
            raise BadInput(
                f"{shown} is a linked worktree whose git directory {console.printable(target)} "
                "cannot be reached from here",
                fix="mount that repository at the same path too, or use a plain clone",
            ) from None
        raise BadInput(
            f"{shown} is not in a git repository", fix="git init && git add -A && git commit"
        ) from None
    top, git_dir = root.rstrip(b"\n").split(b"\n")[-2:]
    repo = Repo(Path(os.fsdecode(top)), Path(os.fsdecode(git_dir)))
    programs = r"^filter\..*\.(clean|smudge|process|required)$"
    listed = repo.git("config", "-z", "--name-only", "--get-regexp", programs, check=False)
    names = sorted({os.fsdecode(name) for name in listed.split(b"\0") if name})
    return Repo(repo.root, repo.git_dir, tuple(names))


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
