from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import liveness


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_this_process_lives() -> None:
    me = liveness.current()
    assert me.pid == os.getpid()
    assert liveness.life(me) == "alive"


def test_a_process_that_ended_is_dead_before_and_after_it_is_waited_for(
    sleeper: subprocess.Popen[bytes],
) -> None:
    other = liveness.current(sleeper.pid)
    assert liveness.life(other) == "alive"
    sleeper.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert liveness.life(other) == "dead"  # a zombie
    sleeper.wait()
    assert liveness.life(other) == "dead"


def test_a_process_that_took_over_the_pid_is_not_the_owner() -> None:
    earlier = dataclasses.replace(liveness.current(), start="1")
    assert liveness.life(earlier) == "dead"


def test_an_earlier_boot_of_this_machine_ended_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    me = liveness.current()
    monkeypatch.setattr(liveness, "_here", lambda: (me.host, "another boot", me.namespace))
    monkeypatch.setattr(liveness, "_host", lambda: me.host)
    named = dataclasses.replace(me, host="this one")
    monkeypatch.setattr(liveness, "_here", lambda: ("this one", "another boot", me.namespace))
    assert liveness.life(named) == "dead"


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "other", "boot": "other"},  # another machine
        {"namespace": "pid:[1]"},  # another container on this machine
        {"host": "", "boot": "other"},  # a machine that cannot be told from others
    ],
)
def test_who_cannot_be_seen_from_here_is_not_judged(changes: dict[str, str]) -> None:
    stranger = dataclasses.replace(liveness.current(), start="1", **changes)  # type: ignore[arg-type]
    assert liveness.life(stranger) == "unknown"


def test_nobody_is_not_judged() -> None:
    assert liveness.life(None) == "unknown"


def test_labels_go_there_and_back() -> None:
    me = liveness.current()
    assert liveness.Owner.from_label(me.to_label()) == me


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
def test_labels_of_others_are_nobodys(text: str) -> None:
    assert liveness.Owner.from_label(text) is None


@given(st.text())
def test_any_label_is_read_without_a_fuss(text: str) -> None:
    liveness.life(liveness.Owner.from_label(text))


@pytest.mark.parametrize("pid", [-1, 0, 2**31 - 1, 2**40])
def test_pids_that_are_none(pid: int) -> None:
    assert liveness.life(dataclasses.replace(liveness.current(), pid=pid)) == "dead"
