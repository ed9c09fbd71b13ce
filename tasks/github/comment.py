"""The one comment of ours on a pull request, kept up to date: which sandbox its branch has."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base import console, markdown, project
from tasks.base.errors import BadInput
from tasks.base.retry import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.github.rest import GitHubAccess, GitHubApi

Action = Literal["created", "updated", "none"]

#: As whom a workflow's own token comments: such a token may not ask who it is.
_WORKFLOW: Final = "github-actions[bot]"
#: What the comment shows of a snapshot, under which title.
_FACTS: Final = (
    ("snapshot", "snapshot_name"),
    ("commit", "sha"),
    ("identity", "identity"),
    ("stage", "stage"),
    ("made", "how"),
)


# ── what it says ────────────────────────────────────────────────────────────────────────────


def marker(kind: str) -> str:
    """The comment's first line, which identifies it; nobody sees it."""
    return f"<!-- {project.SLUG}: {kind} -->"


def announcement(mark: str, snapshot: Mapping[str, Any], *, run: str) -> str:
    """The text for a snapshot, as `snapshot_daytona -- --json` describes it; `run` is a link."""
    name = str(snapshot["snapshot_name"])
    facts = markdown.facts((title, snapshot.get(key)) for title, key in _FACTS)
    test = markdown.code(f"nox -s daytona_test -- --snapshot {name}")
    end = f"It is retired with the branch or the label. {_stamp(run)}"
    return f"{mark}\n### Sandbox of this branch\n\n{facts}\nTest it: {test}\n\n{end}"


def retirement(mark: str, *, run: str) -> str:
    """The text for a sandbox that has been retired."""
    return f"{mark}\n### Sandbox of this branch\n\nIt has been deleted. {_stamp(run)}"


def run_link(access: GitHubAccess, environment: Mapping[str, str] = os.environ) -> str:
    """The page of this job's run, "" outside of a job."""
    number = environment.get("GITHUB_RUN_ID", "")
    return f"{access.page}/actions/runs/{number}" if number.isdecimal() else ""


def _stamp(run: str) -> str:
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"{date}{f', [the run]({run})' if run else ''}"


# ── keeping it ──────────────────────────────────────────────────────────────────────────────


def keep(api: GitHubApi, number: int, mark: str, body: str, *, create: bool) -> tuple[Action, str]:
    """Write `body` into our one comment on pull request `number`; without `create`, only if there
    is one. Where two runs at once made two, the oldest stays. Returns what was done, and the link.
    """
    pull_request = api.find(f"looking for pull request {number}", f"{{repo}}/pulls/{number}")
    if pull_request is None:
        raise BadInput(
            f"{api.access.repository} has no pull request {number}, or the token may not see it",
            fix="check --pull-request and the token's permission pull-requests",
        )
    if pull_request.get("state") == "closed" and create:
        console.warn(f"pull request {number} is closed: no new comment is written")
        create = False
    login = author(api)
    oldest, *duplicates = _comments(api, number, mark, login) or [None]
    for duplicate in duplicates:
        api.ask("deleting a comment", "DELETE", f"{{repo}}/issues/comments/{duplicate['id']}")
    if oldest is not None:
        url = _update(api, oldest, body)
        if url is not None:
            return "updated", url
    if not create:
        return "none", ""
    response = api.create(
        f"commenting on pull request {number}", f"{{repo}}/issues/{number}/comments",
        {"body": body}, existing=lambda: next(iter(_comments(api, number, mark, login)), None),
    )  # fmt: skip
    return "created", str(response.get("html_url") or "")


def _comments(api: GitHubApi, number: int, mark: str, login: str) -> list[Any]:
    """Our comments, the oldest first."""
    path = f"{{repo}}/issues/{number}/comments"
    pages = api.pages(f"reading the comments of pull request {number}", path)
    return [comment for comment in pages if is_ours(comment, mark, login)]


def _update(api: GitHubApi, comment: Mapping[str, Any], body: str) -> str | None:
    """The link to the comment; None when it has been deleted in the meantime."""
    path = f"{{repo}}/issues/comments/{comment['id']}"
    try:
        response = api.ask("updating the comment", "PATCH", path, body={"body": body})
    except RemoteFailed as error:
        if error.kind != "not-found":
            raise
        console.warn("the comment has been deleted in the meantime")
        return None
    return str(response.get("html_url") or "")


def is_ours(comment: Mapping[str, Any], mark: str, login: str) -> bool:
    """By mark and author: anybody can write the mark."""
    user = comment.get("user") or {}  # null for an account that was deleted
    first_line = str(comment.get("body") or "").replace("\r\n", "\n").partition("\n")[0]
    return first_line == mark and user.get("login") == login


def author(api: GitHubApi) -> str:
    """The login under which our comments appear."""
    try:
        return str(api.get("asking who we are", "/user")["login"])
    except RemoteFailed as error:
        if error.kind != "scope":
            raise
        return _WORKFLOW
