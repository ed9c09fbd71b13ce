"""A GitHub of our own on loopback: the part of its REST API that workflows use, as it answers.

Pages by `Link`, 100 at most; the version is checked; a token has permissions, and what it lacks is
named in a header; validation (422) says which field. Branches are those of a bare repository, to
which pushes go by its path. Faults are put in with `fail`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from tests.support import loopback, repos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
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
class Fault:
    """For the next `times` requests that fit. `done`: the request is carried out first."""

    method: str
    path: str
    status: int = 0
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    done: bool = False


class Refused(Exception):
    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = more.pop("headers", {})
        self.body = {"message": message, **more, "documentation_url": DOCS, "status": str(status)}


@dataclass
class GitHub:
    """All that it knows. `asked` is what came in: method and path."""

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
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
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

    def fail(self, method: str, path: str, status: int = 0, **more: Any) -> None:
        """Status 0 is a connection that ends without a reply. `path` is searched for."""
        self.faults.append(Fault(method, path, status, **more))

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
        return sum(bool(re.search(pattern, line)) for line in self.asked)


@dataclass
class Request:
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
            who = "personal access token" if self.token and self.token.login else "integration"
            raise Refused(
                403, f"Resource not accessible by {who}",
                headers={"X-Accepted-GitHub-Permissions": accepted},
            )  # fmt: skip


@dataclass
class Reply:
    body: Any = None
    status: int = 200


Handler = TypeVar("Handler", bound="Callable[..., Any]")
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """`{name}` is one segment. Paths are below the repository, unless they begin with `/`."""
    full = path if path.startswith("/") else f"/repos/{{owner}}/{{repo}}/{path}".rstrip("/")
    pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(full)))

    def register(handler: Handler) -> Handler:
        ROUTES.append((method, pattern, handler))
        return handler

    return register


# ── who, and what ───────────────────────────────────────────────────────────────────────────


@route("GET", "/user")
def user(_hub: GitHub, request: Request) -> Reply:
    if request.token is None or not request.token.login:
        raise Refused(403, "Resource not accessible by integration")
    return Reply({"login": request.token.login})


@route("GET", "")
def repository(hub: GitHub, _request: Request) -> Reply:
    return Reply({"full_name": hub.repository, "default_branch": hub.default_branch})


@route("GET", "branches/{branch}")
def branch(hub: GitHub, _request: Request, branch: str) -> Reply:
    sha = hub.branch(branch)
    if sha is None:
        raise Refused(404, "Branch not found")
    checks = {"enforcement_level": "off", "contexts": hub.protected, "checks": []}
    protection = {"enabled": bool(hub.protected), "required_status_checks": checks}
    return Reply({"name": branch, "commit": {"sha": sha}, "protection": protection})


@route("GET", "rules/branches/{branch}")
def rules(hub: GitHub, _request: Request, branch: str) -> Reply:
    return Reply(hub.rules if branch == hub.default_branch else [])


# ── pull requests and comments ──────────────────────────────────────────────────────────────

_ISSUES: Final = (("issues", "write"), ("pull_requests", "write"))


def _pull(hub: GitHub, number: str) -> Json:
    found = hub.pulls.get(int(number)) if number.isdecimal() else None
    if found is None:
        raise Refused(404, "Not Found")
    # One whose branch is deleted is closed by GitHub.
    if found.get("ours"):
        sha = hub.branch(found["head"]["ref"])
        found["state"] = found["state"] if sha else "closed"
        found["head"]["sha"] = sha or found["head"].get("sha")
    return found


@route("GET", "pulls")
def pulls(hub: GitHub, request: Request) -> Reply:
    request.need(("pull_requests", "read"))
    state, head = request.query.get("state", "open"), request.query.get("head")
    found = [_pull(hub, str(number)) for number in hub.pulls]
    found = [p for p in found if state in {"all", p["state"]}]
    # A head that is not OWNER:BRANCH is ignored, as GitHub does it.
    if head and ":" in head:
        found = [p for p in found if p["head"]["label"] == head]
    return Reply(sorted(found, key=lambda p: -int(p["number"])))


@route("POST", "pulls")
def open_pull(hub: GitHub, request: Request) -> Reply:
    request.need(("pull_requests", "write"))
    job = request.token is not None and not request.token.login
    if job and not hub.workflow_permissions["can_approve_pull_request_reviews"]:
        raise Refused(403, "GitHub Actions is not permitted to create or approve pull requests.")
    asked = request.body
    for name in ("title", "head", "base"):
        if not asked.get(name):
            _invalid("PullRequest", field=name, code="missing_field")
    head, base = hub.branch(asked["head"]), hub.branch(asked["base"])
    for name, sha in (("head", head), ("base", base)):
        if sha is None:
            _invalid("PullRequest", field=name, code="invalid")
    owner = hub.repository.partition("/")[0]
    label = f"{owner}:{asked['head']}"
    if any(p["head"]["label"] == label and p["state"] == "open" for p in hub.pulls.values()):
        _invalid(
            "PullRequest", code="custom", message=f"A pull request already exists for {label}."
        )
    if repos.git(hub.bare, "rev-list", "--count", f"{base}..{head}").strip() == "0":
        between = f"No commits between {asked['base']} and {asked['head']}"
        _invalid("PullRequest", code="custom", message=between)
    number = hub.pull(head=asked["head"], owner=owner)
    made = hub.pulls[number]
    login = request.token.login if request.token and request.token.login else WORKFLOW
    made |= {"title": asked["title"], "body": asked.get("body") or "", "ours": True,
             "user": {"login": login}, "base": {"ref": asked["base"]}}  # fmt: skip
    return Reply(_pull(hub, str(number)), 201)


def _invalid(resource: str, **more: str) -> None:
    raise Refused(422, "Validation Failed", errors=[{"resource": resource, **more}])


@route("GET", "pulls/{number}")
def get_pull(hub: GitHub, request: Request, number: str) -> Reply:
    request.need(("pull_requests", "read"))
    return Reply(_pull(hub, number))


@route("PATCH", "pulls/{number}")
def change_pull(hub: GitHub, request: Request, number: str) -> Reply:
    request.need(("pull_requests", "write"))
    found = _pull(hub, number)
    for name in ("title", "body", "state"):
        if name in request.body:
            found[name] = request.body[name]
    if "base" in request.body:
        if hub.branch(request.body["base"]) is None:
            _invalid("PullRequest", field="base", code="invalid")
        found["base"] = {"ref": request.body["base"]}
    return Reply(found)


@route("GET", "issues/{number}/comments")
def comments(hub: GitHub, request: Request, number: str) -> Reply:
    request.need(("issues", "read"), ("pull_requests", "read"))
    _pull(hub, number)
    return Reply([c for c in hub.comments.values() if c["issue"] == int(number)])


@route("POST", "issues/{number}/comments")
def write_comment(hub: GitHub, request: Request, number: str) -> Reply:
    request.need(*_ISSUES)
    there = _pull(hub, number)
    if there.get("locked"):
        raise Refused(403, "Unable to create comment because issue is locked.")
    body = request.body.get("body")
    if not body:
        _invalid("IssueComment", field="body", code="missing_field")
    if len(body) > 65536:
        _invalid("IssueComment", code="unprocessable", field="data",
                 message="Body is too long (maximum is 65536 characters)")  # fmt: skip
    login = request.token.login if request.token and request.token.login else WORKFLOW
    return Reply(hub.comments[hub.comment(int(number), body, login=login)], 201)


@route("PATCH", "issues/comments/{number}")
def change_comment(hub: GitHub, request: Request, number: str) -> Reply:
    request.need(*_ISSUES)
    found = hub.comments.get(int(number))
    if found is None:
        raise Refused(404, "Not Found")
    found["body"] = request.body["body"]
    return Reply(found)


@route("DELETE", "issues/comments/{number}")
def delete_comment(hub: GitHub, request: Request, number: str) -> Reply:
    request.need(*_ISSUES)
    if hub.comments.pop(int(number), None) is None:
        raise Refused(404, "Not Found")
    return Reply(status=204)


@route("GET", "labels/{name}")
def label(hub: GitHub, request: Request, name: str) -> Reply:
    request.need(("issues", "read"), ("pull_requests", "read"))
    if name not in hub.labels:
        raise Refused(404, "Not Found")
    return Reply({"name": name})


@route("POST", "issues/{number}/labels")
def add_labels(hub: GitHub, request: Request, number: str) -> Reply:
    request.need(*_ISSUES)
    there = _pull(hub, number)
    hub.labels |= set(request.body["labels"])
    there["labels"] += [{"name": name} for name in request.body["labels"]]
    return Reply(there["labels"])


# ── Actions ─────────────────────────────────────────────────────────────────────────────────


@route("GET", "actions/permissions")
def actions_permissions(hub: GitHub, request: Request) -> Reply:
    request.need(("administration", "read"))
    return Reply(hub.permissions)


@route("GET", "actions/permissions/workflow")
def workflow_permissions(hub: GitHub, request: Request) -> Reply:
    request.need(("administration", "read"))
    return Reply(hub.workflow_permissions)


@route("GET", "actions/workflows")
def list_workflows(hub: GitHub, request: Request) -> Reply:
    request.need(("actions", "read"))
    found = [{"name": name, "path": f".github/workflows/{file}", "state": told["state"]}
             for file, told in hub.workflows.items() for name in [told["name"]]]  # fmt: skip
    return Reply({"total_count": len(found), "workflows": found})


def _workflow(hub: GitHub, file: str) -> Json:
    if file not in hub.workflows:
        raise Refused(404, "Not Found")
    return hub.workflows[file]


@route("GET", "actions/workflows/{file}/runs")
def list_runs(hub: GitHub, request: Request, file: str) -> Reply:
    request.need(("actions", "read"))
    _workflow(hub, file)
    sha = request.query.get("head_sha")
    found = [r for r in hub.runs if r["file"] == file and sha in {None, r["head_sha"]}]
    return Reply({"total_count": len(found), "workflow_runs": found})


@route("POST", "actions/workflows/{file}/dispatches")
def dispatch(hub: GitHub, request: Request, file: str) -> Reply:
    request.need(("actions", "write"))
    workflow = _workflow(hub, file)
    ref = request.body["ref"]
    sha = hub.branch(ref)
    if sha is None:
        raise Refused(422, f"No ref found for: {ref}")
    if not workflow.get("dispatch", True):
        raise Refused(422, "Workflow does not have 'workflow_dispatch' trigger")
    if workflow["state"] != "active":
        raise Refused(403, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    hub.runs.append({"file": file, "head_branch": ref, "head_sha": sha,
                     "event": "workflow_dispatch"})  # fmt: skip
    return Reply(status=204)


# ── environments and secrets ────────────────────────────────────────────────────────────────


@route("GET", "environments")
def environments(hub: GitHub, request: Request) -> Reply:
    request.need(("actions", "read"))
    found = [{"name": name, "protection_rules": [], "deployment_branch_policy": None, **told}
             for name, told in hub.environments.items()]  # fmt: skip
    return Reply({"total_count": len(found), "environments": found})


@route("GET", "environments/{name}/deployment-branch-policies")
def branch_policies(hub: GitHub, request: Request, name: str) -> Reply:
    request.need(("actions", "read"))
    found = [{"name": one} for one in hub.environments[name].get("branches", [])]
    return Reply({"total_count": len(found), "branch_policies": found})


@route("GET", "environments/{name}/secrets")
def environment_secrets(hub: GitHub, request: Request, name: str) -> Reply:
    request.need(("environments", "read"))
    if name not in hub.environments:
        raise Refused(404, "Not Found")
    found = [{"name": one} for one in hub.secrets.get(name, [])]
    return Reply({"total_count": len(found), "secrets": found})


@route("GET", "actions/secrets")
def repository_secrets(hub: GitHub, request: Request) -> Reply:
    request.need(("secrets", "read"))
    found = [{"name": one} for one in hub.secrets.get("", [])]
    return Reply({"total_count": len(found), "secrets": found})


# ── the server ──────────────────────────────────────────────────────────────────────────────


def answer(hub: GitHub, request: Request) -> Reply:
    if not request.headers.get("User-Agent"):
        raise Refused(403, "Request forbidden by administrative rules.")
    version = request.headers.get("X-GitHub-Api-Version", VERSION)
    if version != VERSION:
        raise Refused(400, f"API version {version} is not supported")
    given = request.headers.get("Authorization", "")
    word, _, name = given.partition(" ")
    if not given:
        raise Refused(401, "Requires authentication")
    if word.lower() not in {"bearer", "token"} or name not in hub.tokens:
        raise Refused(401, "Bad credentials")
    request.token = hub.tokens[name]
    for method, pattern, handler in ROUTES:
        match = pattern.fullmatch(request.path)
        if match is None or method != request.method:
            continue
        found = {key: unquote(value) for key, value in match.groupdict().items()}
        owner, repo = found.pop("owner", None), found.pop("repo", None)
        if owner is not None and f"{owner}/{repo}" != hub.repository:
            break
        reply: Reply = handler(hub, request, **found)
        return reply
    raise Refused(404, "Not Found")


def paged(reply: Any, request: Request, url: str) -> tuple[Any, str]:
    """One page of a list, and the `Link` to the others."""
    size = min(int(request.query.get("per_page", 30)), 100)
    page = max(int(request.query.get("page", 1)), 1)
    key = ""
    if isinstance(reply, dict) and "total_count" in reply:
        key = next(name for name, value in reply.items() if isinstance(value, list))
    whole = reply[key] if key else reply
    if request.method != "GET" or not isinstance(whole, list):
        return reply, ""
    last = max(1, -(-len(whole) // size))
    part = whole[(page - 1) * size : page * size]

    def at(number: int, rel: str) -> str:
        query = urlencode({**request.query, "page": number})
        return f'<{url}{request.path}?{query}>; rel="{rel}"'

    links = [at(page - 1, "prev"), at(1, "first")] if page > 1 else []
    links += [at(page + 1, "next"), at(last, "last")] if page < last else []
    return ({**reply, key: part} if key else part), ", ".join(links)


def _encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # one segment a reply: two cost 40 ms each (Nagle, delayed ACK)
    hub: GitHub
    lock = threading.Lock()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        body = json.loads(raw) if raw else None
        request = Request(self.command, parts.path, query, self.headers, body)
        with self.lock:
            self.hub.asked.append(f"{self.command} {self.path}")
            fault = self._fault()
            said = self._judged(request) if fault is None or fault.done else None
        if fault is None and said is not None:
            self._send(*said)
        elif fault is not None and fault.status:
            self._send(fault.status, fault.body, fault.headers)
        else:
            self.close_connection = True

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def _fault(self) -> Fault | None:
        for fault in self.hub.faults:
            fits = fault.method == self.command and re.search(fault.path, self.path)
            if fits and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _judged(self, request: Request) -> tuple[int, Any, dict[str, str]]:
        try:
            reply = answer(self.hub, request)
        except Refused as refusal:
            return refusal.status, refusal.body, refusal.headers
        body, links = paged(reply.body, request, self.hub.url)
        return reply.status, body, {"Link": links} if links else {}

    def _send(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else _encoded(body)
        self.send_response_only(status)
        told = {
            "Content-Type": "application/json; charset=utf-8",
            "X-GitHub-Api-Version-Selected": VERSION,
            "X-GitHub-Request-Id": "0000:0000:1",
            "X-RateLimit-Limit": "1000",
            "X-RateLimit-Remaining": "900",
            "X-RateLimit-Reset": str(int(time.time()) + 1800),
            "X-RateLimit-Resource": "core",
            "Content-Length": str(len(data)),
            **headers,
        }
        # A fault may claim more than it sends: the connection ends then.
        self.close_connection |= told["Content-Length"] != str(len(data))
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(bare: Path, *, repository: str = "iterate/iterate") -> Iterator[GitHub]:
    """A GitHub whose repository's branches are those of `bare`."""
    handler = type("Handler", (_Handler,), {"lock": threading.Lock()})
    with loopback.serving(handler) as host:
        hub = GitHub(f"http://{host}", bare, repository)
        handler.hub = hub  # type: ignore[attr-defined]
        yield hub
