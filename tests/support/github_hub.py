"""What a GitHub of our own knows: a repository, its tokens and their permissions, its faults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.support import repos

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from pathlib import Path

VERSION: Final = "2022-11-28"
WORKFLOW: Final = "github-actions[bot]"
DOCS: Final = "https://docs.github.com/rest"
#: What a workflow's token may when the job says so, and what an owner's may.
JOB: Final = {"contents": "write", "issues": "write", "pull_requests": "write", "actions": "write",
              "metadata": "read"}  # fmt: skip
ADMIN: Final = {**JOB, "administration": "write", "secrets": "write", "environments": "write"}

Json = dict[str, Any]


@dataclass
class Token:
    """`login` is "" for a workflow's own, which is no user."""

    permissions: Mapping[str, str]
    login: str = ""


@dataclass
class GitHubFault:
    """For the next `times` requests that fit. `carried_out`: the request is done first."""

    method: str
    path: str
    status: int = 0
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    carried_out: bool = False


class GitHubRefusal(Exception):
    def __init__(self, status: int, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = fields.pop("headers", {})
        self.body = {"message": message, **fields, "documentation_url": DOCS, "status": str(status)}


@dataclass
class GitHub:
    """All that it knows. `requests` is what came in: method and path."""

    url: str
    bare: Path
    repository: str = "iterate/iterate"
    default_branch: str = "main"
    tokens: dict[str, Token] = field(default_factory=dict)
    pulls: dict[int, Json] = field(default_factory=dict)
    comments: dict[int, Json] = field(default_factory=dict)
    labels: set[str] = field(default_factory=lambda: {"sandbox"})
    environments: dict[str, Json] = field(default_factory=dict)
    #: By environment; "" has the repository's own.
    secrets: dict[str, list[str]] = field(default_factory=dict)
    permissions: Json = field(default_factory=lambda: {"enabled": True, "allowed_actions": "all"})
    workflow_permissions: Json = field(
        default_factory=lambda: {
            "default_workflow_permissions": "read",
            "can_approve_pull_request_reviews": True,
        }
    )
    workflows: dict[str, Json] = field(default_factory=dict)
    runs: list[Json] = field(default_factory=list)
    rules: list[Json] = field(default_factory=list)
    #: The checks that the older branch protection asks for.
    protected: list[str] = field(default_factory=list)
    faults: list[GitHubFault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _number: int = 0

    def token(self, name: str, permissions: Mapping[str, str] = JOB, *, login: str = "") -> str:
        self.tokens[name] = Token(permissions, login)
        return name

    def environment(self, token: str) -> dict[str, str]:
        """What a job has of it."""
        return {
            "GITHUB_API_URL": self.url,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_TOKEN": token,
        }

    def fail(self, method: str, path: str, status: int = 0, **options: Any) -> None:
        """Status 0 is a connection that ends without a reply. `path` is searched for."""
        self.faults.append(GitHubFault(method, path, status, **options))

    def number(self) -> int:
        self._number += 1
        return self._number

    def pull(self, *, head: str = "work", state: str = "open", owner: str = "iterate") -> int:
        """A pull request that somebody has opened."""
        number = self.number()
        self.pulls[number] = {
            "number": number,
            "state": state,
            "title": "A title",
            "body": "",
            "user": {"login": "ann"},
            "head": {"ref": head, "label": f"{owner}:{head}", "user": {"login": owner}},
            "base": {"ref": self.default_branch},
            "labels": [],
            "html_url": f"https://github.com/{self.repository}/pull/{number}",
        }
        return number

    def comment(self, issue: int, body: str, *, login: str | None) -> int:
        """`login` None: of an account that is gone."""
        number = self.number()
        self.comments[number] = {
            "id": number,
            "issue": issue,
            "body": body,
            "user": {"login": login} if login else None,
            "html_url": f"https://github.com/{self.repository}/pull/{issue}#issuecomment-{number}",
        }
        return number

    def branch(self, name: str) -> str | None:
        ref = f"refs/heads/{name}"
        return repos.git(self.bare, "rev-parse", "-q", "--verify", ref, check=False).strip() or None

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, line)) for line in self.requests)


@dataclass
class GitHubRequest:
    method: str
    path: str
    query: dict[str, str]
    headers: Message[str, str]
    body: Any
    token: Token | None = None

    def need(self, *choices: tuple[str, str]) -> None:
        """One of these permissions, as (name, read or write)."""
        have = self.token.permissions if self.token else {}
        if not any(have.get(name) in {level, "write"} for name, level in choices):
            accepted = "; ".join(f"{name}={level}" for name, level in choices)
            kind = "personal access token" if self.token and self.token.login else "integration"
            raise GitHubRefusal(
                403, f"Resource not accessible by {kind}",
                headers={"X-Accepted-GitHub-Permissions": accepted},
            )  # fmt: skip


@dataclass
class GitHubReply:
    body: Any = None
    status: int = 200
