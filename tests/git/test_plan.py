"""Whether the image changes between two refs, by what goes into it; every doubt is a change."""

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
def result_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        capsys.readouterr()
        plan.main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def test_commits_alone_change_nothing(repo: Path, result_of: Callable[..., Any]) -> None:
    base = repos.commit(repo, "one")
    repos.commit(repo, "two")
    repos.write(repo, {"folder/a.txt": "b\n"})
    repos.commit(repo)
    repos.write(repo, {"folder/a.txt": "a\n"})
    head = repos.commit(repo)
    repos.git(repo, "branch", "side", base)
    result = result_of("--base", "side")
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
def test_a_changed_file_changes_the_image(
    repo: Path, result_of: Callable[..., Any], change: Callable[[Path], object]
) -> None:
    change(repo)
    repos.commit(repo)
    assert result_of("--base", "HEAD^")["changed"]
    assert not result_of("--base", "HEAD")["changed"]


def test_an_uncommitted_file_changes_nothing(repo: Path, result_of: Callable[..., Any]) -> None:
    clean_result = result_of("--base", "HEAD")
    repos.write(repo, {"folder/a.txt": "b\n"})
    assert result_of("--base", "HEAD") == clean_result


@pytest.mark.usefixtures("repo")
def test_other_build_arguments_change_the_content(
    result_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = result_of("--base", "HEAD")["content"]
    monkeypatch.setattr(image, "BUILD_ARGS", {"BASE_IMAGE": "debian:forky-slim"})
    assert result_of("--base", "HEAD")["content"] != content


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
    repo: Path, result_of: Callable[..., Any], base: str | None, reason: str
) -> None:
    result = result_of(*(() if base is None else (f"--base={base}",)))
    assert result["changed"]
    assert re.search(reason, result["reason"]), result["reason"]
    assert not (repo / "pwned").exists()


def test_a_shallow_clone_has_the_same_content_and_no_base(
    repo: Path, tmp_path: Path, result_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = repos.commit(repo)
    repos.commit(repo)
    full = result_of("--base", base)
    assert not full["changed"]
    repos.git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    monkeypatch.setattr(plan, "ROOT", tmp_path / "shallow")
    result = result_of("--base", base)
    assert result["changed"]
    assert "not in this clone" in result["reason"]
    # The content is the same, although the history in the image is another one.
    assert result["content"] == full["content"]
    assert result["identity"] != full["identity"]


@pytest.mark.usefixtures("repo")
def test_an_unknown_ref_is_refused() -> None:
    with pytest.raises(BadInput):
        plan.main(["--base", "HEAD", "--ref", "no-such"])


def test_a_clean_checkout_has_its_commits_content(repo: Path) -> None:
    """So the content that snapshot_local reports can be compared with that of plan."""
    checkout = git.open_repo(repo)
    of_ref = source.from_ref(checkout, refs.resolve(checkout, "HEAD"), build_args=image.BUILD_ARGS)
    on_disk = source.from_working_tree(repo, build_args=image.BUILD_ARGS)
    contents = {source.content(version.tree, image.BUILD_ARGS) for version in (of_ref, on_disk)}
    assert len(contents) == 1
    assert of_ref.identity != on_disk.identity
    repos.write(repo, {"untracked.txt": ""})
    dirty = source.from_working_tree(repo, build_args=image.BUILD_ARGS)
    assert source.content(dirty.tree, image.BUILD_ARGS) not in contents
