"""One commit or a refusal, whatever stands there; nothing is run, fetched or written."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import git
from tasks.base.errors import BadInput
from tasks.git import refs
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    at = repos.new(tmp_path / "repo")
    for number in range(3):
        repos.write(at, {"n.txt": str(number)})
        repos.commit(at)
    return at


def sha(repo: Path, ref: str = "HEAD") -> str:
    return repos.git(repo, "rev-parse", ref).strip()


def resolve(repo: Path, ref: str) -> refs.ResolvedRef:
    return refs.resolve(git.open_repo(repo), ref)


def test_every_form_that_names_one_commit(repo: Path, tmp_path: Path) -> None:
    repos.git(repo, "branch", "feat/x", "HEAD~1")
    repos.git(repo, "branch", "ünïcode/日本", "HEAD~2")
    repos.git(repo, "branch", "b" * 200, "HEAD~1")
    repos.git(repo, "tag", "v1", "HEAD~2")
    repos.git(repo, "tag", "-a", "-m", "annotated", "v2", "HEAD~1")
    clone = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", str(repo), str(clone))
    for ref, same_as, kind in [
        ("main", "HEAD", "branch"),
        ("refs/heads/main", "HEAD", "branch"),
        ("heads/main", "HEAD", "branch"),
        ("HEAD", "HEAD", "HEAD"),
        ("@", "HEAD", "HEAD"),
        ("HEAD~2", "HEAD~2", "commit"),
        ("main^", "HEAD~1", "commit"),
        ("main~1^1~", "HEAD~3", "commit"),
        ("feat/x", "HEAD~1", "remote branch"),
        ("origin/feat/x", "HEAD~1", "remote branch"),
        ("ünïcode/日本", "HEAD~2", "remote branch"),
        ("b" * 200, "HEAD~1", "remote branch"),
        ("v1", "HEAD~2", "tag"),
        ("v2", "HEAD~1", "tag"),
        ("refs/tags/v2", "HEAD~1", "tag"),
        (sha(clone, "HEAD~1"), "HEAD~1", "commit"),
        (sha(clone, "HEAD~1")[:9], "HEAD~1", "commit"),
        (sha(clone, "HEAD~1")[:9].upper(), "HEAD~1", "commit"),
    ]:
        resolved_ref = resolve(clone, ref)
        assert (resolved_ref.sha, resolved_ref.kind) == (sha(clone, same_as), kind), ref
    assert resolve(clone, "feat/x").branch == "feat/x"


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("--upload-pack=touch {}", "looks like an option"),
        ("-h", "looks like an option"),
        ("--output={}", "looks like an option"),
        ("--exec=touch {}", "looks like an option"),
        ("; touch {}", "not in this clone"),
        ("$(touch {})", "not in this clone"),
        ("`touch {}`", "not in this clone"),
        ("main|touch {}", "not in this clone"),
        ("main\ntouch", "control characters"),
        ("main\0", "control characters"),
        ("", "empty"),
        ("   ", "empty"),
        ("HEAD^{{tree}}", "not one commit"),
        ("HEAD^{{/change}}", "not one commit"),
        ("HEAD:readme.txt", "not one commit"),
        ("main..HEAD", "not one commit"),
        ("main...HEAD", "not one commit"),
        (":/change", "not one commit"),
        ("HEAD@{{1}}", "not one commit"),
        ("^main", "not one commit"),
        ("HEAD~99", "further than this clone's history"),
        ("*", "not in this clone"),
    ],
)  # fmt: skip
def test_refused(repo: Path, tmp_path: Path, ref: str, says: str) -> None:
    canary = tmp_path / "pwned"
    with pytest.raises(BadInput, match=says) as caught:
        resolve(repo, ref.format(canary))
    assert not canary.exists()
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_legal_branch_that_looks_like_an_option(repo: Path) -> None:
    repos.git(repo, "update-ref", "refs/heads/-evil", "HEAD~1")
    assert resolve(repo, "-evil").sha == sha(repo, "HEAD~1")
    assert resolve(repo, "-evil~1").sha == sha(repo, "HEAD~2")


def test_unknown_names_have_near_ones_and_are_never_fetched(repo: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", str(repo), str(clone))
    repos.git(repo, "branch", "feature/later")
    repos.git(clone, "branch", "feature/latter")
    with pytest.raises(BadInput, match=r"near it: feature/latter") as caught:
        resolve(clone, "feature/later")
    assert "git fetch" in caught.value.fix
    for name in ("main1", "main2", "main3", "main4"):
        repos.git(clone, "branch", name)
    with pytest.raises(BadInput) as caught:
        resolve(clone, "mian")
    assert caught.value.what.partition("near it: ")[2].count(",") == 2


def test_ambiguous_names_list_what_they_could_be(repo: Path) -> None:
    repos.git(repo, "branch", "both", "HEAD~1")
    repos.git(repo, "tag", "both", "HEAD~2")
    with pytest.raises(BadInput, match="ambiguous") as caught:
        resolve(repo, "both")
    for message in ("refs/heads/both", "refs/tags/both", sha(repo, "HEAD~1")[:12]):
        assert message in caught.value.what
    assert resolve(repo, "refs/tags/both").sha == sha(repo, "HEAD~2")
    repos.git(repo, "tag", "main")  # two names, one commit: nothing to choose
    assert resolve(repo, "main").sha == sha(repo)


def test_an_ambiguous_short_id(repo: Path) -> None:
    commits: dict[str, str] = {}
    base = sha(repo, "HEAD^{tree}")
    for number in range(3000):
        commit = repos.git(repo, "commit-tree", base, "-m", str(number)).strip()
        prefix = commit[:4]
        if prefix in commits:
            with pytest.raises(BadInput, match="ambiguous") as caught:
                resolve(repo, prefix)
            assert commit[:12] in caught.value.what
            assert commits[prefix][:12] in caught.value.what
            return
        commits[prefix] = commit
    raise AssertionError("no two ids began alike")


def test_what_is_no_commit(repo: Path) -> None:
    tree = sha(repo, "HEAD^{tree}")
    repos.git(repo, "tag", "a-tree", tree)
    for ref in ("a-tree", tree):
        with pytest.raises(BadInput, match="is a tree, not a commit"):
            resolve(repo, ref)
    with pytest.raises(BadInput, match="not in this clone"):
        resolve(repo, "0" * 40)


@given(text=st.text(max_size=30))
def test_any_text_is_a_commit_or_refused(text: str) -> None:
    from tasks.base.project import ROOT

    checkout = git.open_repo(ROOT)
    message = ""
    try:
        assert len(refs.resolve(checkout, text).sha) == 40
    except BadInput as error:
        message = str(error)
    assert "\n" not in message


def test_nothing_is_written(repo: Path) -> None:
    def state() -> str:
        command = ["find", str(repo), "-printf", "%p %T@ %C@\\n"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    original_state = state()
    resolve(repo, "main~1")
    assert state() == original_state


def test_the_flag_goes_before_the_variable_before_the_branch() -> None:
    variable = {refs.VARIABLE: "from-variable"}
    assert refs.choose("from-flag", variable, "main").ref == "from-flag"
    assert refs.choose("", variable, "main").ref == "", "an empty flag is refused, not ignored"
    assert refs.choose(None, variable, "main") == refs.Choice("from-variable", refs.VARIABLE)
    assert refs.choose(None, {refs.VARIABLE: ""}, "main").ref == "refs/heads/main"
    assert refs.choose(None, {}, None).ref == "HEAD"
