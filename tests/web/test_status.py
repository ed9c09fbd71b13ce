from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page

    from tests.web.conftest import Daemon, Visit

STATE_FILE = "/run/iterate/state.json"
UNREACHABLE = r"net::ERR_"


def tool(page: Page, command: str) -> Locator:
    return page.locator(f"[data-tool={command}]")


def test_the_page_shows_services_versions_and_provenance(
    signed_in: Callable[..., Visit], daemon: Daemon
) -> None:
    page = signed_in().page
    status = daemon.status()
    for service in status["services"]:
        card = page.locator(f"[data-service={service['name']}]")
        expect(card).to_contain_text(re.compile("Ready|Running"))
        expect(card).to_contain_text(service["version"])
        expect(card).to_contain_text(str(service["pid"]))
        expect(card).to_contain_text(re.compile(r"Up for\s*\d"))
    assert {s["name"] for s in status["services"]} == {"iterate-daemon", "opencode"}
    for expected in status["tools"]:
        row = tool(page, expected["command"])
        expect(row).to_contain_text("As pinned")
        expect(row).to_contain_text(expected["name"])
        assert row.inner_text().count(expected["pinned"]) == 2, (
            "installed and pinned are both shown"
        )
    assert len(status["tools"]) == 7
    for text in (
        status["source"]["sha"],
        status["image"]["identity"],
        status["image"]["base_image"],
    ):
        expect(page.get_by_role("main")).to_contain_text(text)
    expect(page.get_by_role("status")).to_have_text("Ready")
    expect(page).to_have_title("Ready · Sandbox")


@contextmanager
def another_version(daemon: Daemon, command: str, script: str) -> Iterator[None]:
    """`command` prints another version in the sandbox, for a while."""
    program = daemon.sandbox.exec(["sh", "-c", f"command -v {command}"]).stdout.strip()
    daemon.sandbox.exec(
        f"mv {program} {program}.real && printf '#!/bin/sh\\n%s\\n' '{script}' >{program}"
        f" && chmod 755 {program}",
        user="root",
    )
    try:
        yield
    finally:
        daemon.sandbox.exec(f"mv {program}.real {program}", user="root")


def test_a_version_that_differs_from_its_pin_is_marked(
    signed_in: Callable[..., Visit], daemon: Daemon
) -> None:
    page = signed_in().page
    expect(tool(page, "bun")).to_contain_text("As pinned")
    with another_version(daemon, "bun", "echo 0.0.1"):
        expect(tool(page, "bun")).to_contain_text("Differs from pin")
        expect(tool(page, "bun")).to_contain_text("0.0.1")
        expect(page.get_by_role("status")).to_have_text("Ready, with problems")
    with another_version(daemon, "bun", "echo no such luck >&2; exit 3"):
        expect(tool(page, "bun")).to_contain_text("Does not run")
        expect(tool(page, "bun")).to_contain_text("`bun --version` ended with 3: no such luck")
    expect(tool(page, "bun")).to_contain_text("As pinned")
    expect(page.get_by_role("status")).to_have_text("Ready")


@contextmanager
def state(daemon: Daemon, **changes: Any) -> Iterator[None]:
    original = daemon.sandbox.read(STATE_FILE)
    daemon.sandbox.write(STATE_FILE, json.dumps(json.loads(original) | changes).encode())
    try:
        yield
    finally:
        daemon.sandbox.write(STATE_FILE, original)


def test_a_problem_at_the_start_is_shown(signed_in: Callable[..., Visit], daemon: Daemon) -> None:
    page = signed_in().page
    message = 'src/app.tsx:1:1 <b>"Unexpected"</b> token'
    with state(daemon, problems=[{"step": "ui", "message": message}]):
        banner = page.get_by_role("region", name="1 problem at the start of this sandbox")
        expect(banner).to_contain_text(f"ui {message}")
        expect(page.get_by_role("status")).to_have_text("Ready, with problems")
    expect(banner).to_have_count(0)


def test_local_mode_shows_both_sources(signed_in: Callable[..., Visit], daemon: Daemon) -> None:
    page = signed_in().page
    image_sha = daemon.status()["image"]["sha"]
    source = {"sha": "ab" * 20, "branch": "topic", "dirty": True}
    with state(daemon, mode="local", source=source):
        main = page.get_by_role("main")
        expect(main).to_contain_text("ab" * 20)
        expect(main).to_contain_text("from the host")
        expect(main).to_contain_text("uncommitted changes")
        expect(main).to_contain_text(image_sha)


def test_the_page_shows_an_outage_and_recovers(
    signed_in: Callable[..., Visit], daemon: Daemon
) -> None:
    visited = signed_in()
    visited.expected.append(UNREACHABLE)
    page = visited.page
    pid = daemon.status()["daemon"]["pid"]
    expect(page.locator("[data-service=iterate-daemon]")).to_contain_text(str(pid))
    daemon.stop()
    try:
        banner = page.get_by_role("region", name="The daemon cannot be reached.")
        expect(banner).to_contain_text("This is the last known state.")
        expect(page.get_by_role("status")).to_have_text("Daemon unreachable")
    finally:
        daemon.start()
    page.get_by_role("button", name="Try now").click()
    expect(banner).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("Ready")
    new_pid = daemon.status()["daemon"]["pid"]
    assert new_pid != pid
    expect(page.locator("[data-service=iterate-daemon]")).to_contain_text(str(new_pid))


def test_sign_out_without_the_daemon_reports_the_failure(
    signed_in: Callable[..., Visit], daemon: Daemon
) -> None:
    visited = signed_in()
    visited.expected.append(UNREACHABLE)
    daemon.stop()
    try:
        visited.page.get_by_role("button", name="Sign out").click()
        expect(visited.page.get_by_role("alert")).to_contain_text("still signed in")
    finally:
        daemon.start()


def test_the_page_recovers_by_itself(signed_in: Callable[..., Visit], daemon: Daemon) -> None:
    visited = signed_in()
    visited.expected.append(UNREACHABLE)
    daemon.stop()
    try:
        expect(visited.page.get_by_role("status")).to_have_text("Daemon unreachable")
    finally:
        daemon.start()
    expect(visited.page.get_by_role("status")).to_have_text("Ready", timeout=20_000)


def test_an_open_page_survives_a_restart_of_the_daemon(
    signed_in: Callable[..., Visit], daemon: Daemon
) -> None:
    visited = signed_in()
    daemon.stop()
    daemon.start()
    visited.expected.append(UNREACHABLE)
    visited.page.reload()
    expect(visited.page.get_by_role("heading", name="Services")).to_be_visible()


@pytest.mark.parametrize("width", [320, 400, 700, 1200])
def test_the_page_fits_every_width(
    signed_in: Callable[..., Visit], daemon: Daemon, width: int
) -> None:
    long = "a-branch-name-that-goes-on/" * 4
    problem = {"step": "ui", "message": "x" * 200}
    source = {"sha": "ab" * 20, "branch": long, "dirty": True}
    with state(daemon, mode="local", source=source, problems=[problem]):
        page = signed_in(width=width).page
        expect(page.get_by_role("main")).to_contain_text(long)
        expect(tool(page, "uv")).to_contain_text("As pinned")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sticking_out = page.evaluate(
            """() => [...document.querySelectorAll("button, .badge, .card, .banner, dd, td")]
              .filter(e => { const b = e.getBoundingClientRect();
                             return b.left < 0 || b.right > innerWidth; })
              .map(e => e.outerHTML.slice(0, 120))"""
        )
        assert sticking_out == []
        expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport()


#: The contrast of every visible text against what is painted behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    const paper = behind(element);
    const [a, b] = [light(over(rgba(getComputedStyle(element).color), paper)), light(paper)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), texts.currentNode.data]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(
    signed_in: Callable[..., Visit], daemon: Daemon, scheme: str
) -> None:
    problem = {"step": "ui", "message": "vite build failed"}
    with state(daemon, problems=[problem]), another_version(daemon, "bun", "echo 0.0.1"):
        page = signed_in(color_scheme=scheme).page
        expect(tool(page, "bun")).to_contain_text("Differs from pin")
        expect(page.get_by_role("region", name="1 problem")).to_be_visible()
        contrasts = page.evaluate(CONTRAST)
        assert len(contrasts) > 40
        assert [text for ratio, text in contrasts if ratio < 4.5] == []


def test_the_page_polls_less_often_during_an_outage(
    signed_in: Callable[..., Visit], daemon: Daemon
) -> None:
    visited = signed_in()
    visited.expected.append(UNREACHABLE)
    page = visited.page
    daemon.stop()
    try:
        expect(page.get_by_role("status")).to_have_text("Daemon unreachable")
        count = len(visited.requests)
        page.wait_for_timeout(8_000)
        assert 1 <= len(visited.requests) - count <= 4
    finally:
        daemon.start()


def test_an_inline_script_does_not_run(signed_in: Callable[..., Visit]) -> None:
    visited = signed_in()
    visited.expected.append("Content Security Policy")
    page = visited.page
    page.evaluate(
        """() => { const s = document.createElement("script");
                   s.textContent = "document.title = 'owned'"; document.body.append(s); }"""
    )
    page.wait_for_timeout(200)
    expect(page).to_have_title("Ready · Sandbox")
