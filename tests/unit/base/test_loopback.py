"""Loopback needs no proxy, whichever variable sets one and whatever else is exempt."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import loopback
from tasks.base.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXY = "http://proxy.example:3128"
VARIABLES = [
    form(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "npm_config_https_proxy")
    for form in (str.lower, str.upper)
]


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("exempt", [{}, {"no_proxy": "a.example"}, {"NO_PROXY": "a.example"}])
def test_loopback_joins_what_the_user_exempted(name: str, exempt: Mapping[str, str]) -> None:
    result = loopback.exempt({name: PROXY, **exempt})
    entries = [*exempt.values(), *loopback.HOSTS]
    assert result == {"no_proxy": ",".join(entries), "NO_PROXY": ",".join(entries)}


@pytest.mark.parametrize(
    "environment",
    [{}, {"no_proxy": "a.example"}, {"http_proxy": ""}, {"HTTPS_PROXY": "", "PROXY": PROXY}],
)
def test_without_a_proxy_nothing_is_set(environment: Mapping[str, str]) -> None:
    assert loopback.exempt(environment) == {}


def test_both_spellings_are_joined_and_nothing_stands_twice() -> None:
    environment = {"http_proxy": PROXY, "no_proxy": ".a, localhost b", "NO_PROXY": ".c,.a"}
    result = loopback.exempt(environment)
    assert result["no_proxy"] == ".a,localhost,b,.c,127.0.0.1,127.0.0.0/8,::1"
    assert loopback.exempt({**environment, **result}) == result


def test_a_star_exempts_everything_and_stands_alone() -> None:
    assert loopback.exempt({"http_proxy": PROXY, "NO_PROXY": "*"})["no_proxy"] == "*"


@given(st.dictionaries(st.sampled_from([*VARIABLES, "no_proxy", "NO_PROXY"]), st.text()))
def test_any_value_is_taken_and_doing_it_twice_changes_nothing(environment: dict[str, str]) -> None:
    result = loopback.exempt(environment)
    assert loopback.exempt({**environment, **result}) == result


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_httpx_agrees(name: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _surround(monkeypatch, {name: PROXY})
    with httpx.Client() as client:
        direct = client._transport_for_url(httpx.URL(f"http://{host}:3000/"))
        other = client._transport_for_url(httpx.URL("http://other.example/"))
    assert direct is client._transport
    assert other is not client._transport


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "localhost:3000", "127.0.0.1:3000"])
def test_urllib_agrees(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _surround(monkeypatch, {"http_proxy": PROXY})
    assert urllib.request.proxy_bypass(host)
    assert not urllib.request.proxy_bypass("other.example")


def test_every_command_exempts_loopback_for_itself_and_its_children() -> None:
    """`--help` ends before any work; the environment is set before it."""
    program = (
        "import os, sys; from tasks import __main__; __main__.main(['--help']);"
        " print(os.environ['no_proxy'], os.environ['NO_PROXY'], file=sys.stderr)"
    )
    clean = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**clean, "HTTP_PROXY": PROXY},
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    exempt = ",".join(loopback.HOSTS)
    assert answer.stderr.splitlines()[-1] == f"{exempt} {exempt}"


def _surround(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {**environment, **loopback.exempt(environment)}.items():
        monkeypatch.setenv(name, value)
