from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tasks.daytona.ledger import Ledger, open_ledger
from tasks.daytona.ledger_entry import LedgerEntry, Reason, new_entry
from tasks.daytona.ledger_store import EMPTY_TREE, PREFIX, LedgerFailed
from tests.support import ledgers, repos


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
    assert ledgers.move(first, "prd", move_to("a"))
    assert ledgers.move(first, "prd", move_to("b"))
    assert not ledgers.move(first, "prd", move_to("b"))

    second = at(tmp_path, "two", remote)
    second.refresh()
    current = second.current("prd")
    assert current
    assert current.snapshot == "b"
    assert current.author
    assert current.date.endswith("Z")
    assert second.points_at() == {"b": ["prd"], "a": ["prd (previous)"]}
    assert second.find_move("a")
    assert second.find_move("c") is None


def test_the_history_of_a_stage_keeps_every_move(tmp_path: Path, remote: str) -> None:
    ledger = at(tmp_path, "one", remote)
    for name in ("a", "b", "a"):
        ledgers.move(ledger, "stg", move_to(name))
    assert [e.snapshot for e in ledger.history("stg")] == ["a", "b", "a"]
    assert ledger.points_at() == {"a": ["stg"], "b": ["stg (previous)"]}


def test_two_machines_at_once_lose_no_move(tmp_path: Path, remote: str) -> None:
    def work(machine: str) -> None:
        ledger = at(tmp_path, machine, remote)
        for number in range(3):
            while True:  # who is told of the other one's move decides again
                try:
                    ledgers.move(ledger, "prd", move_to(f"{machine}-{number}"))
                except LedgerFailed as error:
                    refusals.append(error)
                else:
                    break

    refusals: list[LedgerFailed] = []
    threads = [threading.Thread(target=work, args=(m,)) for m in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = at(tmp_path, "three", remote)
    ledger.refresh()
    names = [e.snapshot for e in ledger.history("prd")]
    assert sorted(names) == [f"{m}-{n}" for m in ("one", "two") for n in range(3)]
    assert all("while this ran" in str(error) for error in refusals)


def test_a_move_does_not_overrule_a_later_one(tmp_path: Path, remote: str) -> None:
    first, second = at(tmp_path, "one", remote), at(tmp_path, "two", remote)
    ledgers.move(first, "prd", move_to("a"))
    earlier = first.current("prd")
    ledgers.move(second, "prd", move_to("b"))
    with pytest.raises(LedgerFailed, match=r"moved from a to b .* while this ran") as caught:
        first.move("prd", move_to("c"), expected=earlier)
    current = first.current("prd")
    assert current
    assert current.author in caught.value.what
    assert "promote c --stage prd" in caught.value.fix
    # It is there already: nothing is overruled.
    assert not first.move("prd", move_to("b"), expected=earlier)


def test_a_move_from_nothing_does_not_overrule_a_first_one(tmp_path: Path, remote: str) -> None:
    first, second = at(tmp_path, "one", remote), at(tmp_path, "two", remote)
    ledgers.move(second, "prd", move_to("b"))
    with pytest.raises(LedgerFailed, match="to b"):
        first.move("prd", move_to("c"), expected=None)


def test_a_stage_has_a_snapshot_of_its_own_in_each_region(tmp_path: Path, remote: str) -> None:
    """A move in one region does not disturb a run that publishes in the other."""
    ledger = at(tmp_path, "one", remote)
    old = replace(move_to("old"), region="")
    us, eu = replace(move_to("us-1"), region="us"), replace(move_to("eu-1"), region="eu")
    ledgers.move(ledger, "prd", old)
    ledgers.move(ledger, "prd", us)
    assert ledger.current("prd", "eu") == old
    assert ledger.move("prd", eu, expected=old)
    assert ledger.current("prd", "us") == us
    assert ledger.current("prd", "eu") == eu
    assert ledger.current("prd") == eu
    assert ledger.points_at() == {"old": ["prd"], "us-1": ["prd in us"], "eu-1": ["prd in eu"]}
    assert ledger.published_in() == {"prd": ["", "eu", "us"]}
    assert ledger.find_move("us-1", "us")
    assert ledger.find_move("us-1", "eu") is None


REFUSALS = [
    pytest.param("echo 'RULE: nobody writes below refs/sandbox' >&2; exit 1", id="a-rule"),
    pytest.param("echo 'fetch first: stale info, says the RULE' >&2; exit 1", id="words-of-a-race"),
]


@pytest.mark.parametrize("script", REFUSALS)
def test_a_refusal_of_the_remote_is_shown_with_its_reason(
    tmp_path: Path, remote: str, script: str
) -> None:
    hook = Path(remote) / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)
    ledger = at(tmp_path, "one", remote)
    for attempt in (ledger.check_access, partial(ledgers.move, ledger, "prd", move_to("a"))):
        with pytest.raises(LedgerFailed) as caught:
            attempt()
        assert "RULE" in caught.value.what
        assert "hook declined" in caught.value.what
        assert "\n" not in str(caught.value)
    assert ledger.stages() == []


@pytest.mark.parametrize("setting", ["receive.denyDeletes", "receive.denyNonFastForwards"])
def test_a_remote_that_keeps_refs_is_written_to_all_the_same(
    tmp_path: Path, remote: str, setting: str
) -> None:
    repos.git(Path(remote), "config", setting, "true")
    ledger = at(tmp_path, "one", remote)
    ledger.check_access()
    ledgers.move(ledger, "prd", move_to("a"))
    ledger.refresh()
    assert ledger.stages() == ["prd"]


def test_the_access_check_leaves_nothing(tmp_path: Path, remote: str) -> None:
    ledger = at(tmp_path, "one", remote)
    ledger.check_access()
    assert repos.git(Path(remote), "for-each-ref") == ""
    at(tmp_path, "two", None).check_access()


def test_a_remote_that_cannot_be_written_is_known_beforehand(tmp_path: Path) -> None:
    with pytest.raises(LedgerFailed, match=r"does not appear to be a git repository|not exist"):
        at(tmp_path, "one", str(tmp_path / "no-such.git")).check_access()


def test_stages_have_separate_histories(tmp_path: Path, remote: str) -> None:
    ledger = at(tmp_path, "one", remote)
    ledgers.move(ledger, "prd", move_to("a"))
    ledgers.move(ledger, "dev-x", move_to("b"))
    assert ledger.stages() == ["dev-x", "prd"]
    current = ledger.current("prd")
    assert current
    assert current.snapshot == "a"
    assert ledger.current("stg") is None


def test_a_ledger_without_a_remote_stays_on_this_machine(tmp_path: Path) -> None:
    ledger = at(tmp_path, "one", None)
    ledgers.move(ledger, "prd", move_to("a"))
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
    ledgers.move(ledger, "prd", move_to("a"))
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
    ledgers.move(ledger, "prd", move_to("a"))
    assert ledger.remote == remote
    assert sorted(p.relative_to(repo) for p in repo.rglob("*")) == earlier_paths
    assert "refs/sandbox/ledger/prd" in repos.git(tmp_path / "remote.git", "for-each-ref")


def test_the_stand_in_has_a_ledger_of_its_own(tmp_path: Path, remote: str) -> None:
    repo = repos.new(tmp_path / "repo", **{"a.txt": "a"})
    repos.git(repo, "remote", "add", "origin", remote)
    ledger = open_ledger(repo, tmp_path / "state", local=True, environment={})
    ledgers.move(ledger, "prd", move_to("a"))
    assert repos.git(tmp_path / "remote.git", "for-each-ref") == ""


# ── branches, and stages that go ────────────────────────────────────────────────────────────


def test_a_stage_is_dropped_only_if_nobody_has_moved_it(tmp_path: Path, remote: str) -> None:
    first, second = at(tmp_path, "one", remote), at(tmp_path, "two", remote)
    ledgers.move(first, "dev-x", move_to("a"))
    ledgers.move(first, "prd", move_to("a"))
    tip = first.tip("dev-x")
    assert tip
    ledgers.move(second, "dev-x", move_to("b"))
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
    ledgers.move(ledger, "dev-x", move_to("a"))
    tip = ledger.tip("dev-x")
    assert tip
    ledgers.move(ledger, "dev-x", move_to("b"))
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
    ledgers.move(ledger, "dev-x", entry)
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
