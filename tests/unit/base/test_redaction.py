from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.redaction import MASK, names_a_secret, redact, secrets_in

SECRETS = st.text(string.ascii_letters + string.digits + "-_+/=.", min_size=6, max_size=40)


@given(st.text(), SECRETS, st.text())
def test_a_secret_is_removed_wherever_it_stands(head: str, secret: str, tail: str) -> None:
    assert secret not in redact(f"{head}{secret}{tail}{secret}", [secret]).replace(MASK, "\0")


@given(st.lists(SECRETS, max_size=5), st.text())
def test_text_that_is_redacted_stays_as_it_is(secrets: list[str], text: str) -> None:
    redacted_text = redact(text, secrets)
    if not any(secret in MASK for secret in secrets):
        assert redact(redacted_text, secrets) == redacted_text


def test_the_longer_of_two_secrets_is_removed_as_a_whole() -> None:
    assert redact("abcdefghij", ["abcdef", "abcdefghij"]) == MASK


@pytest.mark.parametrize("short", ["", "a", "12345"])
def test_a_short_value_is_not_taken_for_a_secret(short: str) -> None:
    assert redact("a 12345 b", [short]) == "a 12345 b"


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {MASK}"),
        ("authorization: basic b3BlbmNvZGU6eA==", f"authorization: basic {MASK}"),
        ("GITHUB_TOKEN=ghx123456789 next", f"GITHUB_TOKEN={MASK} next"),
        ('{"api_key": "0123456789", "a": 1}', f'{{"api_key": "{MASK}", "a": 1}}'),
        ("https://me:hunter22@example.com/x", f"https://me:{MASK}@example.com/x"),
        ("/auth?token=0123456789&x=1", f"/auth?token={MASK}&x=1"),
        ("key sk-ant-" + "a" * 20 + " end", f"key {MASK} end"),
        ("ghp_" + "a" * 36, MASK),
        ("id AKIA" + "ABCDEFGH23456723, x", f"id {MASK}, x"),
        ("é glpat-" + "a1B2" * 6 + "!", f"é {MASK}!"),
        ("at xoxb-" + "1234567890-abcdefghijKLMNOP\n", f"at {MASK}\n"),
        ("dtn_" + "0a" * 32 + " dtn_" + "1b" * 32, f"{MASK} {MASK}"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
            MASK,
        ),
    ],
)
def test_text_in_the_form_of_a_secret_is_removed(text: str, visible: str) -> None:
    assert redact(text) == visible


@pytest.mark.parametrize(
    "text",
    [
        "up (pid 71 pgid 71) 3 seconds, ready 2 seconds",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "GET /readyz 200 1.2 ms",
        "tokens: 12",
        "https://example.com:8080/path",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    ["GITHUB_TOKEN", "ANTHROPIC_API_KEY", "DB_PASSWORD", "CLIENT_SECRET", "AWS_ACCESS_KEY_ID"],
)
def test_a_name_says_that_its_value_is_a_secret(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["PATH", "HOME", "LANG", "KEYBOARD", "MONKEY_COUNT"])
def test_other_names_do_not_say_that_their_value_is_a_secret(name: str) -> None:
    assert not names_a_secret(name)


def test_secrets_of_an_environment_are_found_by_their_names() -> None:
    assert secrets_in({"A_TOKEN": "1", "PLAIN": "2"}) == {"1"}
