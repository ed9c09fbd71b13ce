"""The application through its ASGI interface, as a browser or a program would use it."""

from __future__ import annotations

import asyncio
import logging
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import pytest
from iterate_daemon.app import create_app
from iterate_daemon.auth import Sessions

from tests.unit.daemon.support import (
    BUILD_INFO,
    SHA,
    TOKEN,
    asgi_get,
    bearer,
    config,
    served,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import httpx

COOKIE = Sessions(TOKEN).cookie_name
ORIGIN = {"Origin": "http://localhost:3000"}


def ask(folder: Path, talk: Callable[[httpx.AsyncClient], Awaitable[Any]], **changes: Any) -> Any:
    async def run() -> Any:
        async with served(config(folder, **changes)) as client:
            return await talk(client)

    return asyncio.run(run())


def get(folder: Path, path: str, **options: Any) -> httpx.Response:
    response: httpx.Response = ask(folder, lambda client: client.get(path, **options))
    return response


async def sign_in(client: httpx.AsyncClient, token: object = TOKEN) -> httpx.Response:
    return await client.post("/api/session", json={"token": token}, headers=ORIGIN)


# ── health ──────────────────────────────────────────────────────────────────────────────────


def test_healthz_is_open_and_says_which_source(tmp_path: Path) -> None:
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
    said = response.json()
    assert (said["ready"], said["sha"], said["identity"]) == (False, SHA, "8d" * 32)
    assert said["services"]["iterate-daemon"] == {"ready": True, "version": "0.1.0"}
    assert said["services"]["opencode"]["ready"] is False
    assert "no answer from 127.0.0.1:1" in said["services"]["opencode"]["reason"]
    assert said["problems"] == []


def test_in_local_mode_the_running_source_counts(tmp_path: Path) -> None:
    write_json(tmp_path / "build.json", BUILD_INFO)
    source = {"sha": "ab" * 20, "branch": "topic", "dirty": True}
    write_json(tmp_path / "state.json", {"mode": "local", "source": source})
    assert get(tmp_path, "/healthz").json()["sha"] == "ab" * 20
    status = get(tmp_path, "/api/status", headers=bearer()).json()
    assert status["mode"] == "local"
    assert status["source"] == source
    assert status["image"]["sha"] == SHA


def test_status(tmp_path: Path) -> None:
    write_json(tmp_path / "build.json", BUILD_INFO)
    status = get(tmp_path, "/api/status", headers=bearer()).json()
    assert status["ready"] is False
    assert status["image"]["identity"] == "8d" * 32
    assert status["daemon"]["uptime_seconds"] >= 0
    assert {s["name"] for s in status["services"]} == {"iterate-daemon", "opencode"}
    tools = {t["command"]: t for t in status["tools"]}
    assert list(tools) == ["claude", "opencode", "pi", "bun", "node", "pnpm", "uv"]
    assert tools["bun"]["pinned"] == "1.4.4"
    assert TOKEN not in str(status)


def test_many_at_once_are_one_question_to_opencode(tmp_path: Path) -> None:
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
        changed = config(tmp_path, opencode_url=f"http://127.0.0.1:{port}")
        async with server, served(changed) as client:
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
def test_status_is_closed(tmp_path: Path, headers: dict[str, str]) -> None:
    response = get(tmp_path, "/api/status", headers=headers)
    assert response.status_code == 401
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
def test_the_token_in_the_query_string_is_no_token(tmp_path: Path, name: str) -> None:
    assert get(tmp_path, "/api/status", params={name: TOKEN}).status_code == 401


def test_a_token_that_is_not_ascii(tmp_path: Path) -> None:
    token = "gehëim-令牌"
    header = {b"Authorization": f"Bearer {token}".encode()}
    response = ask(tmp_path, lambda c: c.get("/api/status", headers=header), token=token)
    assert response.status_code == 200


def test_a_session_from_sign_in_to_sign_out(tmp_path: Path) -> None:
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


def test_behind_https_the_cookie_is_secure(tmp_path: Path) -> None:
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
def test_sign_in_refuses(tmp_path: Path, content: bytes, content_type: str, status: int) -> None:
    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return await client.post("/api/session", content=content, headers=headers)

    response = ask(tmp_path, talk)
    assert response.status_code == status
    assert "Set-Cookie" not in response.headers


def test_a_body_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_other_pages_change_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    async def talk(client: httpx.AsyncClient) -> list[int]:
        body = {"token": TOKEN}
        posted = await client.post("/api/session", json=body, headers=headers)
        assert "Set-Cookie" not in posted.headers
        deleted = await client.delete("/api/session", headers=headers)
        return [posted.status_code, deleted.status_code]

    assert ask(tmp_path, talk) == [403, 403]


def test_programs_need_no_origin(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/api/session", json={"token": TOKEN})

    assert ask(tmp_path, talk).status_code == 204


@pytest.mark.timeout(600)
def test_ten_thousand_guesses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iterate_daemon")

    start = time.monotonic()

    async def talk(client: httpx.AsyncClient) -> None:
        statuses = []
        for number in range(5_000):
            guess = f"guess-{number}"
            posted = await sign_in(client, guess)
            asked = await client.get("/api/status", headers=bearer(guess))
            statuses += [posted.status_code, asked.status_code]
            for answer in (posted, asked):
                if answer.status_code == 429:
                    assert 1 <= int(answer.headers["Retry-After"]) <= 6
        seconds = time.monotonic() - start
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 10 + seconds / 6 + 1
        # The right token passes all the while.
        assert (await client.get("/api/status", headers=bearer())).status_code == 200
        assert (await sign_in(client)).status_code == 204

    ask(tmp_path, talk)
    ours = [r for r in caplog.records if r.name.startswith("iterate_daemon")]
    assert 10 <= len(ours) < 100
    said = "\n".join(record.getMessage() for record in ours)
    assert "guess-" not in said
    assert TOKEN not in said
    # Once a minute, and a busy machine needs longer than that for all of them.
    assert 1 <= said.count("too many wrong tokens") <= 1 + (time.monotonic() - start) / 60


# ── the page ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def built(tmp_path: Path) -> Path:
    assets = tmp_path / "dist" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<!doctype html>the page")
    (assets / "index-abc.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    (assets / "link").symlink_to(tmp_path / "secret")
    (assets / "up").symlink_to(tmp_path)
    return tmp_path


def test_the_page_and_its_assets(built: Path) -> None:
    page = get(built, "/")
    assert page.text == "<!doctype html>the page"
    assert page.headers["Cache-Control"] == "no-cache"
    script = get(built, "/assets/index-abc.js")
    assert script.text == "1"
    assert "immutable" in script.headers["Cache-Control"]
    assert "javascript" in script.headers["Content-Type"]


@pytest.mark.parametrize(
    "path", ["/", "/assets/index-abc.js", "/healthz", "/nothing", "/api/status"]
)
def test_every_answer_carries_the_policy(built: Path, path: str) -> None:
    headers = get(built, path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Server" not in headers
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        *("/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/..%2findex.html"),
        *("/assets/..%2f..%2fsecret", "/assets/....//secret", "/assets/%2fetc%2fpasswd"),
        *("/assets//etc/passwd", "/assets/link", "/assets/up/secret", "/assets/", "/assets"),
        *("/assets/..%5c..%5csecret", "/assets/x%00.js", "/assets/%0d%0aSet-Cookie:x", "/secret"),
        *("/%2e%2e/secret", "/index.html/..%2f..%2fsecret", "//evil.com", "//evil.com/.."),
        *("/assets/" + "a" * 300, "/assets/" + "%2e%2e%2f" * 40 + "etc/passwd", "/.git/config"),
    ],
)
def test_nothing_but_the_assets_folder_is_served(built: Path, path: str) -> None:
    # httpx tidies paths up; a hostile client does not.
    status, headers, body = asgi_get(create_app(config(built)), path)
    assert 400 <= status < 500, body
    assert b"secret" not in body
    assert b"location" not in headers


def test_an_unbuilt_page_says_what_to_run(tmp_path: Path) -> None:
    response = get(tmp_path, "/")
    assert response.status_code == 503
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.text.count("\n") == 1
    assert "pnpm --filter @iterate/daemon-web build" in response.text
    assert get(tmp_path, "/assets/index.js").status_code == 404


def test_a_new_build_is_served_as_soon_as_it_is_swapped_in(built: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> list[str]:
        before = await client.get("/")
        fresh = built / "dist.next"
        (fresh / "assets").mkdir(parents=True)
        (fresh / "index.html").write_text("new")
        (fresh / "assets" / "index-def.js").write_text("2")
        (built / "dist").rename(built / "dist.old")
        fresh.rename(built / "dist")
        after = await client.get("/")
        script = await client.get("/assets/index-def.js")
        return [before.text, after.text, script.text]

    assert ask(built, talk) == ["<!doctype html>the page", "new", "2"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/healthz", 405),
        ("PUT", "/api/session", 405),
        ("TRACE", "/", 405),
        ("HEAD", "/healthz", 200),
    ],
)
def test_other_methods_and_paths(tmp_path: Path, method: str, path: str, status: int) -> None:
    assert ask(tmp_path, lambda c: c.request(method, path)).status_code == status
