"""N37 and N38: refused before anything is started, and the key is in no message."""

from __future__ import annotations

import traceback

import pytest

from tasks.base.errors import BadInput
from tasks.daytona import adapter

KEY = "dtn_" + "0123456789abcdef" * 4


def test_the_environment_is_enough() -> None:
    found = adapter.credentials({"DAYTONA_API_KEY": KEY})
    assert (found.api_key, found.api_url, found.target) == (KEY, adapter.DEFAULT_URL, None)


@pytest.mark.parametrize(
    "value", [None, "", "   ", "\n", KEY + "\n", " " + KEY, "a b", "ключ", "a\x00"]
)
def test_a_key_that_cannot_be_one(value: str | None) -> None:
    environment = {} if value is None else {"DAYTONA_API_KEY": value}
    with pytest.raises(BadInput) as caught:
        adapter.credentials(environment)
    said = str(caught.value)
    assert "DAYTONA_API_KEY" in said
    assert adapter.KEYS_PAGE in said
    assert "\n" not in said
    assert KEY not in said
    if value is None or not value.strip():
        assert "--stand-in" in said


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
def test_addresses_the_key_is_not_sent_to(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        adapter.credentials({"DAYTONA_API_KEY": KEY, "DAYTONA_API_URL": url})
    said = str(caught.value)
    assert "pass" not in said.replace("password", "")
    assert "secretword" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3000/api", "http://localhost:1/api", "http://[::1]:1/api"]
)
def test_this_machine_where_it_is_allowed(url: str) -> None:
    environment = {
        "DAYTONA_API_KEY": KEY,
        "DAYTONA_API_URL": url,
        adapter.LOOPBACK_VARIABLE: "1",
    }
    assert adapter.credentials(environment).is_local


def test_allowing_this_machine_allows_no_other() -> None:
    environment = {
        "DAYTONA_API_KEY": KEY,
        "DAYTONA_API_URL": "http://127.0.0.1.nip.io/api",
        adapter.LOOPBACK_VARIABLE: "1",
    }
    with pytest.raises(BadInput):
        adapter.credentials(environment)


def test_a_slash_at_the_end_is_taken_off() -> None:
    url = adapter.check_url("https://daytona.example/api/", allow_loopback=False)
    assert url == "https://daytona.example/api"


def test_the_key_is_in_no_repr_and_no_traceback() -> None:
    found = adapter.credentials({"DAYTONA_API_KEY": KEY})
    assert KEY not in repr(found)
    assert KEY not in "".join(traceback.format_exception(ValueError(found)))
