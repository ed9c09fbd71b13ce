"""A branch's sandbox goes, on the stand-in; the ledger is a bare repository."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import BadInput, TaskError
from tasks.base.stages import stage_for_branch
from tasks.commands import snapshot_daytona, snapshots
from tasks.daytona import content, deletion, release
from tasks.daytona import request as requests
from tasks.daytona.ledger import Ledger
from tasks.daytona.ledger_entry import new_entry
from tasks.daytona.ledger_store import PREFIX
from tasks.daytona.request import PublishRequest
from tests.support import github_runner, ledgers, repos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.daytona.conftest import PublishingBench

BRANCH = "ann/topic"
BRANCH_STAGE = stage_for_branch(BRANCH)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "remote.git"
    path.mkdir()
    repos.git(path, "init", "-q", "--bare")
    monkeypatch.setenv("SANDBOX_LEDGER", str(path))
    monkeypatch.setattr(snapshots, "state_dir", lambda: tmp_path)
    return path


@pytest.fixture
def ledger(remote: Path, tmp_path: Path, bench: PublishingBench) -> Ledger:
    """Another machine's."""
    bench.stand_in.forget_requests()
    return Ledger(tmp_path / "other" / "ledger.git", remote=str(remote))


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        capsys.readouterr()
        snapshots.main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def publish_at(
    bench: PublishingBench,
    ledger: Ledger | None,
    stage: str,
    *,
    at: str | None = None,
    branch: str = BRANCH,
) -> str:
    """A snapshot named for `stage`, used by `at` (or that stage)."""
    order = bench.sibling(stage=stage)
    name = bench.publish(order).snapshot.name
    if ledger:
        entry = new_entry(
            snapshot=name, sha="0" * 40, identity=order.identity, reason="publish", branch=branch
        )
        ledgers.move(ledger, at or stage, entry)
    return name


def names(bench: PublishingBench) -> set[str]:
    return {
        snapshot.name for snapshot in bench.api.snapshots.list_all() if content.is_ours(snapshot)
    }


def refs(remote: Path) -> list[str]:
    listed = repos.git(remote, "for-each-ref", "--format=%(refname)").split()
    return [ref.removeprefix(PREFIX) for ref in listed]


def test_retire_deletes_all_of_the_branch_and_nothing_else(
    bench: PublishingBench, ledger: Ledger, remote: Path, run_json: Callable[..., Any]
) -> None:
    names_of_branch = [
        publish_at(bench, ledger, BRANCH_STAGE),
        publish_at(bench, ledger, BRANCH_STAGE),
        publish_at(bench, None, BRANCH_STAGE),
    ]
    other_name = publish_at(bench, ledger, "dev-other", branch="other")
    dry = run_json("retire", "--branch", BRANCH)
    assert (dry["dry_run"], dry["deleted"], dry["dropped"]) == (True, [], [])
    assert {verdict["verdict"] for verdict in dry["snapshots"]} == {"delete"}
    assert names(bench) == {*names_of_branch, other_name}
    result = run_json("retire", "--for-branch", BRANCH, "--yes")
    assert sorted(result["deleted"]) == sorted(names_of_branch)
    assert result["dropped"] == [BRANCH_STAGE]
    assert names(bench) == {other_name}
    assert refs(remote) == ["dev-other"]
    second_result = run_json("retire", "--branch", BRANCH, "--yes")
    assert (second_result["deleted"], second_result["dropped"], second_result["snapshots"]) == (
        [],
        [],
        [],
    )


def test_retire_of_a_branch_without_a_sandbox_does_nothing(
    remote: Path, ledger: Ledger, run_json: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ledger.stages() == []
    assert run_json("retire", "--branch", '"; touch pwned #', "--yes")["deleted"] == []
    snapshots.main(["retire", "--branch", "never-published", "--yes"])
    assert "nothing to do" in capsys.readouterr().err
    assert refs(remote) == []


def test_retire_keeps_what_production_uses(
    bench: PublishingBench, ledger: Ledger, remote: Path, run_json: Callable[..., Any]
) -> None:
    promoted = publish_at(bench, ledger, BRANCH_STAGE)
    ledgers.move(ledger, "prd", new_entry(snapshot=promoted, sha="0" * 40, identity="1" * 64,
                                  reason="promote", branch=BRANCH))  # fmt: skip
    names_of_branch = publish_at(bench, ledger, BRANCH_STAGE)
    result = run_json("retire", "--branch", BRANCH, "--yes")
    assert result["deleted"] == [names_of_branch]
    assert {"name": promoted, "verdict": "keep", "reason": "in the ledger: prd"} in result[
        "snapshots"
    ]
    assert names(bench) == {promoted}
    assert refs(remote) == ["prd"]


def test_retire_frees_staging_only_for_the_branch_that_has_it(
    bench: PublishingBench, ledger: Ledger, remote: Path, run_json: Callable[..., Any]
) -> None:
    other_name = publish_at(bench, ledger, "stg", branch="main")
    names_of_branch = publish_at(bench, ledger, "stg")
    assert run_json("retire", "--branch", "other", "--yes")["deleted"] == []
    result = run_json("retire", "--branch", BRANCH, "--yes")
    assert (result["deleted"], result["dropped"]) == ([names_of_branch], ["stg"])
    assert names(bench) == {other_name}
    assert refs(remote) == []


def test_retire_stops_when_the_stage_is_published_to_meanwhile(
    bench: PublishingBench, ledger: Ledger, remote: Path, run_json: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The branch is back (or was never gone): whoever published last is right."""
    old = publish_at(bench, ledger, BRANCH_STAGE)
    newer: list[str] = []
    drop = Ledger.drop

    def first_publish(self: Ledger, stage: str, *, expected: str) -> bool:
        newer.append(publish_at(bench, ledger, BRANCH_STAGE))
        return drop(self, stage, expected=expected)

    monkeypatch.setattr(Ledger, "drop", first_publish)
    with pytest.raises(TaskError, match="published to meanwhile"):
        run_json("retire", "--branch", BRANCH, "--yes")
    assert old not in names(bench)
    assert newer[0] in names(bench)
    assert refs(remote) == [BRANCH_STAGE]


def test_retire_keeps_the_stage_when_a_deletion_fails(
    bench: PublishingBench, ledger: Ledger, remote: Path, run_json: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name = publish_at(bench, ledger, BRANCH_STAGE)

    def fails(*_: object) -> None:
        raise TaskError("it is still there")

    with monkeypatch.context() as patch:
        patch.setattr(deletion, "delete", fails)
        with pytest.raises(TaskError, match=name):
            run_json("retire", "--branch", BRANCH, "--yes")
    assert refs(remote) == [BRANCH_STAGE]
    assert run_json("retire", "--branch", BRANCH, "--yes")["deleted"] == [name]


@pytest.mark.parametrize("stage", ["prd", "stg", "production"])
def test_retire_refuses_a_protected_stage_before_any_request(
    bench: PublishingBench, ledger: Ledger, stage: str, run_json: Callable[..., Any]
) -> None:
    publish_at(bench, ledger, "prd", branch="main")
    bench.stand_in.forget_requests()
    with pytest.raises(BadInput):
        run_json("retire", "--stage", stage, "--yes")
    assert bench.request_count("*") == 0


def test_retire_writes_the_outputs_and_the_summary_of_a_job(
    bench: PublishingBench, ledger: Ledger, run_json: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    name = publish_at(bench, ledger, BRANCH_STAGE)
    assert run_json("current", "--stage", BRANCH_STAGE)["snapshot_name"] == name
    assert run_json("current", "--stage", "prd")["snapshot_name"] is None
    run_json("retire", "--branch", BRANCH, "--yes")
    outputs = github_runner.outputs((tmp_path / "output").read_text())
    assert (outputs["deleted"], outputs["kept"], outputs["dry_run"]) == ("1", "0", "false")
    text = (tmp_path / "summary").read_text()
    assert f"`{BRANCH_STAGE}` is `{name}`" in text
    assert "`prd` has no snapshot" in text
    assert f"| `{name}` | deleted |" in text


def test_a_failed_publication_names_the_snapshot_that_still_holds(
    bench: PublishingBench, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    current_name = publish_at(bench, ledger, "prd", branch="main")
    monkeypatch.setattr(snapshot_daytona, "state_dir", lambda: tmp_path)

    def fails(*_args: object, **_options: object) -> None:
        raise TaskError("the build failed", fix="mend it")

    monkeypatch.setattr(release, "publish", fails)
    request = requests.resolve(PublishRequest(ref="HEAD", stage="prd"), {})
    with pytest.raises(TaskError) as caught:
        snapshot_daytona.release_to_stage(bench.api, request)
    assert caught.value.notes == (f"prd is still {current_name}",)
