"""A repository's configuration, hooks, attributes and the caller's variables run nothing here."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import bake
import prepare
import pytest
import sync

from tasks import git
from tasks.base import project
from tasks.base.errors import BadInput, TaskError
from tasks.build import context, image, parts, source
from tasks.bump import proposal
from tasks.commands import (
    github_check,
    lint,
    plan,
    sandbox_plan,
    snapshot_daytona,
    snapshot_local,
)
from tasks.daytona import ledger
from tasks.daytona import request as requests
from tasks.daytona.ledger_entry import new_entry
from tasks.git import refs
from tasks.github.pull_request import Change, ProposalBranch
from tasks.setup import machine_checks
from tests.support import builder, hostile_repository, repos
from tests.support.hostile_repository import Canaries

LAYOUTS = ("plain", "worktree")


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    (tmp_path / "canaries").mkdir()
    return Canaries(tmp_path / "canaries")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    at = tmp_path / "origin.git"
    repos.git(tmp_path, "init", "-q", "--bare", str(at))
    return at


def make(tmp_path: Path, origin: Path, canaries: Canaries, layout: str) -> Path:
    """A signed HEAD, a submodule and a nested repository with changes, all of them hostile."""
    main = repos.new(
        tmp_path / "repo",
        **builder.buildable(
            **{
                ".gitattributes": hostile_repository.ATTRIBUTES,
                "s.sh": "#!/bin/sh\n",
                ".ci/run": "x",
            }
        ),
    )
    library = repos.new(tmp_path / "library", **{".gitattributes": hostile_repository.ATTRIBUTES})
    repos.git(main, "submodule", "add", "-q", str(library), "sub")
    repos.commit(main)
    hostile_repository.sign_head(main)
    repos.git(main, "push", "-q", str(origin), "main")
    repos.git(main, "remote", "add", "origin", str(origin))
    repo = main
    if layout == "worktree":
        repo = tmp_path / "linked"
        repos.git(main, "worktree", "add", "-q", "-b", "linked", str(repo))
        repos.git(repo, "submodule", "update", "-q", "--init")
    nested = repos.new(repo / "nested", **{".gitattributes": hostile_repository.ATTRIBUTES})
    for folder in (repo, repo / "sub", nested):
        repos.write(folder, {"readme.txt": "changed\n", "untracked.txt": "u"})
    hostile_repository.worktree_settings(repo, canaries)
    for name, folder in {"main": main, "sub": repo / "sub", "nested": nested}.items():
        git_dir = repos.git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir")
        hostile_repository.infest(Path(git_dir.strip()), canaries, name)
    return repo


@pytest.fixture(params=LAYOUTS)
def repo(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    origin: Path,
    canaries: Canaries,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    at = make(tmp_path, origin, canaries, request.param)
    for module in (project, plan, lint, sandbox_plan, snapshot_local, snapshot_daytona, requests,
                   github_check):  # fmt: skip
        monkeypatch.setattr(module, "ROOT", at)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in hostile_repository.environment(canaries).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(refs.VARIABLE, raising=False)
    monkeypatch.chdir(at)
    canaries.forget()
    return at


def test_git_itself_runs_the_canaries(repo: Path, canaries: Canaries) -> None:
    """What the other tests show would show nothing if no canary was alive."""
    for args in (["status"], ["show"], ["diff"], ["commit", "-qam", "x"], ["fetch"], ["log", "-1"]):
        subprocess.run(["git", "-C", str(repo), *args], env=repos.GIT_ENV, check=False,
                       capture_output=True, timeout=60, stdin=subprocess.DEVNULL)  # fmt: skip
    ran = canaries.ran()
    settings_obeyed = {name.rpartition("-")[2] for name in ran}
    assert settings_obeyed >= {"core.fsmonitor", "filter.evil.process", "gpg.program"}
    for name in ("sub", "nested"):
        subprocess.run(["git", "-C", str(repo / name), "status"], env=repos.GIT_ENV, check=False,
                       capture_output=True, timeout=60)  # fmt: skip
        assert any(canary.startswith(f"{name}-") for canary in canaries.ran())
    assert len(hostile_repository.settings()) > 400


def test_a_build_of_the_working_tree(repo: Path, canaries: Canaries) -> None:
    snapshot_local.main(["--dry-run"])
    built_source = source.from_working_tree(repo, build_args={}, use_cache=False)
    image.labels(built_source)
    context.refuse_secrets(built_source)
    context.write(built_source, io.BytesIO())
    assert canaries.ran() == set()


def test_a_build_of_a_ref(repo: Path, canaries: Canaries, tmp_path: Path) -> None:
    snapshot_local.main(["--dry-run", "--ref", "HEAD"])
    parts.pack(builder.find(repo), tmp_path / "parts")
    snapshot_daytona.main(["--dry-run", "--ref", "HEAD", "--stage", "dev-x"])
    assert canaries.ran() == set()


def test_a_build_by_hand(
    repo: Path, canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE_IMAGE", "x")
    (tmp_path / "out").mkdir()
    tree = tmp_path / "out/tree"
    shutil.copytree(repo, tree, symlinks=True)
    if (tree / ".git").is_file():
        with pytest.raises(BadInput, match="linked worktree"):
            bake._clean_by_hand(tree, tmp_path / "out")
    else:
        # Absolute paths in a submodule's configuration still lead to the original.
        repos.git(tree / "sub", "config", "core.worktree", "../../../sub")
        canaries.forget()
        bake._clean_by_hand(tree, tmp_path / "out")
    assert canaries.ran() == set()


def test_local_mode(
    repo: Path, canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "_STATE_FILE", tmp_path / "state/sync.json")
    inside = repos.unpack(repo, tmp_path / "inside")
    monkeypatch.setattr(prepare, "REPO", inside)
    for name, folder in {"in": inside, "in-sub": inside / "sub"}.items():
        hostile_repository.infest(folder / ".git", canaries, name)
    sync.mirror(repo, inside)
    repos.write(inside, {"readme.txt": "an agent's\n", "sub/readme.txt": "an agent's\n"})
    canaries.forget()
    repos.write(repo, {"readme.txt": "the host's\n"})
    head = git.head(git.open_repo(repo))[0]
    tree = (repo / ".git").read_text() if (repo / ".git").is_file() else ""
    assert head
    assert tree.startswith("gitdir:") or not tree
    sync.mirror(repo, inside)
    prepare._source()
    assert canaries.ran() == set()
    assert (inside / "readme.txt").read_text() == "the host's\n"


def test_sessions_that_look_at_the_checkout(
    repo: Path,
    canaries: Canaries,
    tmp_path: Path,
    origin: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan.main(["--base", "HEAD", "--json"])
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert set(lint.shell_scripts()) == {"s.sh", ".ci/run"} or lint.shell_scripts() == ["s.sh"]
    assert sandbox_plan.resolve("HEAD")
    assert git.origin_url(repo) == str(origin)
    assert machine_checks.check_git().state == "ok"
    book = ledger.open_ledger(repo, tmp_path / "state", local=False, environment={})
    move = new_entry(snapshot="s", sha="0" * 40, identity="1" * 64, reason="publish")
    assert book.move("dev-x", move, expected=None)
    assert repos.git(origin, "for-each-ref", "--format=%(refname)", "refs/sandbox").strip()
    assert canaries.ran() == set()


def test_a_bump_and_its_pull_request(repo: Path, canaries: Canaries, origin: Path) -> None:
    repos.write(repo, {"package.json": '{"bumped": true}\n'})
    checkout = git.open_repo(repo)
    bump = proposal.prepare(checkout)
    assert bump
    branch = ProposalBranch(checkout, "bump")
    branch.require_in_base(bump.parent, "main")
    change = Change(parent=bump.parent, tree=bump.tree, title="Bump", body="")
    commit, is_pushed = branch.push(change)
    assert is_pushed
    assert branch.push(change) == (commit, False)
    assert repos.git(origin, "rev-parse", "bump").strip() == commit
    branch.delete()
    assert canaries.ran() == set()


@pytest.mark.parametrize("layout", ["plain"])
def test_an_address_that_names_a_program(
    tmp_path: Path, origin: Path, canaries: Canaries, layout: str
) -> None:
    repo = make(tmp_path, origin, canaries, layout)
    program = canaries.program("ext")
    repos.git(repo, "config", f"url.ext::{program} .insteadOf", str(origin))
    canaries.forget()
    checkout = git.open_repo(repo)
    assert image.labels(source.from_working_tree(repo, build_args={}))
    with pytest.raises(TaskError, match="not allowed"):
        ProposalBranch(checkout, "bump").delete()
    repos.git(repo, "config", "remote.origin.url", f"ext::{program}")
    canaries.forget()
    with pytest.raises(TaskError, match="not allowed"):
        ledger.open_ledger(repo, tmp_path / "state", local=False, environment={}).refresh()
    assert canaries.ran() == set()


def test_the_ledgers_own_repository(tmp_path: Path, origin: Path, canaries: Canaries) -> None:
    """It is a folder below the checkout: whoever made the checkout may have made it."""
    store = tmp_path / "ledger.git"
    ledger.Ledger(store, remote=str(origin)).refresh()
    hostile_repository.infest(store, canaries, "ledger")
    book = ledger.Ledger(store, remote=str(origin))
    move = new_entry(snapshot="s", sha="0" * 40, identity="1" * 64, reason="publish")
    assert book.move("dev-x", move, expected=None)
    assert book.history("dev-x")
    assert canaries.ran() == set()


def test_a_working_tree_that_is_elsewhere_is_refused(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    (tmp_path / "private").mkdir()
    (tmp_path / "private/notes.txt").write_text("not of this repository")
    repos.git(repo, "config", "core.worktree", str(tmp_path / "private"))
    with pytest.raises(BadInput, match="has its files elsewhere"):
        source.from_working_tree(repo, build_args={})
    nested = repos.new(tmp_path / "outer/nested")
    repos.new(tmp_path / "outer")
    repos.git(nested, "config", "core.worktree", str(tmp_path / "private"))
    with pytest.raises(BadInput, match="has its files elsewhere"):
        source.from_working_tree(tmp_path / "outer", build_args={})


def test_git_starts_no_other_program(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by names of settings: whatever git starts is in its own trace (trace2, child_start)."""
    trace, folder = tmp_path / "trace", tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("git")
    (folder / "git").write_text(f'#!/bin/sh\nGIT_TRACE2_EVENT={trace} exec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    built_source = source.from_working_tree(repo, build_args={}, use_cache=False)
    context.refuse_secrets(built_source)
    context.write(built_source, io.BytesIO())
    parts.pack(builder.find(repo), tmp_path / "parts")
    plan.main(["--base", "HEAD"])
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    assert sum(event["event"] == "start" for event in events) > 20
    assert [event["argv"] for event in events if event["event"] == "child_start"] == []


def test_a_signed_commit_is_built(tmp_path: Path) -> None:
    """A person with log.showSignature and a signed HEAD: the time was read out of gpg's words."""
    repo = repos.new(tmp_path / "repo")
    hostile_repository.sign_head(repo)
    repos.git(repo, "config", "log.showSignature", "true")
    out = io.BytesIO()
    context.write(source.from_working_tree(repo, build_args={}), out)
    assert out.tell()


def test_settings_that_are_data_still_count(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{"a.txt": "a\n", "run": "x"})
    (tmp_path / "patterns").write_text("*.tmp\n")
    for name, value in {"core.autocrlf": "yes", "core.fileMode": "off",
                        "core.excludesFile": str(tmp_path / "patterns")}.items():  # fmt: skip
        repos.git(repo, "config", name, value)
    (repo / "a.txt").unlink()
    repos.git(repo, "checkout", "--", "a.txt")
    assert (repo / "a.txt").read_bytes() == b"a\r\n"
    (repo / "run").chmod(0o755)
    repos.write(repo, {"x.tmp": "ignored"})
    assert repos.status(repo) == ""
    checkout = git.open_repo(repo)
    assert checkout.count_changes() == 0
    assert (checkout.flag("core.autocrlf"), checkout.flag("core.fileMode")) == (True, False)
    inside = repos.unpack(repo, tmp_path / "in")
    assert repos.status(inside) == ""
    assert not (inside / "x.tmp").exists()


def test_a_setting_that_git_cannot_read_is_one_line(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    with (repo / ".git/config").open("a") as file:
        file.write("[broken\n")
    with pytest.raises(BadInput, match=r"bad config line \d+") as caught:
        git.open_repo(repo)
    assert "\n" not in str(caught.value)
