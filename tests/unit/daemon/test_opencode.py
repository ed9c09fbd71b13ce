from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import httpx
import pytest
from iterate_daemon import opencode

if TYPE_CHECKING:
    from collections.abc import Callable


def probe(answer: Callable[[httpx.Request], httpx.Response]) -> opencode.Opencode:
    async def ask() -> opencode.Opencode:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4096") as http:
            return await opencode.probe(http)

    return asyncio.run(ask())


def test_a_healthy_opencode_is_ready() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/global/health"
        return httpx.Response(200, json={"healthy": True, "version": "1.18.33"})

    assert probe(answer) == opencode.Opencode(ready=True, version="1.18.33")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(401), "refuses the password"),
        (httpx.Response(500, text="oops"), "answers 500"),
        (httpx.Response(200, text="<!doctype html>"), "does not answer as opencode does"),
        (httpx.Response(200, json=[]), "answers 200"),
        (httpx.Response(200, json={"healthy": False}), "not healthy"),
        (httpx.Response(200, json={"healthy": "yes"}), "not healthy"),
    ],
)
def test_any_other_answer_is_not_ready_and_gives_a_reason(
    response: httpx.Response, reason: str
) -> None:
    answer = probe(lambda _request: response)
    assert not answer.ready
    assert reason in str(answer.reason)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("refused"), "no answer from 127.0.0.1:4096: refused"),
        (httpx.ReadTimeout(""), "no answer from 127.0.0.1:4096 within 2 s"),
        (httpx.RemoteProtocolError("odd"), "no answer from 127.0.0.1:4096: odd"),
    ],
)
def test_an_opencode_without_an_answer_is_not_ready(
    error: httpx.TransportError, reason: str
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    assert probe(answer).reason == reason


def test_the_password_is_sent_as_basic_auth_and_no_proxy_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    http = opencode.client("http://127.0.0.1:4096", "pw")
    assert not http.trust_env
    request = next(http.auth.sync_auth_flow(http.build_request("GET", "/")))  # type: ignore[union-attr]
    credentials = base64.b64encode(b"opencode:pw").decode()
    assert request.headers["Authorization"] == f"Basic {credentials}"
    asyncio.run(http.aclose())
