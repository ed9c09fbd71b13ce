"""The application through its ASGI interface, as a browser or a program would use it."""

from __future__ import annotations

import asyncio
import logging
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import pytest
from iterate_daemon.auth import Sessions
from iterate_daemon.versions import TOOLS

from tests.unit.daemon.support import (
    BUILD_INFO,
    SHA,
    TOKEN,
    ask,
    bearer,
    config,
    get,
    open_client,
    write_json,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

COOKIE = Sessions(TOKEN).cookie_name
ORIGIN = {"Origin": "http://localhost:3000"}


async def sign_in(client: httpx.AsyncClient, token: object = TOKEN) -> httpx.Response:
    return await client.post("/api/session", json={"token": token}, headers=ORIGIN)


# ── health ──────────────────────────────────────────────────────────────────────────────────


def test_healthz_needs_no_token_and_names_the_source(tmp_path: Path) -> None:
    write_json(tmp_path / "build.json", BUILD_INFO)
    response = get(tmp_path, "/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "version": "0.1.0", "sha": SHA}
    assert response.headers["Cache-Control"] == "no-store"


def test_healthz_is_degraded_by_problems_of_the_start(tmp_path: Path) -> None:
    build = {"step": "ui", "message": "vite build failed"}
    settings = {"step": "environment", "message": "~/.iterate/.env is loaded without line 3"}
    write_json(tmp_path / "state.json", {"problems": [build]})
    write_json(tmp_path / "environment.json", {"problems": [settings]})
    response = get(tmp_path, "/healthz")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["problems"] == [build, settings]


def test_readyz_is_503_while_opencode_does_not_answer(tmp_path: Path) -> None:
    write_json(tmp_path / "build.json", BUILD_INFO)
    response = get(tmp_path, "/readyz")
    assert response.status_code == 503
    answer = response.json()
    assert (answer["ready"], answer["sha"], answer["identity"]) == (False, SHA, "8d" * 32)
    assert answer["services"]["iterate-daemon"] == {"ready": True, "version": "0.1.0"}
    assert answer["services"]["opencode"]["ready"] is False
    assert "no answer from 127.0.0.1:1" in answer["services"]["opencode"]["reason"]
    assert answer["problems"] == []


def test_local_mode_shows_the_running_source(tmp_path: Path) -> None:
    write_json(tmp_path / "build.json", BUILD_INFO)
    source = {"sha": "ab" * 20, "branch": "topic", "dirty": True}
    write_json(tmp_path / "state.json", {"mode": "local", "source": source})
    assert get(tmp_path, "/healthz").json()["sha"] == "ab" * 20
    status = get(tmp_path, "/api/status", headers=bearer()).json()
    assert status["mode"] == "local"
    assert status["source"] == source
    assert status["image"]["sha"] == SHA


def test_status_shows_source_services_and_tools(tmp_path: Path) -> None:
    write_json(tmp_path / "build.json", BUILD_INFO)
    status = get(tmp_path, "/api/status", headers=bearer()).json()
    assert status["ready"] is False
    assert status["image"]["identity"] == "8d" * 32
    assert status["daemon"]["uptime_seconds"] >= 0
    assert {s["name"] for s in status["services"]} == {"iterate-daemon", "opencode"}
    tools = {t["command"]: t for t in status["tools"]}
    assert list(tools) == [tool.command for tool in TOOLS]
    assert {"claude", "opencode", "pi", "bun"} < set(tools)
    assert tools["bun"]["pinned"] == "1.4.4"
    assert TOKEN not in str(status)


def test_simultaneous_requests_ask_opencode_once(tmp_path: Path) -> None:
    """/readyz needs no token: whoever asks it a lot must not make the daemon ask a lot."""
    questions = 0

    async def opencode(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal questions
        questions += 1
        body = b'{"healthy":true,"version":"1.18.33"}'
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        await writer.drain()
        writer.close()

    async def run() -> list[int]:
        server = await asyncio.start_server(opencode, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        changed_config = config(tmp_path, opencode_url=f"http://127.0.0.1:{port}")
        async with server, open_client(changed_config) as client:
            answers = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(run()) == [200] * 50
    assert questions == 1


# ── who may ask ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Cookie": f"{COOKIE}={TOKEN}"},
        {"Cookie": f"token={TOKEN}"},
        {"X-Token": TOKEN},
    ],
)
def test_status_refuses_a_client_without_the_token(tmp_path: Path, headers: dict[str, str]) -> None:
    response = get(tmp_path, "/api/status", headers=headers)
    assert response.status_code == 401
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
def test_a_token_in_the_query_string_is_refused(tmp_path: Path, name: str) -> None:
    assert get(tmp_path, "/api/status", params={name: TOKEN}).status_code == 401


def test_a_token_beyond_ascii_is_accepted(tmp_path: Path) -> None:
    token = "gehëim-令牌"
    header = {b"Authorization": f"Bearer {token}".encode()}
    response = ask(tmp_path, lambda c: c.get("/api/status", headers=header), token=token)
    assert response.status_code == 200


def test_a_session_lasts_from_sign_in_to_sign_out(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/session")).json() == {"signed_in": False}
        response = await sign_in(client)
        assert response.status_code == 204
        cookie = SimpleCookie(response.headers["Set-Cookie"])[COOKIE]
        assert cookie["httponly"]
        assert cookie["samesite"] == "strict"
        assert cookie["path"] == "/"
        assert cookie["max-age"] == str(12 * 3600)
        assert not cookie["secure"]
        assert TOKEN not in response.headers["Set-Cookie"]
        assert (await client.get("/api/status")).status_code == 200
        assert (await client.get("/api/session")).json() == {"signed_in": True}

        response = await client.delete("/api/session", headers=ORIGIN)
        assert response.status_code == 204
        assert not client.cookies
        stolen = {"Cookie": f"{COOKIE}={cookie.value}"}
        assert (await client.get("/api/status", headers=stolen)).status_code == 401

    ask(tmp_path, talk)


def test_the_cookie_is_secure_behind_https(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        headers = {"Origin": "https://localhost:3000", "X-Forwarded-Proto": "https"}
        return await client.post("/api/session", json={"token": TOKEN}, headers=headers)

    assert "Secure" in ask(tmp_path, talk).headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b'{"token":"wrong"}', "application/json", 401),
        (b'{"token":"\\ud800"}', "application/json", 401),
        (b'{"token":""}', "application/json; charset=utf-8", 401),
        (b'{"token":1}', "application/json", 400),
        (b"{}", "application/json", 400),
        (b"", "application/json", 400),
        (b"[" * 4096, "application/json", 400),
        (b"9" * 4096, "application/json", 400),
        (b"\xff", "application/json", 400),
        (b" " * 5000, "application/json", 413),
        (f"token={TOKEN}".encode(), "application/x-www-form-urlencoded", 415),
        (f'{{"token":"{TOKEN}"}}'.encode(), "text/plain", 415),
        (f'{{"token":"{TOKEN}"}}'.encode(), "", 415),
    ],
)
def test_sign_in_refuses_a_malformed_request(
    tmp_path: Path, content: bytes, content_type: str, status: int
) -> None:
    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return await client.post("/api/session", content=content, headers=headers)

    response = ask(tmp_path, talk)
    assert response.status_code == status
    assert "Set-Cookie" not in response.headers


def test_a_body_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iterate_daemon.app._BODY_SECONDS", 0.2)

    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        async def drip() -> Any:
            yield b'{"tok'
            await asyncio.sleep(30)

        headers = {"Content-Type": "application/json"}
        return await client.post("/api/session", content=drip(), headers=headers)

    assert ask(tmp_path, talk).status_code == 408


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "http://evil.com"},
        {"Origin": "http://localhost:3001"},
        {"Origin": "http://localhost.evil.com:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Cookie": "a=b"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_foreign_page_cannot_sign_in_or_out(tmp_path: Path, headers: dict[str, str]) -> None:
    async def talk(client: httpx.AsyncClient) -> list[int]:
        body = {"token": TOKEN}
        posted = await client.post("/api/session", json=body, headers=headers)
        assert "Set-Cookie" not in posted.headers
        response = await client.delete("/api/session", headers=headers)
        return [posted.status_code, response.status_code]

    assert ask(tmp_path, talk) == [403, 403]


def test_a_program_needs_no_origin(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/api/session", json={"token": TOKEN})

    assert ask(tmp_path, talk).status_code == 204


@pytest.mark.timeout(600)
def test_guesses_are_slowed_down_and_logged_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iterate_daemon")

    start = time.monotonic()

    async def talk(client: httpx.AsyncClient) -> None:
        statuses = []
        for number in range(5_000):
            guess = f"guess-{number}"
            sign_in_response = await sign_in(client, guess)
            status_response = await client.get("/api/status", headers=bearer(guess))
            statuses += [sign_in_response.status_code, status_response.status_code]
            for answer in (sign_in_response, status_response):
                if answer.status_code == 429:
                    assert 1 <= int(answer.headers["Retry-After"]) <= 6
        seconds = time.monotonic() - start
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 10 + seconds / 6 + 1
        # The right token passes all the while.
        assert (await client.get("/api/status", headers=bearer())).status_code == 200
        assert (await sign_in(client)).status_code == 204

    ask(tmp_path, talk)
    records = [r for r in caplog.records if r.name.startswith("iterate_daemon")]
    assert 10 <= len(records) < 100
    log = "\n".join(record.getMessage() for record in records)
    assert "guess-" not in log
    assert TOKEN not in log
    # Once a minute, and a busy machine needs longer than that for all of them.
    assert 1 <= log.count("too many wrong tokens") <= 1 + (time.monotonic() - start) / 60
