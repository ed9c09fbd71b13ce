from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tasks.daytona.ledger import Ledger, open_ledger
from tasks.daytona.ledger_entry import LedgerEntry, Reason, new_entry
from tasks.daytona.ledger_store import EMPTY_TREE, PREFIX, LedgerFailed
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


def move_to(name: str, *, reason: Reason = "publish") -> LedgerEntry:
    return new_entry(snapshot=name, sha="0" * 40, identity="1" * 64, reason=reason)


@pytest.fixture
def remote(tmp_path: Path) -> str:
    path = tmp_path / "remote.git"
    path.mkdir()
    repos.git(path, "init", "-q", "--bare")
    return str(path)


def at(tmp_path: Path, machine: str, remote: str | None) -> Ledger:
    return Ledger(tmp_path / machine / "ledger.git", remote=remote)


def test_the_ledger_survives_the_machine(tmp_path: Path, remote: str) -> None:
    first = at(tmp_path, "one", remote)
    assert first.move("prd", move_to("a"))
    assert first.move("prd", move_to("b"))
    assert not first.move("prd", move_to("b"))

    second = at(tmp_path, "two", remote)
    second.refresh()
    current, previous = second.current("prd"), second.previous("prd")
    assert current
    assert previous
    assert (current.snapshot, previous.snapshot) == ("b", "a")
    assert current.author
    assert current.date.endswith("Z")
    assert second.points_at() == {"b": ["prd"], "a": ["prd (previous)"]}
    assert second.find_move("a")
    assert second.find_move("c") is None


def test_the_history_of_a_stage_keeps_every_move(tmp_path: Path, remote: str) -> None:
    ledger = at(tmp_path, "one", remote)
    for name in ("a", "b", "a"):
        ledger.move("stg", move_to(name))
    assert [e.snapshot for e in ledger.history("stg")] == ["a", "b", "a"]
    previous = ledger.previous("stg")
    assert previous
    assert previous.snapshot == "b"


def test_two_machines_at_once_lose_no_move(tmp_path: Path, remote: str) -> None:
    def work(machine: str) -> None:
        ledger = at(tmp_path, machine, remote)
        for number in range(3):
            ledger.move("prd", move_to(f"{machine}-{number}"))

    threads = [threading.Thread(target=work, args=(m,)) for m in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = at(tmp_path, "three", remote)
    ledger.refresh()
    names = [e.snapshot for e in ledger.history("prd")]
    assert sorted(names) == [f"{m}-{n}" for m in ("one", "two") for n in range(3)]


def test_a_move_does_not_overrule_a_later_one(tmp_path: Path, remote: str) -> None:
    first, second = at(tmp_path, "one", remote), at(tmp_path, "two", remote)
    first.move("prd", move_to("a"))
    earlier = first.current("prd")
    second.move("prd", move_to("b"))
    with pytest.raises(LedgerFailed, match="moved to b meanwhile"):
        first.move("prd", move_to("c"), expected=earlier)


def test_stages_have_separate_histories(tmp_path: Path, remote: str) -> None:
    ledger = at(tmp_path, "one", remote)
    ledger.move("prd", move_to("a"))
    ledger.move("dev-x", move_to("b"))
    assert ledger.stages() == ["dev-x", "prd"]
    current = ledger.current("prd")
    assert current
    assert current.snapshot == "a"
    assert ledger.current("stg") is None


def test_a_ledger_without_a_remote_stays_on_this_machine(tmp_path: Path) -> None:
    ledger = at(tmp_path, "one", None)
    ledger.move("prd", move_to("a"))
    reopened = at(tmp_path, "one", None)
    reopened.refresh()
    assert reopened.current("prd") == ledger.current("prd")
    assert "this machine only" in ledger.place


def test_an_unreachable_remote_is_one_line_without_its_password(tmp_path: Path) -> None:
    ledger = at(tmp_path, "one", "https://user:secretword@127.0.0.1:9/x.git")
    with pytest.raises(LedgerFailed) as caught:
        ledger.refresh()
    assert "secretword" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_commit_that_is_no_entry_is_passed_over(tmp_path: Path, remote: str) -> None:
    ledger = at(tmp_path, "one", remote)
    ledger.move("prd", move_to("a"))
    tip = repos.git(tmp_path / "one/ledger.git", "rev-parse", "refs/sandbox/ledger/prd").strip()
    tree = EMPTY_TREE
    odd = repos.git(
        tmp_path / "one/ledger.git", "commit-tree", tree, "-p", tip, "-m", 'x\n\n{"a": 1}'
    )
    repos.git(tmp_path / "one/ledger.git", "push", "-q", remote, f"{odd.strip()}:{PREFIX}prd")
    ledger.refresh()
    assert [e.snapshot for e in ledger.history("prd")] == ["a"]


def test_the_repository_of_the_user_is_not_touched(tmp_path: Path, remote: str) -> None:
    repo = repos.new(tmp_path / "repo", **{"a.txt": "a"})
    repos.git(repo, "remote", "add", "origin", remote)
    earlier_paths = sorted(p.relative_to(repo) for p in repo.rglob("*"))
    ledger = open_ledger(repo, tmp_path / "state", local=False, environment={})
    ledger.move("prd", move_to("a"))
    assert ledger.remote == remote
    assert sorted(p.relative_to(repo) for p in repo.rglob("*")) == earlier_paths
    assert "refs/sandbox/ledger/prd" in repos.git(tmp_path / "remote.git", "for-each-ref")


def test_the_stand_in_has_a_ledger_of_its_own(tmp_path: Path, remote: str) -> None:
    repo = repos.new(tmp_path / "repo", **{"a.txt": "a"})
    repos.git(repo, "remote", "add", "origin", remote)
    ledger = open_ledger(repo, tmp_path / "state", local=True, environment={})
    ledger.move("prd", move_to("a"))
    assert repos.git(tmp_path / "remote.git", "for-each-ref") == ""


# ── branches, and stages that go ────────────────────────────────────────────────────────────


def test_a_stage_is_dropped_only_if_nobody_has_moved_it(tmp_path: Path, remote: str) -> None:
    first, second = at(tmp_path, "one", remote), at(tmp_path, "two", remote)
    first.move("dev-x", move_to("a"))
    first.move("prd", move_to("a"))
    tip = first.tip("dev-x")
    assert tip
    second.move("dev-x", move_to("b"))
    assert not first.drop("dev-x", expected=tip)
    first.refresh()
    current = first.current("dev-x")
    assert current
    assert current.snapshot == "b"
    tip = first.tip("dev-x")
    assert tip
    assert first.drop("dev-x", expected=tip)
    second.refresh()
    assert second.stages() == first.stages() == ["prd"]
    assert not first.drop("dev-x", expected=tip)


def test_a_stage_is_dropped_without_a_remote_as_well(tmp_path: Path) -> None:
    ledger = at(tmp_path, "one", None)
    ledger.move("dev-x", move_to("a"))
    tip = ledger.tip("dev-x")
    assert tip
    ledger.move("dev-x", move_to("b"))
    assert not ledger.drop("dev-x", expected=tip)
    assert ledger.drop("dev-x", expected=ledger.tip("dev-x") or "")
    assert ledger.stages() == []


def test_an_old_entry_is_read_without_a_branch(tmp_path: Path, remote: str) -> None:
    new = move_to("a")
    text = new.to_message()
    assert LedgerEntry.from_message(text) == new
    assert LedgerEntry.from_message(text.replace('  "branch": "",\n', "")) == new
    ledger = at(tmp_path, "one", remote)
    entry = new_entry(snapshot="b", sha="0", identity="1", reason="publish", branch='"; # `x`')
    ledger.move("dev-x", entry)
    current = ledger.current("dev-x")
    assert current
    assert current.branch == '"; # `x`'


@pytest.mark.parametrize(
    ("address", "counts"),
    [
        ("/srv/ledger.git", True),
        ("http://127.0.0.1:1/x.git", True),
        ("https://git.example/x.git", False),
        ("git@git.example:x.git", False),
        ("", False),
    ],
)
def test_a_stand_in_writes_only_to_a_ledger_on_this_machine(
    tmp_path: Path, address: str, *, counts: bool
) -> None:
    ledger = open_ledger(tmp_path, tmp_path, local=True,
                              environment={"SANDBOX_LEDGER": address})  # fmt: skip
    assert ledger.remote == (address if counts else None)
