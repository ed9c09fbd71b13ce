"""Is the image another one? By what goes in, at two refs; every doubt is a yes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tasks import git
from tasks.base.errors import BadInput
from tasks.build import image, source
from tasks.commands import plan
from tasks.git import refs
from tests.support import repos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = repos.new(tmp_path / "repo", **{"folder/a.txt": "a\n"})
    monkeypatch.setattr(plan, "ROOT", path)
    monkeypatch.delenv("SANDBOX_ITERATE_REPO_REF", raising=False)
    return path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        capsys.readouterr()
        plan.main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def test_commits_alone_change_nothing(repo: Path, said: Callable[..., Any]) -> None:
    base = repos.commit(repo, "one")
    repos.commit(repo, "two")
    repos.write(repo, {"folder/a.txt": "b\n"})
    repos.commit(repo)
    repos.write(repo, {"folder/a.txt": "a\n"})
    head = repos.commit(repo)
    repos.git(repo, "branch", "side", base)
    result = said("--base", "side")
    assert (result["changed"], result["sha"]) == (False, head)
    assert base[:12] in result["reason"]


@pytest.mark.parametrize(
    "change",
    [
        lambda repo: repos.write(repo, {"folder/a.txt": "b\n"}),
        lambda repo: repos.write(repo, {"new.txt": ""}),
        lambda repo: (repo / "readme.txt").chmod(0o755),
        lambda repo: (repo / "readme.txt").rename(repo / "README.txt"),
        lambda repo: (repo / "readme.txt").unlink(),
    ],
)
def test_what_goes_in_counts(
    repo: Path, said: Callable[..., Any], change: Callable[[Path], object]
) -> None:
    change(repo)
    repos.commit(repo)
    assert said("--base", "HEAD^")["changed"]
    assert not said("--base", "HEAD")["changed"]


def test_what_is_not_committed_does_not(repo: Path, said: Callable[..., Any]) -> None:
    before = said("--base", "HEAD")
    repos.write(repo, {"folder/a.txt": "b\n"})
    assert said("--base", "HEAD") == before


@pytest.mark.usefixtures("repo")
def test_the_build_arguments_count(
    said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = said("--base", "HEAD")["content"]
    monkeypatch.setattr(image, "BUILD_ARGS", {"BASE_IMAGE": "debian:forky-slim"})
    assert said("--base", "HEAD")["content"] != before


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (None, "no base"),
        ("", "no base"),
        (" ", "no base"),
        ("0" * 40, "new"),
        ("f" * 40, "not in this clone"),
        ("no-such", "not in this clone"),
        ("origin/main", "not in this clone"),
        ('"; touch pwned #', "not in this clone"),
        ("--help", "not in this clone|looks like an option"),
        ("a\nb", "control characters"),
        ("HEAD~99", "further than this clone"),
        ("main..main", "range"),
    ],
)
def test_every_doubt_is_a_change(
    repo: Path, said: Callable[..., Any], base: str | None, reason: str
) -> None:
    result = said(*(() if base is None else (f"--base={base}",)))
    assert result["changed"]
    assert re.search(reason, result["reason"]), result["reason"]
    assert not (repo / "pwned").exists()


def test_a_shallow_clone(repo: Path, tmp_path: Path, said: Callable[..., Any],
                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    base = repos.commit(repo)
    repos.commit(repo)
    full = said("--base", base)
    assert not full["changed"]
    repos.git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    monkeypatch.setattr(plan, "ROOT", tmp_path / "shallow")
    result = said("--base", base)
    assert result["changed"]
    assert "not in this clone" in result["reason"]
    # The content is the same all the same, although the image is another one.
    assert result["content"] == full["content"]
    assert result["identity"] != full["identity"]


@pytest.mark.usefixtures("repo")
def test_an_unknown_ref_is_an_error() -> None:
    with pytest.raises(BadInput):
        plan.main(["--base", "HEAD", "--ref", "no-such"])


def test_a_clean_checkout_has_its_commits_content(repo: Path) -> None:
    """So that what snapshot_local says can be compared with what plan said."""
    there = git.open_repo(repo)
    of_ref = source.from_ref(there, refs.resolve(there, "HEAD"), build_args=image.BUILD_ARGS)
    on_disk = source.from_working_tree(repo, build_args=image.BUILD_ARGS)
    contents = {source.content(one.tree, image.BUILD_ARGS) for one in (of_ref, on_disk)}
    assert len(contents) == 1
    assert of_ref.identity != on_disk.identity
    repos.write(repo, {"untracked.txt": ""})
    dirty = source.from_working_tree(repo, build_args=image.BUILD_ARGS)
    assert source.content(dirty.tree, image.BUILD_ARGS) not in contents
