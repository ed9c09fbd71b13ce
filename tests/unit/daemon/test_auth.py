from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iterate_daemon.auth import SESSION_SECONDS, Guesses, Sessions, same_secret


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_valid_until_it_expires() -> None:
    clock = Clock()
    sessions = Sessions("token", now=clock)
    cookie = sessions.start()
    assert sessions.is_valid(cookie)
    clock.now += SESSION_SECONDS
    assert sessions.is_valid(cookie)
    clock.now += 1
    assert not sessions.is_valid(cookie)


def test_a_session_from_the_future_is_refused() -> None:
    clock = Clock()
    sessions = Sessions("token", now=clock)
    cookie = sessions.start()
    clock.now -= 60
    assert not sessions.is_valid(cookie)


def test_an_ended_session_stays_ended_and_others_go_on() -> None:
    sessions = Sessions("token")
    one, other = sessions.start(), sessions.start()
    sessions.end(one)
    assert not sessions.is_valid(one)
    assert sessions.is_valid(other)


def test_ended_sessions_are_forgotten_once_expired() -> None:
    clock = Clock()
    sessions = Sessions("token", now=clock)
    for _ in range(100):
        sessions.end(sessions.start())
    clock.now += SESSION_SECONDS + 1
    sessions.end(sessions.start())
    assert len(sessions._ended) == 1


def test_ending_what_is_no_session_keeps_nothing() -> None:
    sessions = Sessions("token")
    sessions.end("a.b.c")
    sessions.end("")
    assert not sessions._ended


def test_sessions_outlive_the_daemon_and_end_with_the_token() -> None:
    cookie = Sessions("token").start()
    assert Sessions("token").is_valid(cookie)
    assert not Sessions("another").is_valid(cookie)
    assert Sessions("token").cookie_name == Sessions("token").cookie_name
    assert Sessions("token").cookie_name != Sessions("another").cookie_name


@given(st.text(max_size=100))
def test_no_text_is_a_session_by_chance(text: str) -> None:
    assert not Sessions("token").is_valid(text)


@given(st.data())
def test_no_changed_cookie_is_valid(data: st.DataObject) -> None:
    sessions = Sessions("token")
    cookie = sessions.start()
    # Not the last character: base64 leaves some of its bits unused.
    place = data.draw(st.integers(0, len(cookie) - 2))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = cookie[:place] + other + cookie[place + 1 :]
    assert sessions.is_valid(changed) == (changed == cookie)


@given(st.text(), st.text())
def test_secrets_are_the_same_only_when_they_are(one: str, other: str) -> None:
    assert same_secret(one, one)
    assert same_secret(one, other) == (one == other)


def test_lone_surrogates_are_compared_as_well() -> None:
    assert not same_secret("\ud800", "token")


def test_guesses_run_out_and_come_back_one_by_one() -> None:
    clock = Clock()
    guesses = Guesses(burst=3, seconds_each=10, now=clock)
    assert [guesses.spend("1.2.3.4") for _ in range(4)] == [0, 0, 0, 10]
    clock.now += 4
    assert guesses.spend("1.2.3.4") == pytest.approx(6)
    clock.now += 6
    assert [guesses.spend("1.2.3.4") for _ in range(2)] == [0, 10]
    clock.now += 1000
    assert [guesses.spend("1.2.3.4") for _ in range(4)] == [0, 0, 0, 10]


def test_clients_do_not_spend_each_other_s_guesses() -> None:
    guesses = Guesses(burst=1, now=Clock())
    assert guesses.spend("1.2.3.4") == 0
    assert guesses.spend("1.2.3.5") == 0
    assert guesses.spend("1.2.3.4") > 0


def test_an_ipv6_network_is_one_client() -> None:
    guesses = Guesses(burst=1, now=Clock())
    assert guesses.spend("2001:db8::1") == 0
    assert guesses.spend("2001:db8::2") > 0
    assert guesses.spend("2001:db8:0:1::1") == 0


def test_many_clients_take_bounded_memory() -> None:
    guesses = Guesses(clients=100, now=Clock())
    for number in range(10_000):
        guesses.spend(f"client-{number}")
    assert len(guesses._full_at) == 100


@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=200),
    st.integers(1, 20),
    st.floats(0.5, 20),
)
def test_never_more_than_the_budget(pauses: list[float], burst: int, seconds_each: float) -> None:
    """In any time t at most burst + t / seconds_each wrong tokens are looked at."""
    clock = Clock()
    guesses = Guesses(burst=burst, seconds_each=seconds_each, now=clock)
    start, passed = clock.now, 0
    for pause in pauses:
        clock.now += pause
        passed += guesses.spend("c") == 0
        assert passed <= burst + (clock.now - start) / seconds_each + 1e-6
