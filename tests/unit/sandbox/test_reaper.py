from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import liveness, project
from tasks.base.errors import TaskError
from tasks.sandbox import reaper
from tasks.sandbox.ownership import Ownership
from tasks.sandbox.values import Belonging
from tests.unit.sandbox.example_provider import MemoryProvider

if TYPE_CHECKING:
    from pathlib import Path

CURRENT_TIME = 1_000_000.0
LIVES: dict[str, liveness.Life] = {"alive": "alive", "dead": "dead", "unknown": "unknown"}


def belonging(run: str, life: str, *, age: float = 0, keep: bool = False, kind: str = "container",
          name: str = "") -> Belonging:  # fmt: skip
    owner = liveness.Owner(host=life, boot="b", namespace="n", pid=1, start="1")
    return Belonging(
        kind=kind,
        id=name or f"{run}-{kind}",
        name=name or f"{run}-{kind}",
        run=run,
        owner=owner.to_label(),
        created_at=CURRENT_TIME - age,
        keep=keep,
    )


def by_host(owner: liveness.Owner | None) -> liveness.Life:
    assert owner is not None
    return LIVES[owner.host]


def judge(*belongings: Belonging) -> dict[str, reaper.Verdict]:
    return reaper.verdicts(belongings, current_time=CURRENT_TIME, life=by_host)


@pytest.mark.parametrize(
    ("example", "verdict"),
    [
        (belonging("r", "alive"), "alive"),
        (belonging("r", "alive", age=1e9), "alive"),
        (belonging("r", "alive", keep=True), "alive"),
        (belonging("r", "dead"), "dead"),
        (belonging("r", "dead", keep=True), "kept"),
        (belonging("r", "unknown"), "unknown"),
        (belonging("r", "unknown", age=reaper.STRANGER_AGE - 1), "unknown"),
        (belonging("r", "unknown", age=reaper.STRANGER_AGE + 1), "dead"),
        (belonging("r", "unknown", age=reaper.STRANGER_AGE + 1, keep=True), "kept"),
        (belonging("r", "unknown", age=-1e9), "unknown"),
    ],
)
def test_a_verdict_depends_on_life_age_and_keep(
    example: Belonging, verdict: reaper.Verdict
) -> None:
    assert judge(example) == {"r": verdict}


def test_runs_are_judged_one_by_one() -> None:
    assert judge(belonging("a", "dead"), belonging("b", "alive")) == {"a": "dead", "b": "alive"}


def test_a_label_that_is_no_owner_is_unknown() -> None:
    stranger = Belonging(
        kind="container", id="1", name="1", run="r", owner="?", created_at=CURRENT_TIME, keep=False
    )
    assert reaper.verdicts([stranger], current_time=CURRENT_TIME) == {"r": "unknown"}


@given(st.permutations(["alive", "dead", "unknown", "dead", "alive"]))
def test_the_most_careful_verdict_wins_in_any_order(lives: list[str]) -> None:
    assert judge(*(belonging("r", life) for life in lives)) == {"r": "alive"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(project, "state_dir", lambda: tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        liveness, "life", lambda owner: LIVES.get(owner.host, "alive") if owner else "unknown"
    )
    monkeypatch.setattr(reaper.verdicts, "__kwdefaults__", {"life": liveness.life})


def test_only_dead_runs_are_reaped() -> None:
    provider = MemoryProvider(
        belonging("a", "dead"), belonging("b", "alive"), belonging("c", "dead", keep=True)
    )
    assert [t.run for t in reaper.reap_dead(provider)] == ["a"]
    assert {t.run for t in provider.content.values()} == {"b", "c"}


def test_containers_are_deleted_before_what_they_hold() -> None:
    kinds = ("network", "container", "volume", "container")
    provider = MemoryProvider(
        *(belonging("a", "dead", kind=k, name=f"{k}{i}") for i, k in enumerate(kinds))
    )
    reaper.reap_dead(provider)
    assert provider.removed_kinds[:2] == ["container", "container"]
    assert Counter(provider.removed_kinds) == Counter(kinds)


def test_a_named_run_is_reaped_whoever_owns_it() -> None:
    provider = MemoryProvider(
        belonging("a", "alive"), belonging("b", "dead"), belonging("a", "alive", kind="volume")
    )
    assert len(reaper.reap_run(provider, "a")) == 2
    assert {t.run for t in provider.content.values()} == {"b"}


def test_a_belonging_that_appears_late_is_reaped_too() -> None:
    provider = MemoryProvider()
    provider.late = [belonging("a", "dead", name="late")]
    assert [t.name for t in reaper.reap_run(provider, "a", settle=0.3)] == ["late"]
    assert provider.content == {}


def test_a_belonging_that_cannot_be_removed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "_PATIENCE", 0.2)
    provider = MemoryProvider(belonging("a", "dead", name="immortal"))
    provider.stuck = True
    with pytest.raises(TaskError, match="immortal"):
        reaper.reap_run(provider, "a")


def test_the_folder_of_a_reaped_run_is_deleted_with_it(state: Path) -> None:
    for run in ("a", "b"):
        (state / "runs" / run / "checkouts").mkdir(parents=True)
    reaper.reap_dead(MemoryProvider(belonging("a", "dead"), belonging("b", "alive")))
    assert [f.name for f in (state / "runs").iterdir()] == ["b"]


@pytest.mark.parametrize(("life", "remains"), [("dead", False), ("alive", True), ("unknown", True)])
def test_the_folder_of_a_run_without_belongings_is_deleted_when_it_is_dead(
    state: Path, life: str, remains: bool
) -> None:
    folder = state / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "owner").write_text(belonging("r", life).owner)
    reaper.reap_dead(MemoryProvider())
    assert folder.exists() is remains


def test_a_folder_without_an_owner_is_left_alone(state: Path) -> None:
    (state / "runs" / "r").mkdir(parents=True)
    reaper.reap_dead(MemoryProvider())
    assert (state / "runs" / "r").exists()


def test_old_logs_of_reapers_are_deleted(state: Path) -> None:
    (state / "runs").mkdir()
    old, new = (state / "runs" / f"{n}.reaper.log" for n in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    reaper.reap_dead(MemoryProvider())
    assert new.exists()
    assert not old.exists()


def test_a_run_that_takes_its_leave_is_not_reaped() -> None:
    provider = MemoryProvider(belonging("a", "alive"))
    assert reaper.watch(provider, "a", io.BytesIO(reaper.FAREWELL)) == []
    assert provider.content


@pytest.mark.parametrize("farewell", [b"", b"do"])
def test_a_run_whose_pipe_ends_without_a_farewell_is_reaped(
    farewell: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "_SETTLE", 0.0)
    provider = MemoryProvider(belonging("a", "alive"))
    assert len(reaper.watch(provider, "a", io.BytesIO(farewell))) == 1
    assert provider.content == {}


def test_the_pipe_ends_with_its_owner_even_when_it_has_children() -> None:
    """What the reaper relies on: no child of the run inherits the writing end."""
    program = """
import subprocess, sys, os, signal
reader = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read(); print('end')"],
                          stdin=subprocess.PIPE, start_new_session=True)
subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL)
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=25, check=False
    )
    assert result.stdout == b"end\n"


def test_names_are_unique_and_valid_for_an_engine() -> None:
    run = Ownership("memory")
    names = [run.name(p) for p in ("test_a[x-/ü]", "test_a[x-/ü]", "", "x" * 300)]
    assert len(set(names)) == 4
    for name in names:
        assert len(name) <= 63
        assert name.isascii()
        assert name.replace("-", "").isalnum()


def test_labels_name_the_owner_and_the_purpose() -> None:
    run = Ownership("memory")
    labels = run.labels("test_x")
    assert labels[f"{project.LABEL}.run"] == run.id
    assert liveness.Owner.from_label(labels[f"{project.LABEL}.owner"]) == liveness.current()
    assert labels[f"{project.LABEL}.test"] == "test_x"
    assert int(labels[f"{project.LABEL}.created"]) > 0
    assert f"{project.LABEL}.keep" not in labels
    assert Ownership("memory", keep=True).labels("x")[f"{project.LABEL}.keep"] == "1"
