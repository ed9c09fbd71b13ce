"""Where a stage is, and where a rollback goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.daytona import history
from tasks.daytona.ledger_entry import LedgerEntry, Reason


def entries(moves: str) -> list[LedgerEntry]:
    """`a b <a` published a and b, and went back to a; the newest first. `a@eu` names a region."""
    result: list[LedgerEntry] = []
    for number, word in enumerate(moves.split()):
        reason: Reason = "rollback" if word.startswith("<") else "publish"
        name, _, region = word.removeprefix("<").partition("@")
        entry = LedgerEntry(
            snapshot=name, sha="0", identity="1", reason=reason, author="ann",
            date=f"2026-01-{number + 1:02d}", region=region,
        )  # fmt: skip
        result.insert(0, entry)
    return result


@pytest.mark.parametrize(
    ("moves", "positions"),
    [
        ("", ""),
        ("a", "a"),
        ("a b c", "c b a"),
        ("a b c <b", "b a"),
        ("a b c <b <a", "a"),
        ("a b c <b d", "d b a"),
        ("a b c <b d <b", "b a"),
        ("a b a", "a b a"),
        ("a b a <b", "b a"),
        ("a a b b", "b a"),
        ("b <a", "a b"),  # to one that this clone has never seen
        ("a b c d <b", "b a"),
    ],
)
def test_each_rollback_goes_one_step_further_back(moves: str, positions: str) -> None:
    assert [e.snapshot for e in history.positions(entries(moves))] == positions.split()


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8))
def test_rollbacks_end_at_the_first_snapshot(names: list[str]) -> None:
    moves = " ".join(names)
    count = len(history.positions(entries(moves)))
    for _ in range(count - 1):
        previous = history.positions(entries(moves))[1].snapshot
        moves += f" <{previous}"
        assert history.positions(entries(moves))[0].snapshot == previous
    assert len(history.positions(entries(moves))) == 1
    assert history.positions(entries(moves))[0].snapshot == names[0]


def test_an_entry_without_a_region_counts_in_each() -> None:
    moves = entries("old us-1@us eu-1@eu us-2@us")
    assert [e.snapshot for e in history.in_region(moves, "us")] == ["us-2", "us-1", "old"]
    assert [e.snapshot for e in history.in_region(moves, "eu")] == ["eu-1", "old"]
    assert [e.snapshot for e in history.in_region(moves, "")] == ["us-2", "eu-1", "us-1", "old"]
    assert history.regions(moves) == ["", "eu", "us"]
