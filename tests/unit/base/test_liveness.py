from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import liveness
from tests.support import pid_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        yield child
        child.kill()


def test_the_current_process_is_alive() -> None:
    owner = liveness.current()
    assert owner.pid == os.getpid()
    assert liveness.life(owner) == "alive"


def test_a_process_that_ended_is_dead_before_and_after_it_is_waited_for(
    sleeper: subprocess.Popen[bytes],
) -> None:
    owner = liveness.current(sleeper.pid)
    assert liveness.life(owner) == "alive"
    sleeper.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert liveness.life(owner) == "dead"  # a zombie
    sleeper.wait()
    assert liveness.life(owner) == "dead"


def test_a_process_that_took_over_the_pid_is_not_the_owner() -> None:
    earlier = dataclasses.replace(liveness.current(), start="1")
    assert liveness.life(earlier) == "dead"


def test_an_earlier_boot_of_this_machine_ended_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = dataclasses.replace(liveness.current(), host="this one")
    rebooted = (owner.host, "another boot", owner.namespace)
    monkeypatch.setattr(liveness, "_surroundings", lambda: rebooted)
    assert liveness.life(owner) == "dead"


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "other", "boot": "other"},  # another machine
        {"namespace": "pid:[1]"},  # another container on this machine
        {"host": "", "boot": "other"},  # a machine that cannot be told from others
    ],
)
def test_an_owner_elsewhere_is_not_judged(changes: dict[str, str]) -> None:
    stranger = dataclasses.replace(liveness.current(), start="1", **changes)  # type: ignore[arg-type]
    assert liveness.life(stranger) == "unknown"


@pytest.mark.parametrize("mount", [True, False], ids=["with its own /proc", "with the old /proc"])
def test_owners_in_another_pid_namespace_are_not_judged(
    sleeper: subprocess.Popen[bytes], *, mount: bool
) -> None:
    """Neither way round, although both have the boot id in common; and each knows its own."""
    program = """if True:
        import os, subprocess, sys
        from tasks.base import liveness
        child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL)
        own = liveness.current()
        judged = [liveness.Owner.from_label(label) for label in sys.argv[1:]]
        print(own.to_label(), *map(liveness.life, [own, *judged]))
        child.kill()
    """
    alive, dead = liveness.current(), liveness.current(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert [liveness.life(alive), liveness.life(dead)] == ["alive", "dead"]
    output = pid_namespace.run_python(
        program, alive.to_label(), dead.to_label(), mount_proc=mount
    ).split()
    assert output[-3:] == ["alive", "unknown", "unknown"]
    assert liveness.life(liveness.Owner.from_label(" ".join(output[:-3]))) == "unknown"


def test_a_machine_that_cannot_tell_its_boot_does_not_judge(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "_surroundings", lambda: ("", "", ""))
    owner = liveness.current(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert liveness.life(owner) == "unknown"


def test_an_owner_whose_start_is_not_known_is_not_judged_while_there_is_such_a_process() -> None:
    assert liveness.life(dataclasses.replace(liveness.current(), start="")) == "unknown"


def test_a_signed_folder_tells_of_its_owner(tmp_path: Path) -> None:
    assert liveness.life_of(tmp_path) == "unknown"
    liveness.sign(tmp_path)
    assert liveness.life_of(tmp_path) == "alive"
    owner = dataclasses.replace(liveness.current(), start="1")
    (tmp_path / "owner").write_text(owner.to_label())
    assert liveness.life_of(tmp_path) == "dead"
    (tmp_path / "owner").write_bytes(b"\xff\x00")
    assert liveness.life_of(tmp_path) == "unknown"


def test_no_owner_is_not_judged() -> None:
    assert liveness.life(None) == "unknown"


def test_an_owner_is_read_from_its_label() -> None:
    owner = liveness.current()
    assert liveness.Owner.from_label(owner.to_label()) == owner


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", "1", '"x"', "{"),
        '{"pid": 1}',
        '{"host":"h","boot":"b","namespace":"n","pid":"1","start":"s"}',
        '{"host":"h","boot":"b","namespace":"n","pid":true,"start":"s"}',
        '{"host":1,"boot":"b","namespace":"n","pid":1,"start":"s"}',
        '{"host":"h","boot":"b","namespace":"n","pid":1,"start":"s","more":1}',
    ],
)
def test_another_text_is_no_owner(text: str) -> None:
    assert liveness.Owner.from_label(text) is None


@given(st.text())
def test_any_text_can_be_read_as_a_label(text: str) -> None:
    liveness.life(liveness.Owner.from_label(text))


@pytest.mark.parametrize("pid", [-1, 0, 2**31 - 1, 2**40])
def test_an_impossible_pid_is_dead(pid: int) -> None:
    assert liveness.life(dataclasses.replace(liveness.current(), pid=pid)) == "dead"
