"""A branch's sandbox goes, on the stand-in; the ledger is a bare repository."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import BadInput, TaskError
from tasks.commands import snapshot_daytona, snapshots
from tasks.daytona import ledger, ship, snapshot
from tasks.daytona.ledger import Ledger
from tests.support import github_runner, repos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.daytona.conftest import Bench

BRANCH = "ann/topic"
OWN = snapshot.stage_for_branch(BRANCH)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "remote.git"
    path.mkdir()
    repos.git(path, "init", "-q", "--bare")
    monkeypatch.setenv("SANDBOX_LEDGER", str(path))
    monkeypatch.setattr(snapshots, "state_dir", lambda: tmp_path)
    return path


@pytest.fixture
def book(remote: Path, tmp_path: Path, bench: Bench) -> Ledger:
    """Another machine's."""
    bench.stand_in.forget_requests()
    return Ledger(tmp_path / "other" / "ledger.git", remote=str(remote))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        capsys.readouterr()
        snapshots.main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def published(
    bench: Bench, book: Ledger | None, stage: str, *, at: str | None = None, branch: str = BRANCH
) -> str:
    """A snapshot named for `stage`, used by `at` (or that stage)."""
    wanted = bench.sibling(stage=stage)
    name = bench.publish(wanted).snapshot.name
    if book:
        book.move(at or stage, ledger.entry(snapshot=name, sha="0" * 40, identity=wanted.identity,
                                            why="publish", branch=branch))  # fmt: skip
    return name


def names(bench: Bench) -> set[str]:
    return {found.name for found in bench.api.snapshots() if snapshot.is_ours(found)}


def refs(remote: Path) -> list[str]:
    listed = repos.git(remote, "for-each-ref", "--format=%(refname)").split()
    return [ref.removeprefix(ledger.PREFIX) for ref in listed]


def test_all_of_it_goes_and_nothing_else(
    bench: Bench, book: Ledger, remote: Path, said: Callable[..., Any]
) -> None:
    mine = [published(bench, book, OWN), published(bench, book, OWN), published(bench, None, OWN)]
    other = published(bench, book, "dev-other", branch="other")
    dry = said("retire", "--branch", BRANCH)
    assert (dry["dry_run"], dry["deleted"], dry["dropped"]) == (True, [], [])
    assert {one["verdict"] for one in dry["snapshots"]} == {"delete"}
    assert names(bench) == {*mine, other}
    done = said("retire", "--for-branch", BRANCH, "--yes")
    assert sorted(done["deleted"]) == sorted(mine)
    assert done["dropped"] == [OWN]
    assert names(bench) == {other}
    assert refs(remote) == ["dev-other"]
    again = said("retire", "--branch", BRANCH, "--yes")
    assert (again["deleted"], again["dropped"], again["snapshots"]) == ([], [], [])


def test_a_branch_without_a_sandbox_is_nothing_to_do(
    remote: Path, book: Ledger, said: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert book.stages() == []
    assert said("retire", "--branch", '"; touch pwned #', "--yes")["deleted"] == []
    snapshots.main(["retire", "--branch", "never-published", "--yes"])
    assert "nothing to do" in capsys.readouterr().err
    assert refs(remote) == []


def test_what_production_uses_stays(
    bench: Bench, book: Ledger, remote: Path, said: Callable[..., Any]
) -> None:
    promoted = published(bench, book, OWN)
    book.move("prd", ledger.entry(snapshot=promoted, sha="0" * 40, identity="1" * 64,
                                  why="promote", branch=BRANCH))  # fmt: skip
    mine = published(bench, book, OWN)
    done = said("retire", "--branch", BRANCH, "--yes")
    assert done["deleted"] == [mine]
    assert {"name": promoted, "verdict": "keep", "reason": "in the ledger: prd"} in done[
        "snapshots"
    ]
    assert names(bench) == {promoted}
    assert refs(remote) == ["prd"]


def test_staging_goes_with_the_branch_that_has_it(
    bench: Bench, book: Ledger, remote: Path, said: Callable[..., Any]
) -> None:
    theirs = published(bench, book, "stg", branch="main")
    mine = published(bench, book, "stg")
    assert said("retire", "--branch", "other", "--yes")["deleted"] == []
    done = said("retire", "--branch", BRANCH, "--yes")
    assert (done["deleted"], done["dropped"]) == ([mine], ["stg"])
    assert names(bench) == {theirs}
    assert refs(remote) == []


def test_published_to_meanwhile(
    bench: Bench, book: Ledger, remote: Path, said: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The branch is back (or was never gone): whoever published last is right."""
    old = published(bench, book, OWN)
    newer: list[str] = []
    drop = Ledger.drop

    def first_publish(self: Ledger, stage: str, *, expected: str) -> bool:
        newer.append(published(bench, book, OWN))
        return drop(self, stage, expected=expected)

    monkeypatch.setattr(Ledger, "drop", first_publish)
    with pytest.raises(TaskError, match="published to meanwhile"):
        said("retire", "--branch", BRANCH, "--yes")
    assert old not in names(bench)
    assert newer[0] in names(bench)
    assert refs(remote) == [OWN]


def test_what_could_not_be_deleted_keeps_the_stage_for_another_try(
    bench: Bench, book: Ledger, remote: Path, said: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name = published(bench, book, OWN)

    def fails(*_: object) -> None:
        raise TaskError("it is still there")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "delete", fails)
        with pytest.raises(TaskError, match=name):
            said("retire", "--branch", BRANCH, "--yes")
    assert refs(remote) == [OWN]
    assert said("retire", "--branch", BRANCH, "--yes")["deleted"] == [name]


@pytest.mark.parametrize("stage", ["prd", "stg", "production"])
def test_what_is_refused_before_anybody_is_asked(
    bench: Bench, book: Ledger, stage: str, said: Callable[..., Any]
) -> None:
    published(bench, book, "prd", branch="main")
    bench.stand_in.forget_requests()
    with pytest.raises(BadInput):
        said("retire", "--stage", stage, "--yes")
    assert bench.asked("*") == 0


def test_in_a_job(
    bench: Bench, book: Ledger, said: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    name = published(bench, book, OWN)
    assert said("current", "--stage", OWN)["snapshot_name"] == name
    assert said("current", "--stage", "prd")["snapshot_name"] is None
    said("retire", "--branch", BRANCH, "--yes")
    told = github_runner.outputs((tmp_path / "output").read_text())
    assert (told["deleted"], told["kept"], told["dry_run"]) == ("1", "0", "false")
    text = (tmp_path / "summary").read_text()
    assert f"`{OWN}` is `{name}`" in text
    assert "`prd` has no snapshot" in text
    assert f"| `{name}` | deleted |" in text


def test_a_failed_publishing_says_what_still_holds(
    bench: Bench, book: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = published(bench, book, "prd", branch="main")
    monkeypatch.setattr(snapshot_daytona, "state_dir", lambda: tmp_path)

    def fails(*_args: object, **_options: object) -> None:
        raise TaskError("the build failed", fix="mend it")

    monkeypatch.setattr(ship, "ship", fails)
    order = ship.order(ref="HEAD", environment={}, stage="prd")
    with pytest.raises(TaskError) as caught:
        snapshot_daytona.publish(bench.api, order)
    assert caught.value.notes == (f"prd is still {there}",)
