"""N37 and N38: refused before anything is started, and the key is in no message."""

from __future__ import annotations

import traceback

import pytest

from tasks.base.errors import BadInput
from tasks.daytona import credentials
from tasks.daytona.credentials import read_credentials

KEY = "dtn_" + "0123456789abcdef" * 4


def test_credentials_come_from_the_environment() -> None:
    account = read_credentials({"DAYTONA_API_KEY": KEY})
    assert (account.api_key, account.api_url, account.target) == (
        KEY,
        credentials.DEFAULT_URL,
        None,
    )


@pytest.mark.parametrize(
    "value", [None, "", "   ", "\n", KEY + "\n", " " + KEY, "a b", "ключ", "a\x00"]
)
def test_an_unusable_key_is_refused(value: str | None) -> None:
    environment = {} if value is None else {"DAYTONA_API_KEY": value}
    with pytest.raises(BadInput) as caught:
        read_credentials(environment)
    message = str(caught.value)
    assert "DAYTONA_API_KEY" in message
    assert credentials.KEYS_PAGE in message
    assert "\n" not in message
    assert KEY not in message
    if value is None or not value.strip():
        assert "--stand-in" in message


@pytest.mark.parametrize(
    "url",
    [
        "http://app.daytona.io/api",
        "file:///etc/passwd",
        "https://user:pass@app.daytona.io/api",
        "https://:secretword@app.daytona.io/api",
        "http://169.254.169.254/api",
        "https://169.254.169.254/api",
        "https://[fe80::1]/api",
        "https://[::ffff:169.254.169.254]/api",
        "ftp://x/",
        "app.daytona.io",
        "https://",
        "https://x:port/",
        "https://x/api?key=1",
        "http://127.0.0.1:3000/api",
        "http://localhost/api",
        "https://[::1]/api",
        "https://x/\napi",
    ],
)
def test_an_address_that_must_not_get_the_key_is_refused(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_credentials({"DAYTONA_API_KEY": KEY, "DAYTONA_API_URL": url})
    message = str(caught.value)
    assert "pass" not in message.replace("password", "")
    assert "secretword" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3000/api", "http://localhost:1/api", "http://[::1]:1/api"]
)
def test_an_address_of_this_machine_is_accepted_where_allowed(url: str) -> None:
    environment = {
        "DAYTONA_API_KEY": KEY,
        "DAYTONA_API_URL": url,
        credentials.LOOPBACK_VARIABLE: "1",
    }
    assert read_credentials(environment).is_local


def test_the_permission_for_this_machine_covers_no_other() -> None:
    environment = {
        "DAYTONA_API_KEY": KEY,
        "DAYTONA_API_URL": "http://127.0.0.1.nip.io/api",
        credentials.LOOPBACK_VARIABLE: "1",
    }
    with pytest.raises(BadInput):
        read_credentials(environment)


def test_a_trailing_slash_of_the_address_is_removed() -> None:
    url = credentials.check_url("https://daytona.example/api/", allow_loopback=False)
    assert url == "https://daytona.example/api"


def test_the_key_is_in_no_repr_and_no_traceback() -> None:
    account = read_credentials({"DAYTONA_API_KEY": KEY})
    assert KEY not in repr(account)
    assert KEY not in "".join(traceback.format_exception(ValueError(account)))
