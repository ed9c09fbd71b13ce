from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tasks.daytona import ledger
from tasks.daytona.ledger import Entry, Ledger, LedgerFailed
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


def move_to(name: str, *, why: ledger.Why = "publish") -> Entry:
    return ledger.entry(snapshot=name, sha="0" * 40, identity="1" * 64, why=why)


@pytest.fixture
def remote(tmp_path: Path) -> str:
    path = tmp_path / "remote.git"
    path.mkdir()
    repos.git(path, "init", "-q", "--bare")
    return str(path)


def at(tmp_path: Path, machine: str, remote: str | None) -> Ledger:
    return Ledger(tmp_path / machine / "ledger.git", remote=remote)


def test_it_survives_the_machine(tmp_path: Path, remote: str) -> None:
    here = at(tmp_path, "one", remote)
    assert here.move("prd", move_to("a"))
    assert here.move("prd", move_to("b"))
    assert not here.move("prd", move_to("b"))

    there = at(tmp_path, "two", remote)
    there.refresh()
    current, previous = there.current("prd"), there.previous("prd")
    assert current
    assert previous
    assert (current.snapshot, previous.snapshot) == ("b", "a")
    assert current.who
    assert current.when.endswith("Z")
    assert there.points_at() == {"b": ["prd"], "a": ["prd (previous)"]}
    assert there.knows("a")
    assert there.knows("c") is None


def test_going_back_and_forth_keeps_all_of_it(tmp_path: Path, remote: str) -> None:
    book = at(tmp_path, "one", remote)
    for name in ("a", "b", "a"):
        book.move("stg", move_to(name))
    assert [e.snapshot for e in book.history("stg")] == ["a", "b", "a"]
    previous = book.previous("stg")
    assert previous
    assert previous.snapshot == "b"


def test_two_machines_at_once_lose_nothing(tmp_path: Path, remote: str) -> None:
    def work(machine: str) -> None:
        book = at(tmp_path, machine, remote)
        for number in range(3):
            book.move("prd", move_to(f"{machine}-{number}"))

    threads = [threading.Thread(target=work, args=(m,)) for m in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book = at(tmp_path, "three", remote)
    book.refresh()
    names = [e.snapshot for e in book.history("prd")]
    assert sorted(names) == [f"{m}-{n}" for m in ("one", "two") for n in range(3)]


def test_a_decision_does_not_overrule_a_later_one(tmp_path: Path, remote: str) -> None:
    here, there = at(tmp_path, "one", remote), at(tmp_path, "two", remote)
    here.move("prd", move_to("a"))
    seen = here.current("prd")
    there.move("prd", move_to("b"))
    with pytest.raises(LedgerFailed, match="moved to b meanwhile"):
        here.move("prd", move_to("c"), expected=seen)


def test_stages_are_apart(tmp_path: Path, remote: str) -> None:
    book = at(tmp_path, "one", remote)
    book.move("prd", move_to("a"))
    book.move("dev-x", move_to("b"))
    assert book.stages() == ["dev-x", "prd"]
    current = book.current("prd")
    assert current
    assert current.snapshot == "a"
    assert book.current("stg") is None


def test_without_a_remote_it_stays_here(tmp_path: Path) -> None:
    book = at(tmp_path, "one", None)
    book.move("prd", move_to("a"))
    again = at(tmp_path, "one", None)
    again.refresh()
    assert again.current("prd") == book.current("prd")
    assert "this machine only" in book.place


def test_an_unreachable_remote_is_one_line_without_its_password(tmp_path: Path) -> None:
    book = at(tmp_path, "one", "https://user:secretword@127.0.0.1:9/x.git")
    with pytest.raises(LedgerFailed) as caught:
        book.refresh()
    assert "secretword" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_entry_is_passed_over(tmp_path: Path, remote: str) -> None:
    book = at(tmp_path, "one", remote)
    book.move("prd", move_to("a"))
    tip = repos.git(tmp_path / "one/ledger.git", "rev-parse", "refs/sandbox/ledger/prd").strip()
    tree = ledger._EMPTY_TREE
    odd = repos.git(
        tmp_path / "one/ledger.git", "commit-tree", tree, "-p", tip, "-m", 'x\n\n{"a": 1}'
    )
    repos.git(
        tmp_path / "one/ledger.git", "push", "-q", remote, f"{odd.strip()}:{ledger.PREFIX}prd"
    )
    book.refresh()
    assert [e.snapshot for e in book.history("prd")] == ["a"]


def test_the_users_repository_is_not_touched(tmp_path: Path, remote: str) -> None:
    repo = repos.new(tmp_path / "repo", **{"a.txt": "a"})
    repos.git(repo, "remote", "add", "origin", remote)
    before = sorted(p.relative_to(repo) for p in repo.rglob("*"))
    book = ledger.open_ledger(repo, tmp_path / "state", local=False, environment={})
    book.move("prd", move_to("a"))
    assert book.remote == remote
    assert sorted(p.relative_to(repo) for p in repo.rglob("*")) == before
    assert "refs/sandbox/ledger/prd" in repos.git(tmp_path / "remote.git", "for-each-ref")


def test_the_stand_ins_ledger_is_its_own(tmp_path: Path, remote: str) -> None:
    repo = repos.new(tmp_path / "repo", **{"a.txt": "a"})
    repos.git(repo, "remote", "add", "origin", remote)
    book = ledger.open_ledger(repo, tmp_path / "state", local=True, environment={})
    book.move("prd", move_to("a"))
    assert repos.git(tmp_path / "remote.git", "for-each-ref") == ""


# ── branches, and stages that go ────────────────────────────────────────────────────────────


def test_a_stage_goes_if_nobody_has_moved_it(tmp_path: Path, remote: str) -> None:
    here, there = at(tmp_path, "one", remote), at(tmp_path, "two", remote)
    here.move("dev-x", move_to("a"))
    here.move("prd", move_to("a"))
    tip = here.tip("dev-x")
    assert tip
    there.move("dev-x", move_to("b"))
    assert not here.drop("dev-x", expected=tip)
    here.refresh()
    current = here.current("dev-x")
    assert current
    assert current.snapshot == "b"
    tip = here.tip("dev-x")
    assert tip
    assert here.drop("dev-x", expected=tip)
    there.refresh()
    assert there.stages() == here.stages() == ["prd"]
    assert not here.drop("dev-x", expected=tip)


def test_without_a_remote_a_stage_goes_as_well(tmp_path: Path) -> None:
    book = at(tmp_path, "one", None)
    book.move("dev-x", move_to("a"))
    tip = book.tip("dev-x")
    assert tip
    book.move("dev-x", move_to("b"))
    assert not book.drop("dev-x", expected=tip)
    assert book.drop("dev-x", expected=book.tip("dev-x") or "")
    assert book.stages() == []


def test_old_entries_are_read_without_a_branch(tmp_path: Path, remote: str) -> None:
    new = move_to("a")
    text = new.to_message()
    assert Entry.from_message(text) == new
    assert Entry.from_message(text.replace('  "branch": "",\n', "")) == new
    book = at(tmp_path, "one", remote)
    made = ledger.entry(snapshot="b", sha="0", identity="1", why="publish", branch='"; # `x`')
    book.move("dev-x", made)
    current = book.current("dev-x")
    assert current
    assert current.branch == '"; # `x`'


@pytest.mark.parametrize(
    ("named", "counts"),
    [
        ("/srv/ledger.git", True),
        ("http://127.0.0.1:1/x.git", True),
        ("https://git.example/x.git", False),
        ("git@git.example:x.git", False),
        ("", False),
    ],
)
def test_a_stand_in_writes_to_this_machine_alone(
    tmp_path: Path, named: str, *, counts: bool
) -> None:
    book = ledger.open_ledger(tmp_path, tmp_path, local=True,
                              environment={"SANDBOX_LEDGER": named})  # fmt: skip
    assert book.remote == (named if counts else None)
