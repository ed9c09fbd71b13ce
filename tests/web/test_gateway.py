"""OpenCode's own page, through the daemon's gateway; and other pages that try to use it."""

from __future__ import annotations

import http.server
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from tasks.base import project
from tests.support import loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext

    from tasks.sandbox.sandbox import Sandbox

ATTACK = """async url => {
    const body = new Blob(['{"command":"/bin/sh","args":["-c","touch /tmp/attacked"]}'])
    await fetch(url + '/pty', {method: 'POST', mode: 'no-cors', credentials: 'include', body})
    const socket = new WebSocket(url.replace('http', 'ws') + '/pty/x/connect')
    return await new Promise(resolve => {
        socket.onopen = () => resolve('open')
        socket.onerror = () => resolve('refused')
    })
}"""


@pytest.fixture(scope="module")
def password(sandbox: Sandbox) -> str:
    return sandbox.read(f"{project.HOME}/.iterate/opencode-password").decode().strip()


@pytest.fixture
def signed_in_browser(chromium: Browser, password: str) -> Iterator[BrowserContext]:
    """It sends OpenCode's password to OpenCode, as after a person's sign-in."""
    credentials = {"username": "opencode", "password": password}
    context = chromium.new_context(http_credentials=credentials)  # type: ignore[arg-type]
    yield context
    context.close()


def test_opencodes_page_opens(signed_in_browser: BrowserContext, sandbox: Sandbox) -> None:
    page = signed_in_browser.new_page()
    failures: list[str] = []
    page.on("response", lambda r: failures.append(f"{r.status} {r.url}") if not r.ok else None)
    page.goto(sandbox.url(project.OPENCODE_PORT))
    expect(page.locator("#root")).not_to_be_empty(timeout=60_000)
    page.wait_for_timeout(1000)
    assert [line for line in failures if line.startswith(("401", "403", "421", "5"))] == []


def test_a_page_of_another_origin_starts_no_shell(
    signed_in_browser: BrowserContext, sandbox: Sandbox, password: str
) -> None:
    url = sandbox.url(project.OPENCODE_PORT)
    page = signed_in_browser.new_page()
    page.goto(url)

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<title>a page that a person opens</title>")

        def log_message(self, *_: object) -> None:
            pass

    with loopback.serving(Page) as host:
        page.goto(f"http://{host}/")
        assert page.evaluate(ATTACK, url) == "refused"
    answer = httpx.get(f"{url}/pty", auth=("opencode", password), trust_env=False, timeout=60)
    assert answer.json() == []
    assert not sandbox.exec(["test", "-e", "/tmp/attacked"], check=False).ok
