"""Whatever lands in an image is looked at, whichever way it is built: files, index, history."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import bake
import pytest

from tasks.base.errors import BadInput, TaskError
from tasks.build import context, parts, source
from tasks.git import gitdir, history, objects
from tasks.git.secrets import history_scan, rules
from tests.support import builder, repos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "ghp_" + "a1B2" * 9
KEY = "-----BEGIN PRIVATE KEY-----\n" + "A" * 64 + "\n" + "B" * 64


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BASE_IMAGE", "x")


def of_the_working_tree(repo: Path) -> None:
    context.refuse_secrets(source.from_working_tree(repo, build_args={}))


def of_a_ref(repo: Path) -> None:
    parts.check(builder.find(repo), repo.parent / "parts-cache")


def by_hand(repo: Path) -> None:
    with tempfile.TemporaryDirectory(dir=repo.parent) as folder:
        out = Path(folder)
        shutil.copytree(repo, out / "tree", symlinks=True)
        (out / "tree" / context.SOURCE_FILE).unlink(missing_ok=True)
        bake._clean_by_hand(out / "tree", out)


def committed_and_deleted(repo: Path, name: str, content: str) -> str:
    repos.write(repo, {name: content})
    repos.commit(repo)
    oid = repos.git(repo, "rev-parse", f"HEAD:{name}").strip()
    (repo / name).unlink()
    repos.commit(repo)
    return oid


def on_a_merged_branch(repo: Path, name: str, content: str) -> str:
    repos.git(repo, "checkout", "-q", "-b", "side")
    oid = committed_and_deleted(repo, name, content)
    repos.git(repo, "checkout", "-q", "main")
    repos.git(repo, "merge", "-q", "--no-ff", "-m", "merge", "side")
    return oid


def long_ago(repo: Path, name: str, content: str) -> str:
    oid = committed_and_deleted(repo, name, content)
    for number in range(80):  # further than the segments of one commit each
        repos.git(repo, "commit", "-q", "--allow-empty", "-m", str(number))
    return oid


def replaced(repo: Path, name: str, content: str) -> str:
    repos.write(repo, {name: content})
    repos.commit(repo)
    oid = repos.git(repo, "rev-parse", f"HEAD:{name}").strip()
    repos.git(repo, "mv", name, "renamed.txt")
    repos.write(repo, {"renamed.txt": "clean\n"})
    repos.commit(repo)
    return oid


HISTORIES = [committed_and_deleted, on_a_merged_branch, long_ago, replaced]
CHECKS = [of_the_working_tree, of_a_ref, by_hand]
SECRETS = [(".env", "A=1"), ("x/id_rsa", "x"), ("notes.txt", f"token {TOKEN}"), ("k.txt", KEY)]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("hide", HISTORIES)
@pytest.mark.parametrize(("name", "content"), SECRETS, ids=["name", "ssh", "token", "pem"])
def test_a_secret_of_the_history_is_refused(
    tmp_path: Path,
    check: Callable[[Path], None],
    hide: Callable[[Path, str, str], str],
    name: str,
    content: str,
) -> None:
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    check(repo)
    oid = hide(repo, name, content)
    with pytest.raises(BadInput, match="in the history as") as caught:
        check(repo)
    message = str(caught.value)
    assert name in message
    assert oid[:12] in message
    assert content[-20:] not in message or len(content) < 20
    # The advice can be followed: the id is let through, and nothing else is.
    assert "filter-repo" in caught.value.fix
    allow = f'[tool.sandbox.secrets]\nallow = ["{oid[:12]}"]\n'
    repos.write(repo, {"pyproject.toml": allow})
    repos.commit(repo)
    check(repo)
    committed_and_deleted(repo, name, content + "\n2")
    with pytest.raises(BadInput, match="in the history as"):
        check(repo)


@pytest.mark.parametrize("check", [of_the_working_tree, by_hand])
@pytest.mark.parametrize("cleaned", [True, False])
@pytest.mark.parametrize(("name", "content"), SECRETS, ids=["name", "ssh", "token", "pem"])
def test_a_secret_of_the_index_is_refused(
    tmp_path: Path, check: Callable[[Path], None], cleaned: bool, name: str, content: str
) -> None:
    """Staged, then cleaned or deleted on disk: its blob would still be in the image's `.git`."""
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    repos.write(repo, {name: content})
    repos.git(repo, "add", name)
    if cleaned and not rules.by_name(name.encode(), tracked=True):
        repos.write(repo, {name: "clean\n"})
    else:
        (repo / name).unlink()
    with pytest.raises(BadInput, match="staged as") as caught:
        check(repo)
    assert "git add" in caught.value.fix
    repos.git(repo, "add", "-A")  # as the advice says
    check(repo)


def test_the_blobs_of_a_conflict_are_looked_at(tmp_path: Path) -> None:
    """A merge that stopped keeps up to three blobs of a path in the index."""
    repo = repos.new(tmp_path / "repo", **{"a.txt": "base\n"})
    repos.git(repo, "checkout", "-q", "-b", "side")
    repos.write(repo, {"a.txt": f"side {TOKEN}\n"})
    repos.commit(repo)
    repos.git(repo, "checkout", "-q", "main")
    repos.write(repo, {"a.txt": "main\n"})
    repos.commit(repo)
    repos.git(repo, "merge", "side", check=False)
    repos.write(repo, {"a.txt": "resolved, not yet added\n"})
    with pytest.raises(BadInput, match=r"a\.txt \(GitHub token, staged as"):
        of_the_working_tree(repo)


def test_a_repository_within_is_looked_at_as_well(tmp_path: Path) -> None:
    library = repos.new(tmp_path / "library")
    committed_and_deleted(library, "old.env", "A=1")
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "submodule", "add", "-q", str(library), "vendor/library")
    repos.commit(repo)
    for check in (of_the_working_tree, by_hand):
        with pytest.raises(BadInput, match=r"vendor/library/old\.env .*in the history"):
            check(repo)


def test_a_secret_in_a_message_is_refused(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    repos.commit(repo, f"use {TOKEN}")
    repos.git(repo, "commit", "-q", "--allow-empty", "-m", "later")
    for check in CHECKS:
        with pytest.raises(BadInput, match="the message of commit"):
            check(repo)


def test_one_content_under_two_paths_is_allowed_for_both_or_refused(tmp_path: Path) -> None:
    """What is let through at one path is not let through at the other."""
    repo = repos.new(tmp_path / "repo", **builder.buildable(**{"tests/fake.txt": TOKEN}))
    allow = '[tool.sandbox.secrets]\nallow = ["tests/*"]\n'
    repos.write(repo, {"pyproject.toml": allow})
    repos.commit(repo)
    for check in CHECKS:
        check(repo)
    repos.write(repo, {"src/real.txt": TOKEN})
    repos.commit(repo)
    for check in CHECKS:
        with pytest.raises(BadInput, match=r"src/real\.txt"):
            check(repo)


def landed(repo: Path, to: Path) -> set[str]:
    """The ids of all objects in the `.git` that a build of `repo` puts into the image."""
    gitdir.export(source.from_working_tree(repo, build_args={}).tree, to)
    listed = repos.git(to, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return set(listed.split())


def test_all_that_lands_has_been_looked_at(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **builder.buildable(**{"a.txt": "a\n", "b/c.txt": "c\n"}))
    on_a_merged_branch(repo, "gone.txt", "gone\n")
    repos.write(repo, {"staged.txt": "staged\n", "a.txt": "staged, too\n"})
    repos.git(repo, "add", "-A")
    repos.write(repo, {"staged.txt": "cleaned\n"})
    scanned_objects: set[str] = set()

    def look(stored_objects: Iterator[history.StoredObject]) -> Iterator[history.StoredObject]:
        for item in stored_objects:
            scanned_objects.add(item.oid)
            yield item

    real = history_scan.scan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            history_scan,
            "scan",
            lambda store, stored_objects, **options: real(store, look(stored_objects), **options),
        )
        of_the_working_tree(repo)
    assert landed(repo, tmp_path / "out.git") == scanned_objects


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the objects that are read from here on."""
    oids: list[str] = []
    real = objects.Store.blobs

    def spy(self: objects.Store, oids_to_read: Iterator[str]) -> Iterator[objects.Blob]:
        for blob in real(self, oids_to_read):
            oids.append(blob.oid)
            yield blob

    monkeypatch.setattr(objects.Store, "blobs", spy)
    return oids


def test_nothing_is_read_twice(tmp_path: Path, read: list[str]) -> None:
    repo = repos.new(tmp_path / "repo", **{f"{n}.txt": f"{n}\n" for n in range(20)})
    for number in range(10):
        repos.write(repo, {"n.txt": f"version {number}\n"})
        repos.commit(repo)
    of_the_working_tree(repo)
    assert len(read) == len(set(read)) > 40
    read.clear()
    of_the_working_tree(repo)
    repos.write(repo, {"0.txt": "an edit\n", "new.txt": "n\n"})
    of_the_working_tree(repo)
    assert read == [], "an edit reads the edited files alone"
    sha = repos.commit(repo)
    of_the_working_tree(repo)
    new = {sha, *(repos.git(repo, "rev-parse", f"HEAD:{name}").strip()
                  for name in ("0.txt", "new.txt"))}  # fmt: skip
    assert set(read) == new


def test_other_rules_read_again(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = repos.new(tmp_path / "repo")
    committed_and_deleted(repo, "pass.txt", "hunter22")
    of_the_working_tree(repo)
    read.clear()
    monkeypatch.setattr(rules, "digest", lambda: "other rules")
    of_the_working_tree(repo)
    assert read


def test_each_path_that_a_content_has_had_is_judged(tmp_path: Path) -> None:
    """Git lists an object of the history once, under one of its paths."""
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    setting = "registry=x\n_auth=QWRhOjg5a2xrbDMy\n"
    for number, name in enumerate([".env", 'a "quoted"/\u00e9\t/.env', "a/.npmrc"]):
        content = f"A={number}\n" if "env" in name else setting
        repos.write(repo, {f"{number}.txt": content})
        repos.commit(repo)
        for check in CHECKS:
            check(repo)
        repos.write(repo, {name: content})
        repos.commit(repo)
        repos.git(repo, "rm", "-q", "-r", name)
        repos.git(repo, "commit", "-q", "-m", "gone")
        oid = repos.git(repo, "rev-parse", f"HEAD:{number}.txt").strip()
        for check in CHECKS:
            with pytest.raises(BadInput, match=rf"{name[-4:]} \(.*in the history as {oid[:12]}"):
                check(repo)
        allowed = [repos.git(repo, "rev-parse", f"HEAD:{n}.txt").strip() for n in range(number + 1)]
        repos.write(repo, {"pyproject.toml": f"[tool.sandbox.secrets]\nallow = {allowed}\n"})
        repos.commit(repo)


@pytest.mark.parametrize("allow", ["allow = 1", 'allow = "x"', "allow = [1]", "allow = {}"])
@pytest.mark.parametrize(
    "head", ["[tool.sandbox.secrets]\n", "tool = 3\n#", "[tool]\nsandbox = 1\n#"]
)
def test_settings_of_another_shape_are_one_line(tmp_path: Path, head: str, allow: str) -> None:
    files = builder.buildable(**{"pyproject.toml": head + allow})
    repo = repos.new(tmp_path / "repo", **files)
    for check in CHECKS:
        with pytest.raises(BadInput, match="not a list of strings"):
            check(repo)


def partial_clone(tmp_path: Path, kind: str) -> Path:
    """A clone that lacks what its files do not need; `origin` has it."""
    origin = repos.new(tmp_path / "origin", **builder.buildable())
    committed_and_deleted(origin, "old.txt", "old\n")
    repos.git(origin, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", f"--filter={kind}", f"file://{origin}", str(clone))
    repos.git(clone, "config", "maintenance.auto", "false")  # nothing is tidied up meanwhile
    return clone


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_partial_clone_is_named_and_its_cure_works(
    tmp_path: Path, check: Callable[[Path], None], kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    clone = partial_clone(tmp_path, kind)
    with pytest.raises(TaskError, match="partial clone") as caught:
        check(clone)
    assert kind in caught.value.what
    assert "fatal" not in capfd.readouterr().err
    cure = caught.value.fix.partition(" gets")[0]
    assert cure == "git fetch --refetch --no-filter"
    repos.git(clone, *cure.split()[1:], "-q")
    check(clone)


def test_a_damaged_repository_is_one_line(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    oid = committed_and_deleted(repo, "old.txt", "old\n")
    os.unlink(repo / ".git/objects" / oid[:2] / oid[2:])
    for check in CHECKS:
        with pytest.raises(TaskError, match="not in this clone") as caught:
            check(repo)
        assert "git fsck" in caught.value.fix
