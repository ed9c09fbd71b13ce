"""The commands as a person types them, on the stand-in: list, show, promote, rollback, gc."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks import ledger, publish, snapshot
from tasks.commands import daytona_test, snapshots
from tasks.errors import BadInput, TaskError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daytona.conftest import Bench


@pytest.fixture
def book(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ledger.Ledger:
    bench.stand_in.requests.lines.clear()
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


def published(bench: Bench, book: ledger.Ledger | None = None, stage: str = "dev-t") -> str:
    found = bench.publish(bench.wanted()).snapshot
    identity = snapshot.identity_of(found) or ""
    if book is not None:
        book.move(
            stage,
            ledger.entry(snapshot=found.name, sha="0" * 40, identity=identity, why="publish"),
        )
    return found.name


def test_listing_and_showing(bench: Bench, book: ledger.Ledger, said: Any) -> None:
    name = published(bench, book)
    bench.api.create_from_image("somebody-elses", image="x:1")
    (row,) = said("list")
    assert (row["snapshot_name"], row["state"], row["stages"]) == (name, "active", ["dev-t"])
    assert {r["snapshot_name"] for r in said("list", "--all")} == {name, "somebody-elses"}
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
    bench.api.create_from_image("somebody-elses", image="x:1")
    with pytest.raises(TaskError, match="not of this project"):
        snapshots.main(["promote", "somebody-elses", "--stage", "prd"])
    name = published(bench, book)
    bench.stand_in.set_snapshot_state(name, "error", error="broken")
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


def test_cleaning_up_is_shown_first_then_done(bench: Bench, book: ledger.Ledger, said: Any) -> None:
    names = [published(bench, book if n in {0, 1} else None) for n in range(4)]
    bench.api.create_from_image("somebody-elses", image="x:1")
    dry = said("gc", "--keep", "1")
    assert (dry["dry_run"], dry["deleted"]) == (True, [])
    assert len(bench.api.snapshots()) == 5
    done = said("gc", "--keep", "1", "--yes")
    assert done["deleted"] == [names[2]]  # 0 and 1: current and previous; 3: the newest
    left = {s.name for s in bench.api.snapshots()}
    assert left == {names[0], names[1], names[3], "somebody-elses"}


def test_what_does_not_go_is_reported(
    bench: Bench, book: ledger.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [published(bench) for _ in range(2)]
    monkeypatch.setattr(snapshots, "delete", lambda api, one: publish.delete(api, one, timeout=1))
    bench.stand_in.fault("delete-ignored")
    with pytest.raises(TaskError, match="could not be deleted") as caught:
        snapshots.main(["gc", "--keep", "1", "--yes"])
    assert book.stages() == []
    assert names[0] in str(caught.value)


# ── a named snapshot (N41) ──────────────────────────────────────────────────────────────────


def test_a_missing_one_is_named_with_what_there_is(bench: Bench) -> None:
    name = published(bench)
    with pytest.raises(TaskError) as caught:
        daytona_test.use(bench.api, "prd--20260116-230007")
    assert "prd--20260116-230007" in str(caught.value)
    assert name in str(caught.value)


def test_an_inactive_one_is_activated(bench: Bench) -> None:
    name = published(bench)
    bench.stand_in.set_snapshot_state(name, "inactive")
    assert daytona_test.use(bench.api, name)["state"] == "active"


@pytest.mark.parametrize("state", ["error", "build_failed"])
def test_a_failed_one_says_why_and_stays(bench: Bench, state: Any) -> None:
    name = published(bench)
    bench.stand_in.set_snapshot_state(name, state, error="no space left")
    with pytest.raises(TaskError, match="no space left"):
        daytona_test.use(bench.api, name)
    assert bench.api.snapshot(name)
