from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iterate_daemon.auth import SESSION_SECONDS, GuessBudget, Sessions, secrets_match

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.moment = 1_000_000.0

    def __call__(self) -> float:
        return self.moment


def test_a_session_is_valid_until_it_expires() -> None:
    clock = Clock()
    sessions = Sessions("token", clock=clock)
    cookie = sessions.start()
    assert sessions.is_valid(cookie)
    clock.moment += SESSION_SECONDS
    assert sessions.is_valid(cookie)
    clock.moment += 1
    assert not sessions.is_valid(cookie)


def test_a_session_from_the_future_is_refused() -> None:
    clock = Clock()
    sessions = Sessions("token", clock=clock)
    cookie = sessions.start()
    clock.moment -= 60
    assert not sessions.is_valid(cookie)


def test_an_ended_session_leaves_the_next_one_valid() -> None:
    sessions = Sessions("token")
    first, second = sessions.start(), sessions.start()
    sessions.end(first)
    assert not sessions.is_valid(first)
    assert sessions.is_valid(second)


def test_an_ended_session_stays_ended_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state" / "ended.json"
    sessions = Sessions("token", file)
    first, second = sessions.start(), sessions.start()
    sessions.end(first)
    restarted = Sessions("token", file)
    assert not restarted.is_valid(first)
    assert restarted.is_valid(second)
    assert [path.name for path in file.parent.iterdir()] == ["ended.json"]
    assert first.partition(".")[0] not in file.read_text()


@pytest.mark.parametrize("content", ["", "[]", "null", '{"a": null}', '{"a": []}', "[" * 100_000])
def test_an_unreadable_list_of_ended_sessions_is_begun_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ended.json"
    file.write_text(content)
    sessions = Sessions("token", file)
    cookie = sessions.start()
    sessions.end(cookie)
    assert not Sessions("token", file).is_valid(cookie)


def test_a_session_ends_although_that_cannot_be_stored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sessions = Sessions("token", tmp_path / "file" / "ended.json")
    cookie = sessions.start()
    sessions.end(cookie)
    assert not sessions.is_valid(cookie)


def test_ended_sessions_are_forgotten_once_expired() -> None:
    clock = Clock()
    sessions = Sessions("token", clock=clock)
    for _ in range(100):
        sessions.end(sessions.start())
    clock.moment += SESSION_SECONDS + 1
    sessions.end(sessions.start())
    assert len(sessions._ended_sessions) == 1


def test_an_invalid_cookie_ends_no_session() -> None:
    sessions = Sessions("token")
    sessions.end("a.b.c")
    sessions.end("")
    assert not sessions._ended_sessions


def test_sessions_outlive_the_daemon_and_end_with_the_token() -> None:
    cookie = Sessions("token").start()
    assert Sessions("token").is_valid(cookie)
    assert not Sessions("another").is_valid(cookie)
    assert Sessions("token").cookie_name == Sessions("token").cookie_name
    assert Sessions("token").cookie_name != Sessions("another").cookie_name


@given(st.text(max_size=100))
def test_a_random_text_is_not_a_session(text: str) -> None:
    assert not Sessions("token").is_valid(text)


@given(st.data())
def test_a_changed_cookie_is_invalid(data: st.DataObject) -> None:
    sessions = Sessions("token")
    cookie = sessions.start()
    # Not the last character: base64 leaves some of its bits unused.
    place = data.draw(st.integers(0, len(cookie) - 2))
    character = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed_cookie = cookie[:place] + character + cookie[place + 1 :]
    assert sessions.is_valid(changed_cookie) == (changed_cookie == cookie)


@given(st.text(), st.text())
def test_secrets_match_only_when_they_are_equal(first: str, second: str) -> None:
    assert secrets_match(first, first)
    assert secrets_match(first, second) == (first == second)


def test_lone_surrogates_are_compared_as_well() -> None:
    assert not secrets_match("\ud800", "token")


def test_the_guess_budget_runs_out_and_is_refilled() -> None:
    clock = Clock()
    budget = GuessBudget(burst=3, seconds_each=10, clock=clock)
    assert [budget.spend("1.2.3.4") for _ in range(4)] == [0, 0, 0, 10]
    clock.moment += 4
    assert budget.spend("1.2.3.4") == pytest.approx(6)
    clock.moment += 6
    assert [budget.spend("1.2.3.4") for _ in range(2)] == [0, 10]
    clock.moment += 1000
    assert [budget.spend("1.2.3.4") for _ in range(4)] == [0, 0, 0, 10]


def test_each_client_has_its_own_guess_budget() -> None:
    budget = GuessBudget(burst=1, clock=Clock())
    assert budget.spend("1.2.3.4") == 0
    assert budget.spend("1.2.3.5") == 0
    assert budget.spend("1.2.3.4") > 0


def test_an_ipv6_network_is_one_client() -> None:
    budget = GuessBudget(burst=1, clock=Clock())
    assert budget.spend("2001:db8::1") == 0
    assert budget.spend("2001:db8::2") > 0
    assert budget.spend("2001:db8:0:1::1") == 0


def test_many_clients_take_bounded_memory() -> None:
    budget = GuessBudget(clients=100, clock=Clock())
    for number in range(10_000):
        budget.spend(f"client-{number}")
    assert len(budget._full_at) == 100


@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=200),
    st.integers(1, 20),
    st.floats(0.5, 20),
)
def test_a_client_never_guesses_more_than_its_budget(
    pauses: list[float], burst: int, seconds_each: float
) -> None:
    """In any time t at most burst + t / seconds_each wrong tokens are looked at."""
    clock = Clock()
    budget = GuessBudget(burst=burst, seconds_each=seconds_each, clock=clock)
    start, count = clock.moment, 0
    for pause in pauses:
        clock.moment += pause
        count += budget.spend("c") == 0
        assert count <= burst + (clock.moment - start) / seconds_each + 1e-6
