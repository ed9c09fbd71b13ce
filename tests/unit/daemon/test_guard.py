"""The outermost layer, fed with what no HTTP client library would send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iterate_daemon.guard import Guard
from starlette.responses import PlainTextResponse

from tests.unit.daemon.support import LOCAL, asgi_get

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Message

GUARDED = Guard(PlainTextResponse("inside"), allowed_hosts=())


def status(headers: Sequence[tuple[bytes, bytes]], *, target: str = "/") -> int:
    return asgi_get(GUARDED, target, headers=headers)[0]


def test_an_ordinary_request_passes() -> None:
    assert status(LOCAL) == 200


@pytest.mark.parametrize(
    ("headers", "expected_status"),
    [
        ([], 400),
        ([(b"host", b"")], 400),
        ([*LOCAL, *LOCAL], 400),
        ([*LOCAL, (b"host", b"evil.com")], 400),
        ([(b"host", b"local\xffhost")], 400),
        ([(b"host", b"evil.com")], 421),
        ([(b"host", b"localhost.evil.com")], 421),
        ([(b"host", b"127.0.0.1.nip.io:3000")], 421),
    ],
)
def test_a_foreign_or_malformed_host_is_refused(
    headers: list[tuple[bytes, bytes]], expected_status: int
) -> None:
    assert status(headers) == expected_status


@pytest.mark.parametrize(
    "target", ["http://evil.com/", "*", "", "evil.com:443", "/a%00b", "/a%5cb"]
)
def test_a_target_that_is_not_a_plain_path_is_refused(target: str) -> None:
    assert status(LOCAL, target=target) == 400


@pytest.mark.parametrize(
    "headers",
    [
        [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")],
        [(b"upgrade", b"WebSocket")],
        [(b"upgrade", b"h2c, websocket")],
        [(b"sec-websocket-key", b"x")],
        [(b"upgrade", b"websocket"), (b"origin", b"http://localhost:3000")],
        [(b"upgrade", b"websocket"), (b"origin", b"null")],
        [(b"upgrade", b"websocket"), (b"origin", b"http://evil.com")],
    ],
)
def test_a_websocket_handshake_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert status([*LOCAL, *headers]) == 403


def test_a_websocket_is_closed_before_it_is_accepted() -> None:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        messages.append(message)

    asyncio.run(GUARDED({"type": "websocket", "path": "/", "headers": LOCAL}, receive, send))
    assert messages == [{"type": "websocket.close", "code": 1008}]


HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"host", b"origin", b"cookie", b"upgrade", b"sec-fetch-site", b"x"]),
        st.binary(max_size=12)
        | st.sampled_from([b"localhost", b"evil.com", b"http://localhost", b"null", b"none"]),
    ),
    max_size=6,
)


@given(HEADERS, st.sampled_from(["GET", "POST", "DELETE", "BREW"]), st.text(max_size=8))
def test_only_an_allowed_host_and_origin_pass(
    headers: list[tuple[bytes, bytes]], method: str, path: str
) -> None:
    answer, _, body = asgi_get(GUARDED, "/", headers=headers, method=method, path=path)
    assert answer in {200, 400, 403, 421}
    assert (body == b"inside") == (answer == 200)
    if answer != 200:
        return
    assert path.startswith("/")
    hosts = [value for name, value in headers if name == b"host"]
    assert len(hosts) == 1
    assert b"evil" not in hosts[0]
    if method != "GET":
        origins = [value for name, value in headers if name == b"origin"]
        assert origins in ([], [b"http://localhost"], [b"http://" + hosts[0]])
        assert origins or b"cookie" not in [name for name, _ in headers]
