"""Local mode: make the sandbox's repository equal to a checkout mounted from the host.

What git lists there, tracked and untracked-not-ignored, deletions included, so that `git status`
says the same inside and outside. What git ignores in the sandbox (dependencies, builds) stays.
The mount is only read. Whatever was changed in the sandbox since the last sync is kept first, as a
commit under refs/sandbox/before-sync/.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import secret_notice

from tasks import git
from tasks.base import console, project
from tasks.base.errors import TaskError
from tasks.git import file_ids, gitdir, indexfile, settings, worktree

if TYPE_CHECKING:
    from tasks.git.secrets.findings import SecretFinding
    from tasks.git.tree import Entry, Tree

_STATE_FILE: Final = Path.home() / ".local/state/iterate/sync.json"
_PASSES: Final = 5


@dataclass
class State:
    """What the last sync left. `files`: path → mode, blob id and the copy's ctime and inode.

    `running` is set while a sync is under way: a tree found so was not touched by anyone else.
    """

    running: bool = False
    sha: str = ""
    branch: str | None = None
    config: str = ""
    files: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def load(cls) -> State:
        try:
            record = json.loads(_STATE_FILE.read_text())
            return cls(**record) if isinstance(record["files"], dict) else cls()
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def save(self) -> None:
        _STATE_FILE.parent.mkdir(parents=True, exist_ok=True)
        _replace(os.fsencode(_STATE_FILE), json.dumps(asdict(self)).encode())


def unlock(repo: Path) -> None:
    """Remove the lock files of git commands that were killed with the sandbox.

    Only before anything else runs: at a start nobody can hold them.
    """
    git_dir = repo / ".git"
    for lock in [*git_dir.glob("*.lock"), *(git_dir / "refs").rglob("*.lock")]:
        lock.unlink(missing_ok=True)


def mirror(source: Path, repo: Path) -> str:
    """Copy until nothing changed in between; says what was done.

    Raises `TaskError` when the host's files never hold still, or cannot be read.
    """
    state = State.load()
    if state.files and not state.running:
        _keep_changes(repo, state)
    state.running = True
    state.save()
    copied = removed = 0
    secrets: set[SecretFinding] = set()
    tree = worktree.scan(source)
    for _ in range(_PASSES):
        copied += _copy(source, repo, tree.everything(), state)
        removed += _remove_others(repo, tree, state)
        for part in tree.trees():
            secrets |= _take_over_git(part, repo / os.fsdecode(part.prefix), state)
        second_result = worktree.scan(source)
        if _moment(second_result) == _moment(tree):
            state.running = False
            state.save()
            for note in tree.all_notes():
                console.warn(note)
            secret_notice.say(source, secrets)
            return (
                f"{len(tree.everything())} files as on the host, {copied} copied, {removed} removed"
            )
        tree = second_result
    raise TaskError(
        f"the files at {source} keep changing, so no single moment of them could be copied",
        fix="start the sandbox again once nothing writes there",
    )


def _moment(tree: Tree) -> list[tuple[Any, ...]]:
    entries = [(e.path, e.kind, e.oid, e.ctime_ns) for e in tree.everything()]
    return [*((p.prefix, p.sha, p.branch, p.index.digest) for p in tree.trees()), *entries]


def _copy(source: Path, repo: Path, entries: list[Entry], state: State) -> int:
    """Bring every entry over that is not there already; the number of those."""
    copied = 0
    root, target = os.fsencode(source), os.fsencode(repo)
    files: dict[str, list[Any]] = {}
    for entry in entries:
        to = os.path.join(target, entry.path)
        name = os.fsdecode(entry.path)
        if not _is_there(entry, to, state.files.get(name)):
            _make_way(target, entry)
            _bring(os.path.join(root, entry.path), to, entry)
            copied += 1
        status = os.lstat(to)
        files[name] = [entry.git_mode, entry.oid, status.st_ctime_ns, status.st_ino]
    # What was synced once and is no longer listed is for _remove_others to find.
    state.files = {**{k: v for k, v in state.files.items() if k not in files}, **files}
    return copied


def _is_there(entry: Entry, to: bytes, noted: list[Any] | None) -> bool:
    try:
        status = os.lstat(to)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if entry.kind == "directory":
        return stat.S_ISDIR(status.st_mode)
    if _git_mode(status) != entry.git_mode or _through_link(to, entry.path):
        return False
    if noted == [entry.git_mode, entry.oid, status.st_ctime_ns, status.st_ino]:
        return True
    return file_ids.blob_id(to, status, sha256=len(entry.oid) == 64) == entry.oid


def _git_mode(status: os.stat_result) -> int:
    if stat.S_ISLNK(status.st_mode):
        return 0o120000
    if not stat.S_ISREG(status.st_mode):
        return 0
    return 0o100755 if status.st_mode & stat.S_IXUSR else 0o100644


def _through_link(to: bytes, path: bytes) -> bool:
    """Whether a folder on the way to `to`, within the repository, is a link."""
    for _ in range(path.count(b"/")):
        to = os.path.dirname(to)
        if os.path.islink(to):
            return True
    return False


def _make_way(root: bytes, entry: Entry) -> None:
    """Make real folders on the way to `entry`, and remove what stands in its place."""
    at = root
    for part in entry.path.split(b"/")[:-1]:
        at = os.path.join(at, part)
        if os.path.islink(at) or (os.path.lexists(at) and not os.path.isdir(at)):
            os.unlink(at)
        with suppress(FileExistsError):
            os.mkdir(at)
    place = os.path.join(root, entry.path)
    if os.path.isdir(place) and not os.path.islink(place) and entry.kind != "directory":
        shutil.rmtree(place)
    elif os.path.lexists(place) and entry.kind == "directory":
        os.unlink(place)


def _bring(source: bytes, to: bytes, entry: Entry) -> None:
    if entry.kind == "directory":
        os.makedirs(to, exist_ok=True)
        return
    new = to + b".sync-new"
    with suppress(FileNotFoundError):
        os.unlink(new)
    # A file that vanishes meanwhile is noticed by the scan after this pass.
    with suppress(FileNotFoundError):
        if entry.kind == "symlink":
            os.symlink(os.readlink(source), new)
        else:
            shutil.copyfile(source, new, follow_symlinks=False)
            os.chmod(new, 0o755 if entry.kind == "executable" else 0o644)
    if os.path.lexists(new):
        os.replace(new, to)
    elif not os.path.lexists(to):
        open(to, "xb").close()


def _remove_others(repo: Path, tree: Tree, state: State) -> int:
    """Remove what the host does not list: leftovers of former syncs, and new files of the sandbox
    that git does not ignore. The number of those.
    """
    host_paths = {entry.path for entry in tree.everything()}
    folders = {part.prefix for part in tree.trees()}
    earlier_paths = {os.fsencode(name) for name in state.files}
    sandbox_tree = worktree.scan(repo)
    for part in sandbox_tree.trees():
        if part.prefix in folders:
            earlier_paths.update(entry.path for entry in part.entries)
        else:
            name = console.printable(os.fsdecode(part.prefix))
            console.warn(f"{name} is a repository of its own, made in the sandbox: left there")
    removed = 0
    for path in sorted(earlier_paths - host_paths, reverse=True):
        state.files.pop(os.fsdecode(path), None)
        removed += _remove(os.fsencode(repo), path, host_paths)
    return removed


def _remove(root: bytes, path: bytes, host_paths: set[bytes]) -> bool:
    at = os.path.join(root, path)
    if _through_link(at, path):
        return False
    try:
        if os.path.isdir(at) and not os.path.islink(at):
            os.rmdir(at)
        else:
            os.unlink(at)
    except OSError:
        return False  # gone, or a folder that still holds something
    with suppress(OSError):
        while (path := os.path.dirname(path)) and path not in host_paths:
            os.rmdir(os.path.join(root, path))
    return True


def _take_over_git(tree: Tree, to: Path, state: State) -> set[SecretFinding]:
    """Give the repository at `to` the commit, branch and index of `tree`; its own branches stay.
    The secrets among what it has received.
    """
    git_dir = to / ".git"
    if not git_dir.is_dir():
        with tempfile.TemporaryDirectory(dir=to, prefix=".git-new-") as folder:
            gitdir.export(tree, Path(folder) / "git")
            (Path(folder) / "git").rename(git_dir)
        return secret_notice.find(tree, to)
    (git_dir / "logs").mkdir(exist_ok=True)
    repo = git.open_repo(to)
    head, branch = git.head(repo)
    shallow, former_shallow = (
        settings.shallow_commits(tree.repo, tree.sha),
        sorted(repo.shallow_commits),
    )
    known_commit = head if not (shallow or former_shallow) and _has(tree.repo, head) else None
    # First of all: it decides how much history is packed.
    _write_or_remove(git_dir / "shallow", "".join(f"{sha}\n" for sha in shallow).encode())
    index = indexfile.read(repo)
    secrets: set[SecretFinding] = set()
    if (head, index.digest, former_shallow) != (tree.sha, tree.index.digest, shallow):
        gitdir.copy_objects(tree, git_dir, known=known_commit)
        secrets = secret_notice.find(
            tree, to, known_commit=known_commit, indexed={entry.oid for entry in index.entries}
        )
    _take_over_refs(repo, tree, state, head, branch)
    config = tree.git_files[settings.CONFIG]
    if not tree.prefix:
        # A configuration that was edited in the sandbox stays as it is.
        if state.config in {"", (git_dir / "config").read_bytes().hex()}:
            _replace(os.fsencode(git_dir / "config"), config)
        state.config = config.hex()
        state.sha, state.branch = tree.sha, tree.branch
    _take_over_index(tree, git_dir)
    repo.git("update-index", "-q", "--refresh", check=False)
    return secrets


def _take_over_index(tree: Tree, git_dir: Path) -> None:
    """Replace the index, and what else decides whether git calls a file changed."""
    for name in (settings.ATTRIBUTES, settings.SPARSE):
        (git_dir / name).parent.mkdir(exist_ok=True)
        _write_or_remove(git_dir / name, tree.git_files.get(name, b""))
    with tempfile.TemporaryDirectory(dir=git_dir, prefix="index-new-") as folder:
        indexfile.write(tree.index, git_dir, into=Path(folder) / "index")
        (Path(folder) / "index").replace(git_dir / "index")


def _take_over_refs(
    repo: git.Repo, tree: Tree, state: State, head: str, branch: str | None
) -> None:
    """Check out the commit and branch of `tree`; a branch that only the last sync made goes."""
    if branch and branch != tree.branch and (branch, head) == (state.branch, state.sha):
        repo.git("symbolic-ref", "HEAD", "refs/heads/sandbox-sync-under-way")
        repo.git("update-ref", "-d", f"refs/heads/{branch}")
    if tree.branch:
        repo.git("update-ref", f"refs/heads/{tree.branch}", tree.sha)
        repo.git("symbolic-ref", "HEAD", f"refs/heads/{tree.branch}")
    else:
        repo.git("update-ref", "--no-deref", "HEAD", tree.sha)


def _has(repo: git.Repo, sha: str) -> bool:
    return repo.line("cat-file", "-t", sha, check=False) == "commit"


def _write_or_remove(path: Path, content: bytes) -> None:
    if content:
        _replace(os.fsencode(path), content)
    else:
        path.unlink(missing_ok=True)


def _replace(path: bytes, content: bytes) -> None:
    with open(path + b".new", "wb") as file:
        file.write(content)
    os.replace(path + b".new", path)


def _keep_changes(repo: Path, state: State) -> None:
    """Commit, on a ref of its own, what was changed in the sandbox since the last sync."""
    here = worktree.scan(repo)
    now = {os.fsdecode(e.path): [e.git_mode, e.oid] for e in here.everything()}
    then = {path: noted[:2] for path, noted in state.files.items()}
    if now == then and here.sha == state.sha:
        return
    ref = f"refs/sandbox/before-sync/{datetime.now(UTC):%Y%m%d-%H%M%S}"
    present = {*(entry.path for entry in here.entries if entry.kind != "directory"),
               *(nested.prefix.rstrip(b"/") for nested in here.nested)}  # fmt: skip
    # The folder of a submodule that is not initialised says nothing of its commit.
    folders = {entry.path for entry in here.entries if entry.kind == "directory"}
    absent = {entry.path for entry in here.index.entries
              if entry.path not in present
              and not (entry.mode == indexfile.GITLINK and entry.path in folders)}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="iterate-keep-") as folder:
        index = Path(folder) / "index"
        shutil.copyfile(here.repo.index_path, index)
        indexfile.update(here.repo, index, present=sorted(present), absent=sorted(absent))
        tree = here.repo.git("write-tree", index=index).decode().strip()
    author = (("user.name", project.NAME), ("user.email", "sandbox@localhost"))
    message = b"Work in the sandbox before it was synced with the host\n"
    line = here.repo.git("commit-tree", tree, "-p", here.sha, stdin=message, settings=author)
    commit = line.decode().strip()
    here.repo.git("update-ref", ref, commit)
    console.warn(f"what was changed in the sandbox is kept as {ref}")
