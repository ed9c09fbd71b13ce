from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import liveness, project
from tasks.base.errors import TaskError
from tasks.sandbox import reaper
from tasks.sandbox.run import Run
from tasks.sandbox.sandbox import Belonging, Provider, Sandbox, Spec

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_000_000.0
LIVES: dict[str, liveness.Life] = {"alive": "alive", "dead": "dead", "unknown": "unknown"}


def thing(run: str, life: str, *, age: float = 0, keep: bool = False, kind: str = "container",
          name: str = "") -> Belonging:  # fmt: skip
    who = liveness.Owner(host=life, boot="b", namespace="n", pid=1, start="1")
    return Belonging(
        kind=kind,
        id=name or f"{run}-{kind}",
        name=name or f"{run}-{kind}",
        run=run,
        owner=who.to_label(),
        created=NOW - age,
        keep=keep,
    )


def by_host(who: liveness.Owner | None) -> liveness.Life:
    assert who is not None
    return LIVES[who.host]


def judge(*things: Belonging) -> dict[str, reaper.Verdict]:
    return reaper.verdicts(things, now=NOW, life=by_host)


@pytest.mark.parametrize(
    ("belonging", "verdict"),
    [
        (thing("r", "alive"), "alive"),
        (thing("r", "alive", age=1e9), "alive"),
        (thing("r", "alive", keep=True), "alive"),
        (thing("r", "dead"), "dead"),
        (thing("r", "dead", keep=True), "kept"),
        (thing("r", "unknown"), "unknown"),
        (thing("r", "unknown", age=reaper.STRANGER_AGE - 1), "unknown"),
        (thing("r", "unknown", age=reaper.STRANGER_AGE + 1), "dead"),
        (thing("r", "unknown", age=reaper.STRANGER_AGE + 1, keep=True), "kept"),
        (thing("r", "unknown", age=-1e9), "unknown"),
    ],
)
def test_a_verdict(belonging: Belonging, verdict: reaper.Verdict) -> None:
    assert judge(belonging) == {"r": verdict}


def test_runs_are_judged_one_by_one() -> None:
    assert judge(thing("a", "dead"), thing("b", "alive")) == {"a": "dead", "b": "alive"}


def test_a_label_that_is_no_owner_is_unknown() -> None:
    strange = Belonging(
        kind="container", id="1", name="1", run="r", owner="?", created=NOW, keep=False
    )
    assert reaper.verdicts([strange], now=NOW) == {"r": "unknown"}


@given(st.permutations(["alive", "dead", "unknown", "dead", "alive"]))
def test_the_kindest_verdict_counts_in_any_order(lives: list[str]) -> None:
    assert judge(*(thing("r", life) for life in lives)) == {"r": "alive"}


class Store(Provider):
    """A provider in memory."""

    name: ClassVar[str] = "store"

    def __init__(self, *things: Belonging) -> None:
        self.not_offered = {}
        self.things = {t.id: t for t in things}
        self.removed: list[str] = []
        self.late: list[Belonging] = []
        self.stuck = False
        self._lock = threading.Lock()

    def check(self, image: str) -> None:
        raise AssertionError(f"a reaper only lists and removes: {image}")

    def create(self, spec: Spec, run: Run) -> Sandbox:
        raise AssertionError(f"a reaper only lists and removes: {spec} {run}")

    def close(self) -> None:
        pass

    def belongings(self) -> list[Belonging]:
        with self._lock:
            now = list(self.things.values())
            if self.late:
                late = self.late.pop()
                self.things[late.id] = late
            return now

    def remove(self, belonging: Belonging) -> None:
        with self._lock:
            if not self.stuck:
                self.things.pop(belonging.id, None)
            self.removed.append(belonging.kind)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(project, "state_dir", lambda: tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        liveness, "life", lambda who: LIVES.get(who.host, "alive") if who else "unknown"
    )
    monkeypatch.setattr(reaper.verdicts, "__kwdefaults__", {"life": liveness.life})


def test_only_the_dead_are_reaped() -> None:
    store = Store(thing("a", "dead"), thing("b", "alive"), thing("c", "dead", keep=True))
    assert [t.run for t in reaper.reap_dead(store)] == ["a"]
    assert {t.run for t in store.things.values()} == {"b", "c"}


def test_containers_go_before_what_they_hold() -> None:
    kinds = ("network", "container", "volume", "container")
    store = Store(*(thing("a", "dead", kind=k, name=f"{k}{i}") for i, k in enumerate(kinds)))
    reaper.reap_dead(store)
    assert store.removed[:2] == ["container", "container"]
    assert Counter(store.removed) == Counter(kinds)


def test_a_named_run_is_reaped_whoever_owns_it() -> None:
    store = Store(thing("a", "alive"), thing("b", "dead"), thing("a", "alive", kind="volume"))
    assert len(reaper.reap_run(store, "a")) == 2
    assert {t.run for t in store.things.values()} == {"b"}


def test_what_turns_up_late_is_reaped_too() -> None:
    store = Store()
    store.late = [thing("a", "dead", name="late")]
    assert [t.name for t in reaper.reap_run(store, "a", settle=0.3)] == ["late"]
    assert store.things == {}


def test_what_cannot_be_removed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "_PATIENCE", 0.2)
    store = Store(thing("a", "dead", name="immortal"))
    store.stuck = True
    with pytest.raises(TaskError, match="immortal"):
        reaper.reap_run(store, "a")


def test_the_folder_of_a_reaped_run_goes_with_it(state: Path) -> None:
    for run in ("a", "b"):
        (state / "runs" / run / "checkouts").mkdir(parents=True)
    reaper.reap_dead(Store(thing("a", "dead"), thing("b", "alive")))
    assert [f.name for f in (state / "runs").iterdir()] == ["b"]


@pytest.mark.parametrize(("life", "left"), [("dead", False), ("alive", True), ("unknown", True)])
def test_the_folder_of_a_run_that_owns_nothing(state: Path, life: str, left: bool) -> None:
    folder = state / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "owner").write_text(thing("r", life).owner)
    reaper.reap_dead(Store())
    assert folder.exists() is left


def test_a_folder_without_an_owner_is_left_alone(state: Path) -> None:
    (state / "runs" / "r").mkdir(parents=True)
    reaper.reap_dead(Store())
    assert (state / "runs" / "r").exists()


def test_old_logs_of_reapers_go(state: Path) -> None:
    (state / "runs").mkdir()
    old, new = (state / "runs" / f"{n}.reaper.log" for n in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    reaper.reap_dead(Store())
    assert new.exists()
    assert not old.exists()


def test_a_run_that_says_done_is_not_reaped() -> None:
    store = Store(thing("a", "alive"))
    assert reaper.watch(store, "a", io.BytesIO(reaper.DONE)) == []
    assert store.things


@pytest.mark.parametrize("said", [b"", b"do"])
def test_a_run_that_says_nothing_or_half_of_it_is_reaped(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "_SETTLE", 0.0)
    store = Store(thing("a", "alive"))
    assert len(reaper.watch(store, "a", io.BytesIO(said))) == 1
    assert store.things == {}


def test_the_pipe_ends_with_its_owner_even_when_it_has_children() -> None:
    """What the reaper relies on: no child of the run inherits the writing end."""
    program = """
import subprocess, sys, os, signal
reader = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read(); print('end')"],
                          stdin=subprocess.PIPE, start_new_session=True)
subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL)
os.kill(os.getpid(), signal.SIGKILL)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=25, check=False
    )
    assert said.stdout == b"end\n"


def test_names_are_unique_and_valid_for_an_engine() -> None:
    run = Run(Store())
    names = [run.name(p) for p in ("test_a[x-/ü]", "test_a[x-/ü]", "", "x" * 300)]
    assert len(set(names)) == 4
    for name in names:
        assert len(name) <= 63
        assert name.isascii()
        assert name.replace("-", "").isalnum()


def test_labels_tell_owner_and_purpose() -> None:
    run = Run(Store())
    labels = run.labels("test_x")
    assert labels["dev.iterate.sandbox.run"] == run.id
    assert liveness.Owner.from_label(labels["dev.iterate.sandbox.owner"]) == liveness.current()
    assert labels["dev.iterate.sandbox.test"] == "test_x"
    assert int(labels["dev.iterate.sandbox.created"]) > 0
    assert "dev.iterate.sandbox.keep" not in labels
    assert Run(Store(), keep=True).labels("x")["dev.iterate.sandbox.keep"] == "1"
