"""A browser on the page of a sandbox, which is one for all tests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import sync_playwright

from tasks.base import console, programs, project, waiting
from tasks.base.errors import TaskError
from tasks.sandbox import providers
from tasks.sandbox.run import Run
from tasks.sandbox.values import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

    from tasks.sandbox.provider import Provider
    from tasks.sandbox.sandbox import Sandbox

FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--headless",
    "--no-first-run",
    "--no-sandbox",
]
#: Seconds; a page that polls every three seconds has shown a change by then.
PATIENCE = 15
PROVIDER: pytest.StashKey[Provider] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", default=project.LOCAL_IMAGE)
    parser.addoption("--keep", action="store_true", help="leave the sandbox")


def pytest_sessionstart(session: pytest.Session) -> None:
    """End at once, with one line, when there is no browser, no engine or no such image."""
    config = session.config
    if config.option.collectonly:
        return
    try:
        programs.require_browser()
        provider = providers.connect("docker")
        config.stash[PROVIDER] = provider
        provider.check(config.option.image)
    except TaskError as error:
        pytest.exit(f"cannot test: {error}", returncode=error.exit_status)


def pytest_unconfigure(config: pytest.Config) -> None:
    if provider := config.stash.get(PROVIDER, None):
        provider.close()


@pytest.fixture(scope="session")
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    option, provider = request.config.option, request.config.stash[PROVIDER]
    spec = Spec(image=option.image, purpose="web")
    with Run(provider, keep=option.keep) as run, provider.create(spec, run) as web_sandbox:
        web_sandbox.start()
        web_sandbox.wait_until_ready()
        yield web_sandbox
        if option.keep:
            console.say(f"kept {web_sandbox.name}: {web_sandbox.how_to_reach()}")
            console.say(f"to delete it: {web_sandbox.how_to_delete()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A picture of every page whose test failed."""
    report = yield
    visits = getattr(item, "funcargs", {}).get("visit")
    if report.failed and call.when == "call" and visits is not None:
        folder = project.state_dir() / "web"
        folder.mkdir(exist_ok=True)
        for number, visited in enumerate(visits.made):
            name = re.sub(r"[^\w.-]+", "-", item.name)
            picture = folder / f"{name}-{number}.png"
            visited.page.screenshot(path=picture, full_page=True)
            report.sections.append(("the page", f"{picture}\n" + "\n".join(visited.messages)))
    return report


@dataclass(frozen=True)
class Daemon:
    """The daemon behind the page, beside the browser."""

    sandbox: Sandbox
    url: str
    token: str

    def status(self) -> dict[str, Any]:
        """What the API says, once every tool's version is known."""

        def settled_status() -> dict[str, Any] | None:
            status: dict[str, Any] = self.get("/api/status").json()
            is_checking = any(tool["state"] == "checking" for tool in status["tools"])
            return None if is_checking else status

        return waiting.until(settled_status, what="the versions of all tools", timeout=60)

    def get(self, path: str, **headers: str) -> httpx.Response:
        headers = headers or {"Authorization": f"Bearer {self.token}"}
        return httpx.get(f"{self.url}{path}", headers=headers, trust_env=False, timeout=15)

    def stop(self) -> None:
        self.sandbox.exec(["s6-svc", "-wD", "-T", "10000", "-d", "/run/service/iterate-daemon"])

    def start(self) -> None:
        self.sandbox.exec(["s6-svc", "-wU", "-T", "20000", "-u", "/run/service/iterate-daemon"])


@pytest.fixture(scope="session")
def daemon(sandbox: Sandbox) -> Daemon:
    token = sandbox.read(f"{project.HOME}/.iterate/daemon-token").decode().strip()
    return Daemon(sandbox, sandbox.url(project.DAEMON_PORT), token)


@dataclass
class Visit:
    """One page, and everything about it that must not be."""

    page: Page
    context: BrowserContext
    url: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    #: Console messages that the test brings about on purpose, as regular expressions.
    expected: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(PATIENCE * 1000)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.messages.append(f"{message.type}: {message.text}")

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self, token: str) -> Page:
        """By the form, as a person does."""
        self.page.get_by_label("Access token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        return self.page

    def check(self) -> None:
        unexpected = [
            line for line in self.messages if not any(re.search(e, line) for e in self.expected)
        ]
        assert not unexpected, "the console has errors"
        foreign = [url for url in self.requests if not url.startswith(f"{self.url}/")]
        assert not foreign, "requests left the page's own origin"


class Visits:
    """Makes visits, each in a browser profile of its own."""

    def __init__(self, chromium: Browser, url: str) -> None:
        self.made: list[Visit] = []
        self._chromium = chromium
        self._url = url

    def __call__(self, *, width: int = 1200, **options: Any) -> Visit:
        context = self._chromium.new_context(viewport={"width": width, "height": 800}, **options)
        visit = Visit(context.new_page(), context, self._url)
        visit.watch()
        self.made.append(visit)
        return visit

    def end(self) -> None:
        for visit in self.made:
            visit.context.close()
        for visit in self.made:
            visit.check()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=programs.require_browser(), args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(chromium: Browser, daemon: Daemon) -> Iterator[Visits]:
    visits = Visits(chromium, daemon.url)
    yield visits
    visits.end()


@pytest.fixture
def signed_in(visit: Visits, daemon: Daemon) -> Callable[..., Visit]:
    """A visit whose page shows the status."""

    def make(**options: Any) -> Visit:
        visited = visit(**options)
        visited.open(f"/#token={daemon.token}")
        visited.page.get_by_role("heading", name="Services").wait_for()
        return visited

    return make
