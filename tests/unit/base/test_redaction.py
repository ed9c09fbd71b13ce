from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.redaction import MASK, names_a_secret, parse_env_file, redact, secrets_in

SECRETS = st.text(string.ascii_letters + string.digits + "-_+/=.", min_size=6, max_size=40)


@given(st.text(), SECRETS, st.text())
def test_a_known_value_is_nowhere(before: str, secret: str, after: str) -> None:
    assert secret not in redact(f"{before}{secret}{after}{secret}", [secret]).replace(MASK, "\0")


@given(st.lists(SECRETS, max_size=5), st.text())
def test_redacting_again_changes_nothing(secrets: list[str], text: str) -> None:
    once = redact(text, secrets)
    if not any(secret in MASK for secret in secrets):
        assert redact(once, secrets) == once


def test_the_longer_of_two_secrets_goes_whole() -> None:
    assert redact("abcdefghij", ["abcdef", "abcdefghij"]) == MASK


@pytest.mark.parametrize("short", ["", "a", "12345"])
def test_a_short_value_tears_no_holes(short: str) -> None:
    assert redact("a 12345 b", [short]) == "a 12345 b"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {MASK}"),
        ("authorization: basic b3BlbmNvZGU6eA==", f"authorization: basic {MASK}"),
        ("GITHUB_TOKEN=ghx123456789 next", f"GITHUB_TOKEN={MASK} next"),
        ('{"api_key": "0123456789", "a": 1}', f'{{"api_key": "{MASK}", "a": 1}}'),
        ("https://me:hunter22@example.com/x", f"https://me:{MASK}@example.com/x"),
        ("/auth?token=0123456789&x=1", f"/auth?token={MASK}&x=1"),
        ("key sk-ant-" + "a" * 20 + " end", f"key {MASK} end"),
        ("ghp_" + "a" * 36, MASK),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
            MASK,
        ),
    ],
)
def test_what_has_the_form_of_a_secret(text: str, left: str) -> None:
    assert redact(text) == left


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
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    ["GITHUB_TOKEN", "ANTHROPIC_API_KEY", "DB_PASSWORD", "CLIENT_SECRET", "AWS_ACCESS_KEY_ID"],
)
def test_names_of_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["PATH", "HOME", "LANG", "KEYBOARD", "MONKEY_COUNT"])
def test_names_of_no_secrets(name: str) -> None:
    assert not names_a_secret(name)


def test_secrets_of_an_environment() -> None:
    assert secrets_in({"A_TOKEN": "1", "PLAIN": "2"}) == {"1"}


def test_env_files() -> None:
    text = "# note\nA=1\nexport B='two words'\n\nnot a line\n C=\"x=y\"\n#D=4\n"
    assert parse_env_file(text) == {"A": "1", "B": "two words", "C": "x=y"}
