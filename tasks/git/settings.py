"""What travels in a git directory beside objects, refs and the index: small files that decide what
git says in the image. They are part of a source's identity.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tasks import git

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.git import Repo

CONFIG: Final = "config"
SHALLOW: Final = "shallow"
ATTRIBUTES: Final = "info/attributes"
SPARSE: Final = "info/sparse-checkout"

#: Settings that decide whether `git status` finds a file changed, and the values that differ from
#: what git takes in the image without them.
_TRAVELS: Final = {
    "core.autocrlf": {"true", "input"},
    "core.eol": {"lf", "crlf", "native"},
    "core.symlinks": {"false"},
    "core.sparseCheckout": {"true"},
    "core.sparseCheckoutCone": {"true", "false"},
}


def of_checkout(repo: Repo, sha: str, branch: str | None) -> dict[str, bytes]:
    """The files by their names in the git directory: of a checkout that is at `sha`."""
    settings = {name: _travelling(repo, name) for name in _TRAVELS}
    lines = _core(sha, [(k, v) for k, v in settings.items() if v in _TRAVELS[k]])
    url = origin(repo, branch)
    if url:
        lines += _origin(url)
        merge = branch and repo.config(f"branch.{branch}.merge")
        if branch and merge:
            lines += [f"[branch {git.quoted(branch)}]", "\tremote = origin",
                      f"\tmerge = {git.quoted(merge)}"]  # fmt: skip
    contents = {CONFIG: _text(lines)}
    if cut := shallow_commits(repo, sha):
        contents[SHALLOW] = _text(cut)
    if settings["core.sparseCheckout"] == "true":
        patterns = repo.git_dir / SPARSE
        contents |= {SPARSE: patterns.read_bytes()} if patterns.is_file() else {}
    return contents


def of_ref(sha: str, origin: str | None, cut: Iterable[str] = ()) -> dict[str, bytes]:
    """The files of an image that is made from a ref: nothing of any one clone is in them, but that
    a shallow clone's history ends at the commits `cut`.
    """
    url = git.clean_url(origin or "")
    contents = {CONFIG: _text(_core(sha, []) + (_origin(url) if url else []))}
    return contents | ({SHALLOW: _text(cut)} if cut else {})


def shallow_commits(repo: Repo, sha: str) -> list[str]:
    """The commits whose parents are missing (`git clone --depth`), of those that `sha` reaches."""
    cut = set(repo.shallow_commits)
    return sorted(cut & set(repo.line("rev-list", sha).split())) if cut else []


def origin(repo: Repo, branch: str | None) -> str | None:
    """The address that the branch comes from, without credentials; None for none that travels."""
    remote = branch and repo.config(f"branch.{branch}.remote")
    remote = remote if remote and remote != "." else "origin"
    if not repo.config(f"remote.{remote}.url"):
        return None
    return git.clean_url(repo.line("ls-remote", "--get-url", "--", remote))


def _travelling(repo: Repo, name: str) -> str:
    """A setting's value in the one form that git writes itself: `true` for `yes`."""
    value = repo.config(name).lower()
    if not _TRAVELS[name] & {"true", "false"} or value == "input":
        return value
    return {True: "true", False: "false", None: ""}[repo.flag(name)]


def _core(sha: str, settings: Iterable[tuple[str, str]]) -> list[str]:
    sha256 = len(sha) == 64
    lines = ["[core]", f"\trepositoryformatversion = {1 if sha256 else 0}", "\tbare = false",
             "\tlogAllRefUpdates = true"]  # fmt: skip
    lines += [f"\t{name.partition('.')[2]} = {value}" for name, value in settings]
    return lines + (["[extensions]", "\tobjectFormat = sha256"] if sha256 else [])


def _origin(url: str) -> list[str]:
    fetch = "\tfetch = +refs/heads/*:refs/remotes/origin/*"
    return ['[remote "origin"]', f"\turl = {git.quoted(url)}", fetch]


def _text(lines: Iterable[str]) -> bytes:
    return os.fsencode("".join(f"{line}\n" for line in lines))
