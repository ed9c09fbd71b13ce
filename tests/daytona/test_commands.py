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
from tasks.commands import daytona_test, snapshots
from tasks.daytona import ledger, publish, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.daytona.conftest import Bench

    Show = Callable[[str, object], None]


@pytest.fixture
def book(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ledger.Ledger:
    bench.stand_in.forget_requests()
    made = ledger.Ledger(tmp_path / "ledger.git", remote=None)
    monkeypatch.setattr(ledger, "open_ledger", lambda *_args, **_options: made)
    return made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; its JSON, which must be alone on stdout."""

    def run(*arguments: str) -> Any:
        capsys.readouterr()
        snapshots.main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def refused(*arguments: str, **environment: str) -> str:
    """The one line with which a command, as a process of its own, ends."""
    done = subprocess.run(
        [sys.executable, "-m", "tasks", *arguments],
        cwd=project.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("✗ ")
    return last


def published(bench: Bench, book: ledger.Ledger | None = None, stage: str = "dev-t") -> str:
    found = bench.publish(bench.sibling()).snapshot
    identity = snapshot.identity_of(found) or ""
    if book is not None:
        book.move(
            stage,
            ledger.entry(snapshot=found.name, sha="0" * 40, identity=identity, why="publish"),
        )
    return found.name


def somebody_elses(bench: Bench) -> None:
    """It ends as an error: nobody has pushed that image."""
    bench.api.create_from_image("somebody-elses", image="x:1")
    bench.leaves("somebody-elses", "pending", "error")


def test_listing_and_showing(bench: Bench, book: ledger.Ledger, said: Any) -> None:
    name = published(bench, book)
    somebody_elses(bench)
    (row,) = said("list")
    assert (row["snapshot_name"], row["state"], row["stages"]) == (name, "active", ["dev-t"])
    assert {r["snapshot_name"] for r in said("list", "--all")} == {name, "somebody-elses", "base"}
    shown = said("show", name)
    assert shown["moves"][0]["stage"] == "dev-t"
    with pytest.raises(TaskError, match="there is no snapshot"):
        snapshots.main(["show", "no-such"])


def test_promoting_and_going_back(bench: Bench, book: ledger.Ledger, said: Any) -> None:
    """What is in the ledger was verified: it is not booted again."""
    first, second = published(bench, book), published(bench, book)
    assert said("promote", first, "--stage", "prd")["previous"] is None
    assert said("promote", second, "--stage", "prd")["previous"] == first
    assert said("promote", second, "--stage", "prd")["moved"] is False
    back = said("rollback", "--stage", "prd")
    assert (back["snapshot_name"], back["previous"]) == (first, second)
    current = book.current("prd")
    assert current
    assert (current.snapshot, current.why) == (first, "rollback")
    with pytest.raises(TaskError, match="no earlier snapshot"):
        snapshots.main(["rollback", "--stage", "stg"])


def test_what_cannot_be_promoted(bench: Bench, book: ledger.Ledger) -> None:
    somebody_elses(bench)
    with pytest.raises(TaskError, match="not of this project"):
        snapshots.main(["promote", "somebody-elses", "--stage", "prd"])
    name = published(bench, book)
    bench.stand_in.set_snapshot_state(name, "error", error="broken")
    bench.leaves(name, "error")
    with pytest.raises(TaskError, match="broken"):
        snapshots.main(["promote", name, "--stage", "prd"])
    with pytest.raises(BadInput):
        snapshots.main(["promote", name, "--stage", "production"])
    assert book.current("prd") is None


def test_going_back_activates(bench: Bench, book: ledger.Ledger, said: Any) -> None:
    first, _second = published(bench, book), published(bench, book)
    bench.stand_in.set_snapshot_state(first, "inactive")
    said("rollback", "--stage", "dev-t")
    found = bench.api.snapshot(first)
    assert found
    assert found.state == "active"


def test_cleaning_up_is_shown_first_then_done(
    bench: Bench, book: ledger.Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> Any:
        capsys.readouterr()
        snapshots.main([*arguments, "--json"])
        told = capsys.readouterr()
        # The table: what, how large, why.
        for name, reason in reasons.items():
            line = next(line for line in told.err.splitlines() if name in line)
            assert line.endswith(reason)
            assert re.search(r" [\d.]+ MB ", line)
        return json.loads(told.out)

    names = [published(bench, book if n in {0, 1} else None) for n in range(4)]
    somebody_elses(bench)
    reasons = {
        names[0]: "in the ledger: dev-t (previous)",
        names[1]: "in the ledger: dev-t",
        names[2]: "number 2, after the newest 1",
        names[3]: "number 1 of the newest 1",
    }
    dry = said("gc", "--keep", "1")
    assert (dry["dry_run"], dry["deleted"]) == (True, [])
    assert len(bench.api.snapshots()) == len([*names, "somebody-elses", "base"])
    done = said("gc", "--keep", "1", "--yes")
    assert done["deleted"] == [names[2]]
    assert done["bytes"] == dry["bytes"] > 0
    left = {s.name for s in bench.api.snapshots()}
    assert left == {names[0], names[1], names[3], "somebody-elses", "base"}


def test_what_does_not_go_is_reported(
    bench: Bench, book: ledger.Ledger, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    names = [published(bench) for _ in range(2)]
    monkeypatch.setattr(snapshots, "delete", lambda api, one: publish.delete(api, one, timeout=1))
    bench.stand_in.fault("delete-ignored")
    with pytest.raises(TaskError, match="could not be deleted") as caught:
        snapshots.main(["gc", "--keep", "1", "--yes"])
    assert book.stages() == []
    assert names[0] in str(caught.value)
    show("a delete that does not delete, in gc", caught.value)


# ── a named snapshot ────────────────────────────────────────────────────────────────────────


@pytest.mark.case("N41")
def test_a_missing_one_is_named_with_what_there_is(bench: Bench, show: Show) -> None:
    name, missing = published(bench), "prd--20260116-230007"
    for line in (
        refused("daytona-test", DAYTONA_SNAPSHOT_NAME=missing),
        refused("daytona-test", "--snapshot", missing),
    ):
        assert missing in line
        assert name in line
    assert bench.asked("POST *") == 1, "that was the test itself"
    show("DAYTONA_SNAPSHOT_NAME of a snapshot that is not there", line)


@pytest.mark.case("N41")
def test_an_inactive_one_is_activated(
    bench: Bench, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    name = published(bench)
    bench.stand_in.set_snapshot_state(name, "inactive")
    assert daytona_test.use(bench.api, name)["state"] == "active"
    show("DAYTONA_SNAPSHOT_NAME of an inactive one", capsys.readouterr().err.splitlines()[-1])


@pytest.mark.case("N41")
@pytest.mark.parametrize("state", ["error", "build_failed"])
def test_a_failed_one_says_why_and_stays(bench: Bench, state: Any, show: Show) -> None:
    name = published(bench)
    bench.stand_in.set_snapshot_state(name, state, error="no space left")
    bench.leaves(name, state)
    line = refused("daytona-test", DAYTONA_SNAPSHOT_NAME=name)
    assert "no space left" in line
    show(f"DAYTONA_SNAPSHOT_NAME of one in state {state}", line)


# ── refused before any request ──────────────────────────────────────────────────────────────


@pytest.mark.case("N35", "N36")
def test_names_and_images_are_refused_before_any_request(bench: Bench, show: Show) -> None:
    names = ["a b", "日本", "a//b", "a" * 300, "<b>", "https://x", "a/", "a\nb", ""]
    for name in names:
        with pytest.raises(BadInput):
            bench.api.create_from_contexts(name, dockerfile="FROM x:1", contexts=[])
    for image in ["x", "x:latest", "r/x:latest", "x@sha256:12", "x@sha256:" + "G" * 64, ""]:
        with pytest.raises(BadInput) as caught:
            bench.api.create_from_image("a", image=image)
    line = refused("snapshot-daytona", "--stage", "dev-x", "--name", "a b")
    assert bench.asked("*") == 0
    show("a name or an image that Daytona would refuse", f"{line} / {caught.value}")


@pytest.mark.case("N37")
def test_a_wrong_key_is_said_once_by_a_command(bench: Bench, show: Show) -> None:
    wrong = "dtn_" + "f" * 64
    for command in (["snapshots", "list"], ["daytona-test", "--snapshot", "x"]):
        line = refused(*command, DAYTONA_API_KEY=wrong, SANDBOX_LEDGER="")
        assert "401" in line
        assert wrong not in line
    assert bench.asked("*") == 2
    show("a wrong key, in a command", line)
