from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import Daemon, Visit, Visits

#: Chromium writes every 401 to the console; here it is the point.
UNAUTHORIZED = r"401 \(Unauthorized\)"


def test_a_wrong_token_is_reported_and_the_right_one_opens(visit: Visits, daemon: Daemon) -> None:
    visited = visit()
    visited.expected.append(UNAUTHORIZED)
    page = visited.open()
    expect(page.get_by_role("heading", name="Sign in to this sandbox")).to_be_visible()
    expect(page.get_by_label("Access token")).to_be_focused()

    visited.sign_in("not the token")
    expect(page.get_by_role("alert")).to_have_text("The token is wrong.")
    expect(page.get_by_label("Access token")).to_be_focused()
    assert visited.context.cookies() == []

    visited.sign_in(daemon.token)
    expect(page.get_by_role("heading", name="Services")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("heading", name="Services")).to_be_visible()


def test_the_session_cookie_is_out_of_reach_and_ends_with_sign_out(
    signed_in: Callable[..., Visit], daemon: Daemon
) -> None:
    visited = signed_in()
    page = visited.page
    (cookie,) = visited.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert cookie["path"] == "/"
    assert daemon.token not in cookie["value"]
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Access token")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Access token")).to_be_visible()
    response = daemon.get("/api/status", Cookie=f"{cookie['name']}={cookie['value']}")
    assert response.status_code == 401


def test_a_token_in_the_fragment_signs_in_and_vanishes(visit: Visits, daemon: Daemon) -> None:
    visited = visit()
    page = visited.open("/?from=mail#token=" + daemon.token)
    expect(page.get_by_role("heading", name="Services")).to_be_visible()
    assert page.url == f"{daemon.url}/?from=mail"
    assert page.evaluate("location.href + JSON.stringify(history.state)").count(daemon.token) == 0
    assert page.evaluate("history.length") == 2  # about:blank, and the page
    assert not any(daemon.token in url for url in visited.requests)


def test_a_wrong_token_in_the_fragment_vanishes_too(visit: Visits, daemon: Daemon) -> None:
    visited = visit()
    visited.expected.append(UNAUTHORIZED)
    page = visited.open("/#token=stale")
    expect(page.get_by_role("alert")).to_have_text("The token is wrong.")
    assert page.url == f"{daemon.url}/"
    # A link that is pasted into the open page works as well.
    page.evaluate("token => { location.hash = 'token=' + token }", daemon.token)
    expect(page.get_by_role("heading", name="Services")).to_be_visible()
    assert page.url == f"{daemon.url}/"


def test_the_keyboard_alone_can_sign_in(visit: Visits, daemon: Daemon) -> None:
    visited = visit()
    page = visited.open()
    expect(page.get_by_label("Access token")).to_be_focused()
    page.keyboard.type(daemon.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Services")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Sign out")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Access token")).to_be_focused()
