"""The commands as a person types them, on the stand-in: list, show, promote, rollback, gc."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project
from tasks.base.errors import BadInput, TaskError
from tasks.commands import snapshots
from tasks.daytona import content, deletion, existing, waking
from tasks.daytona.ledger import Ledger
from tasks.daytona.ledger_entry import new_entry
from tasks.sandbox import release_checks
from tests.support import ledgers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.daytona.conftest import PublishingBench

    Show = Callable[[str, object], None]


@pytest.fixture
def ledger(bench: PublishingBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    bench.stand_in.forget_requests()
    local_ledger = Ledger(tmp_path / "ledger.git", remote=None)
    monkeypatch.setattr(snapshots, "open_ledger", lambda *_args, **_options: local_ledger)
    return local_ledger


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; its JSON, which must be alone on stdout."""

    def run(*arguments: str) -> Any:
        capsys.readouterr()
        snapshots.main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def refusal(*arguments: str, **environment: str) -> str:
    """The one line with which a command, as a process of its own, ends."""
    process_result = subprocess.run(
        [sys.executable, "-m", "tasks", *arguments],
        cwd=project.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process_result.returncode in {1, 2}
    assert process_result.stdout == ""
    assert "Traceback" not in process_result.stderr
    *_, last = process_result.stderr.strip().splitlines()
    assert last.startswith("✗ ")
    return last


def publish_sibling(
    bench: PublishingBench, ledger: Ledger | None = None, stage: str = "dev-t"
) -> str:
    snapshot = bench.publish(bench.sibling()).snapshot
    identity = content.identity_of(snapshot) or ""
    if ledger is not None:
        ledgers.move(
            ledger,
            stage,
            new_entry(snapshot=snapshot.name, sha="0" * 40, identity=identity, reason="publish"),
        )
    return snapshot.name


def somebody_elses(bench: PublishingBench) -> None:
    """It ends as an error: nobody has pushed that image."""
    bench.api.snapshots.create_from_image("somebody-elses", image="x:1")
    bench.leaves("somebody-elses", "pending", "error")


def test_list_and_show_tell_what_there_is(
    bench: PublishingBench, ledger: Ledger, run_json: Any
) -> None:
    name = publish_sibling(bench, ledger)
    somebody_elses(bench)
    (row,) = run_json("list")
    assert (row["snapshot_name"], row["state"], row["stages"]) == (name, "active", ["dev-t"])
    assert {r["snapshot_name"] for r in run_json("list", "--all")} == {
        name,
        "somebody-elses",
        "base",
    }
    details = run_json("show", name)
    assert details["moves"][0]["stage"] == "dev-t"
    with pytest.raises(TaskError, match="there is no snapshot"):
        snapshots.main(["show", "no-such"])


def test_promote_and_rollback_move_a_stage(
    bench: PublishingBench, ledger: Ledger, run_json: Any
) -> None:
    """What is in the ledger was verified: it is not booted again."""
    first, second = publish_sibling(bench, ledger), publish_sibling(bench, ledger)
    assert run_json("promote", first, "--stage", "prd")["previous"] is None
    assert run_json("promote", second, "--stage", "prd")["previous"] == first
    assert run_json("promote", second, "--stage", "prd")["moved"] is False
    rollback = run_json("rollback", "--stage", "prd")
    assert (rollback["snapshot_name"], rollback["previous"]) == (first, second)
    current = ledger.current("prd")
    assert current
    assert (current.snapshot, current.reason) == (first, "rollback")
    with pytest.raises(TaskError, match="no earlier snapshot"):
        snapshots.main(["rollback", "--stage", "stg"])


def test_promote_says_that_others_lack_the_commit(
    bench: PublishingBench, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    name = publish_sibling(bench, ledger)
    snapshots.main(["promote", name, "--stage", "prd"])
    assert f"commit {'0' * 12} is on no remote branch" in capsys.readouterr().err
    snapshots.main(["promote", name, "--stage", "dev-ann"])
    assert "no remote branch" not in capsys.readouterr().err


def test_promote_refuses_what_is_foreign_or_failed(bench: PublishingBench, ledger: Ledger) -> None:
    somebody_elses(bench)
    with pytest.raises(TaskError, match="did not make"):
        snapshots.main(["promote", "somebody-elses", "--stage", "prd"])
    name = publish_sibling(bench, ledger)
    bench.stand_in.set_snapshot_state(name, "error", error="broken")
    bench.leaves(name, "error")
    with pytest.raises(TaskError, match="broken"):
        snapshots.main(["promote", name, "--stage", "prd"])
    with pytest.raises(BadInput):
        snapshots.main(["promote", name, "--stage", "production"])
    assert ledger.current("prd") is None


def test_rollback_activates_a_sleeping_snapshot(
    bench: PublishingBench, ledger: Ledger, run_json: Any
) -> None:
    first, _second = publish_sibling(bench, ledger), publish_sibling(bench, ledger)
    bench.stand_in.set_snapshot_state(first, "inactive")
    run_json("rollback", "--stage", "dev-t")
    snapshot = bench.api.snapshots.find(first)
    assert snapshot
    assert snapshot.state == "active"


def test_rollbacks_in_a_row_go_back_one_step_each(
    bench: PublishingBench, ledger: Ledger, run_json: Any
) -> None:
    first, second, third = (publish_sibling(bench, ledger) for _ in range(3))
    assert run_json("rollback", "--stage", "dev-t")["snapshot_name"] == second
    assert run_json("rollback", "--stage", "dev-t")["snapshot_name"] == first
    with pytest.raises(TaskError, match="no earlier snapshot"):
        snapshots.main(["rollback", "--stage", "dev-t"])
    assert run_json("promote", third, "--stage", "dev-t")["previous"] == first


def test_wake_activates_what_a_stage_uses(
    bench: PublishingBench, ledger: Ledger, run_json: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    old, asleep = publish_sibling(bench, ledger, "prd"), publish_sibling(bench, ledger, "prd")
    awake = publish_sibling(bench, ledger, "dev-t")
    for name in (old, asleep):
        bench.stand_in.set_snapshot_state(name, "inactive")
    bench.leaves(old, "inactive")
    snapshots.main(["list"])
    report = capsys.readouterr().err
    assert "inactive (sleeps)" in report
    assert f"prd uses {asleep}, which sleeps" in report
    outcomes = {row["stage"]: row for row in run_json("wake")["results"]}
    assert (outcomes["prd"]["snapshot_name"], outcomes["prd"]["outcome"]) == (asleep, "activated")
    assert (outcomes["dev-t"]["snapshot_name"], outcomes["dev-t"]["outcome"]) == (awake, "awake")
    states = {s.name: s.state for s in bench.api.snapshots.list_all()}
    assert (states[asleep], states[old]) == ("active", "inactive")


def test_wake_uses_what_nobody_has_used_for_a_week(
    bench: PublishingBench, ledger: Ledger, run_json: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = publish_sibling(bench, ledger)
    used_names: list[str] = []
    monkeypatch.setattr(waking, "_IDLE", -60.0)  # as if a week had passed
    monkeypatch.setattr(
        release_checks, "commit_in", lambda _api, snapshot: used_names.append(snapshot.name)
    )
    assert run_json("wake")["results"][0]["outcome"] == "used"
    assert used_names == [name]


def test_wake_reports_each_stage_whose_snapshot_is_gone(
    bench: PublishingBench, ledger: Ledger
) -> None:
    gone, asleep = publish_sibling(bench, ledger, "dev-a"), publish_sibling(bench, ledger, "prd")
    bench.stand_in.forget_snapshot(gone)
    bench.stand_in.set_snapshot_state(asleep, "inactive")
    with pytest.raises(TaskError, match=f"could not be woken: {gone}"):
        snapshots.main(["wake"])
    snapshot = bench.api.snapshots.find(asleep)
    assert snapshot
    assert snapshot.state == "active"


def test_gc_shows_what_can_go_and_then_deletes_it(
    bench: PublishingBench, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_json(*arguments: str) -> Any:
        capsys.readouterr()
        snapshots.main([*arguments, "--json"])
        output = capsys.readouterr()
        # The table: what, how large, why.
        for name, reason in reasons.items():
            line = next(line for line in output.err.splitlines() if name in line)
            assert line.endswith(reason)
            assert re.search(r" [\d.]+ MB ", line)
        return json.loads(output.out)

    names = [publish_sibling(bench, ledger if n in {0, 1} else None) for n in range(4)]
    somebody_elses(bench)
    reasons = {
        names[0]: "in the ledger: dev-t (previous)",
        names[1]: "in the ledger: dev-t",
        names[2]: "number 2, after the newest 1",
        names[3]: "number 1 of the newest 1",
    }
    dry = run_json("gc", "--keep", "1")
    assert (dry["dry_run"], dry["deleted"]) == (True, [])
    assert len(bench.api.snapshots.list_all()) == len([*names, "somebody-elses", "base"])
    process_result = run_json("gc", "--keep", "1", "--yes")
    assert process_result["deleted"] == [names[2]]
    assert process_result["bytes"] == dry["bytes"] > 0
    remaining = {s.name for s in bench.api.snapshots.list_all()}
    assert remaining == {names[0], names[1], names[3], "somebody-elses", "base"}


def test_gc_reports_a_snapshot_that_cannot_be_deleted(
    bench: PublishingBench, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    names = [publish_sibling(bench), publish_sibling(bench, ledger)]
    delete = deletion.delete
    monkeypatch.setattr(deletion, "delete", lambda api, snapshot: delete(api, snapshot, timeout=1))
    bench.stand_in.fault("delete-ignored")
    with pytest.raises(TaskError, match="could not be deleted") as caught:
        snapshots.main(["gc", "--keep", "1", "--yes"])
    assert ledger.points_at() == {names[1]: ["dev-t"]}
    assert names[0] in str(caught.value)
    show("a delete that does not delete, in gc", caught.value)


# ── a named snapshot ────────────────────────────────────────────────────────────────────────


@pytest.mark.case("N41")
def test_a_missing_snapshot_is_named_with_existing_ones(bench: PublishingBench, show: Show) -> None:
    name, missing = publish_sibling(bench), "prd--20260116-230007"
    for line in (
        refusal("daytona-test", DAYTONA_SNAPSHOT_NAME=missing),
        refusal("daytona-test", "--snapshot", missing),
    ):
        assert missing in line
        assert name in line
    assert bench.request_count("POST *") == 1, "that was the test itself"
    show("DAYTONA_SNAPSHOT_NAME of a snapshot that is not there", line)


@pytest.mark.case("N41")
def test_a_named_snapshot_that_sleeps_is_activated(
    bench: PublishingBench, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    name = publish_sibling(bench)
    bench.stand_in.set_snapshot_state(name, "inactive")
    assert existing.require_active(bench.api, name, resume_command="").state == "active"
    show("DAYTONA_SNAPSHOT_NAME of an inactive one", capsys.readouterr().err.splitlines()[-1])


@pytest.mark.case("N41")
@pytest.mark.parametrize("state", ["error", "build_failed"])
def test_a_named_snapshot_that_failed_gives_its_reason_and_stays(
    bench: PublishingBench, state: Any, show: Show
) -> None:
    name = publish_sibling(bench)
    bench.stand_in.set_snapshot_state(name, state, error="no space left")
    bench.leaves(name, state)
    line = refusal("daytona-test", DAYTONA_SNAPSHOT_NAME=name)
    assert "no space left" in line
    show(f"DAYTONA_SNAPSHOT_NAME of one in state {state}", line)


# ── refused before any request ──────────────────────────────────────────────────────────────


@pytest.mark.case("N35", "N36")
def test_names_and_images_are_refused_before_any_request(
    bench: PublishingBench, show: Show
) -> None:
    names = ["a b", "日本", "a//b", "a" * 300, "<b>", "https://x", "a/", "a\nb", ""]
    for name in names:
        with pytest.raises(BadInput):
            bench.api.snapshots.create_from_contexts(name, dockerfile="FROM x:1", contexts=[])
    for image in ["x", "x:latest", "r/x:latest", "x@sha256:12", "x@sha256:" + "G" * 64, ""]:
        with pytest.raises(BadInput) as caught:
            bench.api.snapshots.create_from_image("a", image=image)
    line = refusal("snapshot-daytona", "--stage", "dev-x", "--name", "a b")
    assert bench.request_count("*") == 0
    show("a name or an image that Daytona would refuse", f"{line} / {caught.value}")


@pytest.mark.case("N37")
def test_a_command_reports_a_wrong_key_once(bench: PublishingBench, show: Show) -> None:
    wrong = "dtn_" + "f" * 64
    for command in (["snapshots", "list"], ["daytona-test", "--snapshot", "x"]):
        line = refusal(*command, DAYTONA_API_KEY=wrong, SANDBOX_LEDGER="")
        assert "401" in line
        assert wrong not in line
    assert bench.request_count("*") == 2
    show("a wrong key, in a command", line)
