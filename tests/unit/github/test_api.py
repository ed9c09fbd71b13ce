"""GitHub's API as it answers: pages, refusals, limits, silence; and who never gets the token."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import BadInput
from tasks.base.retry import RemoteFailed
from tasks.github import rest
from tasks.github.rest import GitHubAccess, GitHubApi
from tests.support import github_hub
from tests.unit.github.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.github_hub import GitHub


def api(hub: GitHub, naps: list[float] | None = None, token: str = TOKEN) -> GitHubApi:
    access = GitHubAccess(token=token, repository=hub.repository, api_url=hub.url)
    return GitHubApi(access, sleep=([] if naps is None else naps).append)


def refusal(hub: GitHub, path: str = "{repo}/pulls", **options: Any) -> RemoteFailed:
    with pytest.raises(RemoteFailed) as caught:
        api(hub, **options).get("looking", path)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
def test_pages_yield_every_member(hub: GitHub, count: int) -> None:
    issue = hub.pull()
    for number in range(count):
        hub.comment(issue, str(number), login="ann")
    comments = list(api(hub).pages("reading", f"{{repo}}/issues/{issue}/comments"))
    assert [c["body"] for c in comments] == [str(n) for n in range(count)]
    assert hub.count("GET .*/comments") == max(1, -(-count // 100))


def test_pages_read_a_list_within_an_object(hub: GitHub) -> None:
    hub.environments = {f"e{n}": {} for n in range(101)}
    pages = api(hub).pages("listing", "{repo}/environments", key="environments")
    assert len(list(pages)) == 101


def test_a_token_is_not_led_to_another_server(hub: GitHub) -> None:
    assert rest._next_page('<http://evil.example/?page=2>; rel="next"', hub.url) is None
    assert rest._next_page(f'<{hub.url}/?page=2>; rel="next"', hub.url) == f"{hub.url}/?page=2"
    hub.fail("GET", "pulls", 302, headers={"Location": "http://127.0.0.1:9/"})
    assert "redirects to another place" in str(refusal(hub))


def test_a_renamed_repository_is_followed(hub: GitHub) -> None:
    location = f"{hub.url}/repos/{hub.repository}"
    hub.fail("GET", "/repos/iterate/old", 301, headers={"Location": location})
    assert api(hub).get("looking", "/repos/iterate/old")["default_branch"] == "main"


# ── refusals ────────────────────────────────────────────────────────────────────────────────


def test_a_wrong_token_names_its_variable(hub: GitHub) -> None:
    error = refusal(hub, token="ghs_wrong")
    assert (error.kind, error.status) == ("auth", 401)
    assert "GITHUB_TOKEN" in error.fix


def test_a_missing_permission_is_named(hub: GitHub) -> None:
    hub.token("ghs_poor", {"contents": "read"})
    error = refusal(hub, token="ghs_poor")
    assert (error.kind, error.status) == ("scope", 403)
    assert "pull_requests=read" in error.fix


def test_what_does_not_exist_is_not_found(hub: GitHub) -> None:
    assert refusal(hub, "{repo}/pulls/9").kind == "not-found"
    assert refusal(hub, "/repos/iterate/other").kind == "not-found"
    assert api(hub).find("looking", "{repo}/labels/none") is None


def test_a_refused_validation_names_its_fields(hub: GitHub) -> None:
    with pytest.raises(RemoteFailed, match="head: invalid") as caught:
        api(hub).create("opening", "{repo}/pulls", {"title": "x", "head": "no", "base": "main"},
                        existing=lambda: None)  # fmt: skip
    assert caught.value.kind == "rejected"
    assert hub.count("POST") == 1


def test_a_job_that_may_not_open_pull_requests_names_the_setting(hub: GitHub) -> None:
    hub.workflow_permissions["can_approve_pull_request_reviews"] = False
    with pytest.raises(RemoteFailed, match="Settings → Actions → General"):
        api(hub).create("opening", "{repo}/pulls", {}, existing=lambda: None)


# ── later, or never ─────────────────────────────────────────────────────────────────────────

SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}


@pytest.mark.parametrize(
    ("status", "body", "headers", "shortest_nap"),
    [
        (403, SECONDARY, {"Retry-After": "30"}, 30),
        (429, SECONDARY, {"Retry-After": "7"}, 7),
        (403, SECONDARY, {}, 60),
        (403, {"message": "API rate limit exceeded for x."},
         {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, 0),
        (403, {"message": "Forbidden"},
         {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, 0),
        (502, b"<html>Unicorn!</html>", {}, 0),
        (200, b"<html>", {}, 0),
        (200, b"[", {"Content-Length": "100"}, 0),
        (0, None, {}, 0),
    ],
)  # fmt: skip
def test_passing_failures_are_waited_for(
    hub: GitHub, status: int, body: Any, headers: Mapping[str, str], shortest_nap: float
) -> None:
    naps: list[float] = []
    hub.fail("GET", "pulls", status, body=body, headers=headers, times=2)
    assert api(hub, naps).get("looking", "{repo}/pulls") == []
    assert len(naps) == 2
    assert all(nap >= shortest_nap for nap in naps)


def test_a_limit_of_an_hour_is_not_waited_for(hub: GitHub) -> None:
    """Of the primary limit. A job would pay for an hour of sleep."""
    naps: list[float] = []
    exhausted = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(2**33)}
    hub.fail("GET", "pulls", 403, body={"message": "API rate limit exceeded"}, headers=exhausted)
    with pytest.raises(RemoteFailed) as caught:
        api(hub, naps).get("looking", "{repo}/pulls")
    assert caught.value.kind == "rate"
    assert naps == []


def test_judge_waits_until_the_limit_is_reset() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1060"}
    assert rest.judge(403, "API rate limit exceeded", headers, clock=1000) == ("rate", 60)
    # A refusal is not taken for a limit because of the headers that every reply has.
    assert rest.judge(403, "no", {"X-RateLimit-Remaining": "9"})[0] == "scope"


def test_an_unreachable_server_is_a_network_failure() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    naps: list[float] = []
    access = GitHubAccess(token=TOKEN, repository="a/b", api_url=f"http://127.0.0.1:{port}")
    with pytest.raises(RemoteFailed, match="no reply from GitHub") as caught:
        GitHubApi(access, sleep=naps.append).get("looking", "{repo}")
    assert caught.value.kind == "network"
    assert "GITHUB_API_URL" in caught.value.fix
    assert len(naps) == 5


@pytest.mark.parametrize(
    ("status", "carried_out"), [(0, True), (0, False), (502, True), (502, False)]
)
def test_create_makes_one_thing_when_an_answer_is_lost(
    hub: GitHub, status: int, *, carried_out: bool
) -> None:
    """No reply says nothing about whether it was done."""
    issue = hub.pull()
    hub.fail("POST", "comments", status, carried_out=carried_out)
    client = api(hub)
    path = f"{{repo}}/issues/{issue}/comments"
    comment = client.create(
        "commenting", path, {"body": "x"},
        existing=lambda: next(iter(client.pages("reading", path)), None),
    )  # fmt: skip
    assert [c["id"] for c in hub.comments.values()] == [comment["id"]]


# ── the environment ─────────────────────────────────────────────────────────────────────────

ENVIRONMENT = {"GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": "a/b"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"GITHUB_TOKEN": ""}, "GITHUB_TOKEN is not set"),
        ({"GITHUB_TOKEN": "a b"}, "GITHUB_TOKEN has blanks"),
        ({"GITHUB_TOKEN": "a\n"}, "GITHUB_TOKEN has blanks"),
        ({"GITHUB_REPOSITORY": " "}, "GITHUB_REPOSITORY is not set"),
        ({"GITHUB_REPOSITORY": "a"}, "not a repository"),
        ({"GITHUB_REPOSITORY": "a/.."}, "not a repository"),
        ({"GITHUB_REPOSITORY": "a/b/../../user"}, "not a repository"),
        ({"GITHUB_API_URL": "http://api.example"}, "GITHUB_API_URL is not an address"),
        ({"GITHUB_API_URL": "https://u:p@api.example"}, "GITHUB_API_URL is not an address"),
        ({"GITHUB_API_URL": "file:///etc"}, "GITHUB_API_URL is not an address"),
        ({"GITHUB_API_URL": "https://x:y"}, "GITHUB_API_URL is not an address"),
        ({"GITHUB_SERVER_URL": "ftp://x"}, "GITHUB_SERVER_URL is not an address"),
    ],
)
def test_access_refuses_a_wrong_variable_without_showing_it(
    change: dict[str, str], word: str
) -> None:
    with pytest.raises(BadInput, match=word) as caught:
        rest.access({**ENVIRONMENT, **change})
    assert TOKEN not in str(caught.value)
    assert "u:p" not in str(caught.value)


def test_access_takes_the_environment() -> None:
    access = rest.access({**ENVIRONMENT, "GITHUB_API_URL": "https://git.example/api/v3/"})
    assert access.api_url == "https://git.example/api/v3"
    assert rest.access(ENVIRONMENT).page == "https://github.com/a/b"
    assert TOKEN not in repr(access)
    assert github_hub.VERSION == rest.VERSION
