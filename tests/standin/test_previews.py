from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from tasks.base import waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from daytona import Sandbox

    from tests.support.standin import StandInClient

    SandboxCreator = Callable[..., Sandbox]


class Visitor:
    """Asks a preview address, whose name does not resolve everywhere, at the proxy's own."""

    def __init__(self, stand_in: StandInClient, url: str) -> None:
        self._host = httpx.URL(url).netloc.decode()
        self._proxy = stand_in.origin

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        fields = {"Host": self._host, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return httpx.get(f"{self._proxy}{path}", headers=fields, follow_redirects=False)


def wait_for_answer(visitor: Visitor, **headers: str) -> httpx.Response:
    def answer() -> httpx.Response | None:
        response = visitor.get("/p%2Fq?a=1&DAYTONA_SANDBOX_AUTH_KEY=x", **headers)
        return None if response.status_code == 502 else response

    return waiting.until(answer, what="the server in the sandbox", timeout=15)


def test_a_preview_needs_a_token(create_sandbox: SandboxCreator, stand_in: StandInClient) -> None:
    sandbox = create_sandbox()
    link = sandbox.get_preview_link(3000)
    visitor = Visitor(stand_in, link.url)
    assert visitor.get().status_code == 401
    assert visitor.get(x_daytona_preview_token="wrong").status_code == 401
    echo = wait_for_answer(visitor, x_daytona_preview_token=link.token, x_visitor="1").text.lower()
    assert echo.startswith("get /p%2fq?a=1 http/1.1")
    assert "host: localhost:3000" in echo
    assert f"x-forwarded-host: 3000-{sandbox.id}" in echo
    assert "x-visitor: 1" in echo
    assert link.token not in echo
    for response in (
        visitor.get(f"/?DAYTONA_SANDBOX_AUTH_KEY={link.token}"),
        visitor.get(authorization=f"Bearer {stand_in.key}"),
    ):
        assert response.status_code == 200
        assert link.token not in response.text
        assert stand_in.key not in response.text
    # Any other Authorization is for the application.
    response = visitor.get(authorization="Bearer application", x_daytona_preview_token=link.token)
    assert "Bearer application" in response.text


def test_a_port_without_a_listener_answers_502(
    create_sandbox: SandboxCreator, stand_in: StandInClient
) -> None:
    link = create_sandbox().get_preview_link(3999)
    response = Visitor(stand_in, link.url).get(x_daytona_preview_token=link.token)
    assert (response.status_code, response.content) == (502, b"")


def test_a_signed_preview_ends(create_sandbox: SandboxCreator, stand_in: StandInClient) -> None:
    sandbox = create_sandbox()
    link = sandbox.get_preview_link(3000)
    assert (
        wait_for_answer(Visitor(stand_in, link.url), x_daytona_preview_token=link.token).status_code
        == 200
    )
    signed = sandbox.create_signed_preview_url(3000, 4)
    assert wait_for_answer(Visitor(stand_in, signed.url)).status_code == 200
    other_port = signed.url.replace("3000-", "2280-")
    assert Visitor(stand_in, other_port).get().status_code == 401
    time.sleep(4)
    assert Visitor(stand_in, signed.url).get().status_code == 401


def test_a_public_preview_needs_no_token(
    create_sandbox: SandboxCreator, stand_in: StandInClient
) -> None:
    sandbox = create_sandbox(public=True)
    assert wait_for_answer(Visitor(stand_in, sandbox.get_preview_link(3000).url)).status_code == 200
    assert Visitor(stand_in, sandbox.get_preview_link(2280).url).get().status_code == 401


def test_a_restart_renews_the_preview_token(
    create_sandbox: SandboxCreator, stand_in: StandInClient
) -> None:
    sandbox = create_sandbox()
    old_link = sandbox.get_preview_link(3000)
    sandbox.stop()
    sandbox.start()
    assert (
        Visitor(stand_in, old_link.url).get(x_daytona_preview_token=old_link.token).status_code
        == 401
    )
    new_link = sandbox.get_preview_link(3000)
    assert (
        wait_for_answer(
            Visitor(stand_in, new_link.url), x_daytona_preview_token=new_link.token
        ).status_code
        == 200
    )


def test_a_stranger_is_refused(stand_in: StandInClient, create_sandbox: SandboxCreator) -> None:
    sandbox = create_sandbox()
    for path in ("/api/snapshots", f"/toolbox/{sandbox.id}/work-dir", "/_stand-in/state"):
        assert httpx.get(f"{stand_in.origin}{path}").status_code == 401
