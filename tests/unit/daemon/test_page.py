"""The page and its assets, as the application serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from iterate_daemon.app import create_app

from tests.unit.daemon.support import (
    asgi_get,
    ask,
    config,
    get,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx


@pytest.fixture
def built_page(tmp_path: Path) -> Path:
    assets = tmp_path / "dist" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<!doctype html>the page")
    (assets / "index-abc.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    (assets / "link").symlink_to(tmp_path / "secret")
    (assets / "up").symlink_to(tmp_path)
    return tmp_path


def test_the_page_and_its_assets_are_served(built_page: Path) -> None:
    page = get(built_page, "/")
    assert page.text == "<!doctype html>the page"
    assert page.headers["Cache-Control"] == "no-cache"
    script = get(built_page, "/assets/index-abc.js")
    assert script.text == "1"
    assert "immutable" in script.headers["Cache-Control"]
    assert "javascript" in script.headers["Content-Type"]


@pytest.mark.parametrize(
    "path", ["/", "/assets/index-abc.js", "/healthz", "/nothing", "/api/status"]
)
def test_every_answer_carries_the_policy(built_page: Path, path: str) -> None:
    headers = get(built_page, path).headers
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
def test_nothing_but_the_assets_folder_is_served(built_page: Path, path: str) -> None:
    # httpx tidies paths up; a hostile client does not.
    status, headers, body = asgi_get(create_app(config(built_page)), path)
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


def test_a_new_build_is_served_as_soon_as_it_is_swapped_in(built_page: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> list[str]:
        old_page = await client.get("/")
        fresh = built_page / "dist.next"
        (fresh / "assets").mkdir(parents=True)
        (fresh / "index.html").write_text("new")
        (fresh / "assets" / "index-def.js").write_text("2")
        (built_page / "dist").rename(built_page / "dist.old")
        fresh.rename(built_page / "dist")
        new_page = await client.get("/")
        script = await client.get("/assets/index-def.js")
        return [old_page.text, new_page.text, script.text]

    assert ask(built_page, talk) == ["<!doctype html>the page", "new", "2"]


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
def test_an_unknown_method_or_path_is_refused(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    assert ask(tmp_path, lambda c: c.request(method, path)).status_code == status
