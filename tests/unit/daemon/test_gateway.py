"""The way to OpenCode through the daemon: who passes, and that what passes is not changed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.unit.daemon.test_server import Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

PASSWORD = "right-pony"
BASIC = "Basic " + base64.b64encode(f"opencode:{PASSWORD}".encode()).decode()
WRONG = "Basic " + base64.b64encode(b"opencode:wrong").decode()


class OpencodeServer:
    """As opencode 1.18.33 answers: Basic authentication, no look at Host and Origin."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.stream_ended = threading.Event()
        app = Starlette(
            routes=[
                Route("/event", self._event),
                WebSocketRoute("/pty/1/connect", self._terminal),
                Route("/{path:path}", self._echo, methods=["GET", "POST", "PUT", "DELETE", "HEAD"]),
            ]
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="critical", ws="websockets-sansio", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._listener.close()

    async def _echo(self, request: Request) -> Response:
        self.requests.append(request)
        if request.headers.get("authorization") != BASIC:
            return Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="Secure"'})
        body = await request.body()
        return JSONResponse(
            {
                "method": request.method,
                "target": request.scope["raw_path"].decode() + "?" + request.url.query,
                "headers": dict(request.headers),
                "body": body.decode("latin-1"),
            },
            status_code=201,
            headers={"X-Of": "opencode"},
        )

    async def _event(self, _request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            try:
                for number in range(1000):
                    yield b"data: %d\n\n" % number
                    await asyncio.sleep(0.05)
            finally:
                self.stream_ended.set()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _terminal(self, websocket: WebSocket) -> None:
        if websocket.headers.get("authorization") != BASIC and "ticket" not in websocket.url.query:
            await websocket.close()
            return
        await websocket.accept()
        while (text := await websocket.receive_text()) != "exit":
            await websocket.send_text(f"{text}!")
            await websocket.send_bytes(b"\0" * 3_000_000)
        await websocket.close(code=4000, reason="exited")


@pytest.fixture(scope="module")
def opencode() -> Iterator[OpencodeServer]:
    server = OpencodeServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def daemon(opencode: OpencodeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with _running(tmp_path_factory, ITERATE_OPENCODE_URL=opencode.url) as daemon:
        yield daemon


@contextlib.contextmanager
def _running(tmp_path_factory: pytest.TempPathFactory, **env: str) -> Iterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("daemon")
    variables = {"ITERATE_GATEWAY_PORT": str(port), **env}
    with running(folder, **variables) as daemon:  # type: ignore[arg-type]
        daemon.gateway_port = port
        yield daemon


@pytest.fixture
def http(daemon: Running, opencode: OpencodeServer) -> Iterator[httpx.Client]:
    opencode.requests.clear()
    with _client(daemon) as client:
        yield client


def _client(daemon: Running) -> httpx.Client:
    base = f"http://localhost:{daemon.gateway_port}"
    return httpx.Client(base_url=base, trust_env=False, timeout=20)


def test_a_request_and_its_answer_pass_unchanged(http: httpx.Client) -> None:
    answer = http.post(
        "/session/a%2Fb",
        params={"directory": "/a+b"},
        content=b"\0\xff" * 100_000,
        headers={"Authorization": BASIC, "X-Name": "value", "Content-Type": "x/y"},
    )
    assert answer.status_code == 201
    assert answer.headers["X-Of"] == "opencode"
    request = answer.json()
    assert (request["method"], request["target"]) == ("POST", "/session/a%2Fb?directory=%2Fa%2Bb")
    assert request["body"] == "\0\xff" * 100_000
    assert request["headers"]["x-name"] == "value"
    assert request["headers"]["host"] == http.base_url.netloc.decode()


def test_a_body_without_a_length_passes(http: httpx.Client) -> None:
    chunks = (b"chunk" for _ in range(3))
    answer = http.put("/x", content=chunks, headers={"Authorization": BASIC})
    assert answer.json()["body"] == "chunk" * 3


def test_the_daemons_session_stays_with_the_daemon(http: httpx.Client) -> None:
    cookies = "theme=dark; iterate_session_1234=secret"
    answer = http.get("/x", headers={"Authorization": BASIC, "Cookie": cookies})
    assert answer.json()["headers"]["cookie"] == "theme=dark"


def test_events_arrive_as_they_happen_and_end_with_the_client(
    http: httpx.Client, opencode: OpencodeServer
) -> None:
    with http.stream("GET", "/event", headers={"Authorization": BASIC}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
    assert opencode.stream_ended.wait(20)


@pytest.mark.parametrize(
    ("method", "headers", "expected_status"),
    [
        ("POST", {"Origin": "http://localhost:9999"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Origin": "http://evil.example"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        (
            "GET",
            {
                "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "iframe",
            },
            403,
        ),
        (
            "POST",
            {
                "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
            },
            403,
        ),
        (
            "GET",
            {
                "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
            },
            201,
        ),
        ("GET", {"Host": "evil.example"}, 421),
        ("POST", {"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ("POST", {"Origin": "OWN", "Sec-Fetch-Site": "same-origin"}, 201),
        ("POST", {}, 201),
    ],
)
def test_only_opencodes_own_page_and_programs_pass(
    http: httpx.Client,
    opencode: OpencodeServer,
    method: str,
    headers: dict[str, str],
    expected_status: int,
) -> None:
    own_origin = str(http.base_url).rstrip("/")
    values = {k: own_origin if v == "OWN" else v for k, v in headers.items()}
    answer = http.request(method, "/pty", headers={"Authorization": BASIC, **values})
    assert answer.status_code == expected_status
    assert len(opencode.requests) == (expected_status == 201)


def test_a_password_in_the_address_is_refused(http: httpx.Client, opencode: OpencodeServer) -> None:
    answer = http.get("/config", params={"auth_token": "eA=="}, headers={"Authorization": BASIC})
    assert answer.status_code == 400
    assert not opencode.requests


def test_guesses_are_limited_but_the_right_password_always_passes(
    opencode: OpencodeServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    wrong, right = {"Authorization": WRONG}, {"Authorization": BASIC}
    with (
        _running(tmp_path_factory, ITERATE_OPENCODE_URL=opencode.url) as daemon,
        _client(daemon) as http,
    ):
        statuses = [http.get("/config", headers=wrong).status_code for _ in range(25)]
        assert statuses[:20] == [401] * 20
        assert set(statuses[20:]) == {429}
        assert http.get("/config", headers=right).status_code == 201
        # A browser asks without a password first: that is not a guess.
        plain = http.get("/config")
    assert plain.status_code == 401
    assert plain.headers["WWW-Authenticate"].startswith("Basic")


def test_while_opencode_is_down_the_answer_says_where_to_look(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with _running(tmp_path_factory, ITERATE_OPENCODE_URL="http://127.0.0.1:1") as daemon:
        answer = httpx.get(f"http://127.0.0.1:{daemon.gateway_port}/", trust_env=False)
        assert answer.status_code == 503
        assert "/var/log/opencode/current" in answer.text


def test_the_daemons_own_port_does_not_lead_to_opencode(
    daemon: Running, opencode: OpencodeServer
) -> None:
    opencode.requests.clear()
    headers = {"Authorization": BASIC}
    url = f"http://127.0.0.1:{daemon.port}/config"
    assert httpx.get(url, headers=headers, trust_env=False).status_code == 404
    assert not opencode.requests


@pytest.mark.parametrize("query", ["", "?ticket=1"])
def test_a_terminal_passes_both_ways(daemon: Running, query: str) -> None:
    address = f"localhost:{daemon.gateway_port}"
    with connect(
        f"ws://{address}/pty/1/connect{query}",
        origin=Origin(f"http://{address}"),
        additional_headers={} if query else {"Authorization": BASIC},
        max_size=None,
        proxy=None,
    ) as websocket:
        websocket.send("ls ✓")
        assert websocket.recv(timeout=20) == "ls ✓!"
        assert websocket.recv(timeout=20) == b"\0" * 3_000_000
        websocket.send("exit")
        with contextlib.suppress(Exception):
            websocket.recv(timeout=20)
        assert (websocket.close_code, websocket.close_reason) == (4000, "exited")


@pytest.mark.parametrize("origin", ["http://localhost:1", "null", "http://evil.example"])
def test_a_foreign_page_opens_no_terminal(daemon: Running, origin: str) -> None:
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(
            f"ws://localhost:{daemon.gateway_port}/pty/1/connect",
            origin=Origin(origin),
            additional_headers={"Authorization": BASIC},
            proxy=None,
        ),
    ):
        pass


def test_a_terminal_needs_the_password(daemon: Running) -> None:
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"ws://localhost:{daemon.gateway_port}/pty/1/connect", proxy=None),
    ):
        pass
