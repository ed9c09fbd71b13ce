"""The part of GitHub's REST API that workflows use, as it answers: permissions, validation, limits.

https://docs.github.com/rest
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tests.support import repos
from tests.support.github_hub import WORKFLOW, GitHubRefusal, GitHubReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.github_hub import GitHub, GitHubRequest, Json

Handler = TypeVar("Handler", bound="Callable[..., Any]")
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., GitHubReply]]] = []


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
def user(_hub: GitHub, request: GitHubRequest) -> GitHubReply:
    if request.token is None or not request.token.login:
        raise GitHubRefusal(403, "Resource not accessible by integration")
    return GitHubReply({"login": request.token.login})


@route("GET", "")
def repository(hub: GitHub, _request: GitHubRequest) -> GitHubReply:
    return GitHubReply({"full_name": hub.repository, "default_branch": hub.default_branch})


@route("GET", "branches/{branch}")
def branch(hub: GitHub, _request: GitHubRequest, branch: str) -> GitHubReply:
    sha = hub.branch(branch)
    if sha is None:
        raise GitHubRefusal(404, "Branch not found")
    checks = {"enforcement_level": "off", "contexts": hub.protected, "checks": []}
    protection = {"enabled": bool(hub.protected), "required_status_checks": checks}
    return GitHubReply({"name": branch, "commit": {"sha": sha}, "protection": protection})


@route("GET", "rules/branches/{branch}")
def rules(hub: GitHub, _request: GitHubRequest, branch: str) -> GitHubReply:
    return GitHubReply(hub.rules if branch == hub.default_branch else [])


# ── pull requests and comments ──────────────────────────────────────────────────────────────

_ISSUES: Final = (("issues", "write"), ("pull_requests", "write"))


def _pull(hub: GitHub, number: str) -> Json:
    pull = hub.pulls.get(int(number)) if number.isdecimal() else None
    if pull is None:
        raise GitHubRefusal(404, "Not Found")
    # One whose branch is deleted is closed by GitHub.
    if pull.get("ours"):
        sha = hub.branch(pull["head"]["ref"])
        pull["state"] = pull["state"] if sha else "closed"
        pull["head"]["sha"] = sha or pull["head"].get("sha")
    return pull


@route("GET", "pulls")
def pulls(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    request.need(("pull_requests", "read"))
    state, head = request.query.get("state", "open"), request.query.get("head")
    listed = [_pull(hub, str(number)) for number in hub.pulls]
    listed = [pull for pull in listed if state in {"all", pull["state"]}]
    # A head that is not OWNER:BRANCH is ignored, as GitHub does it.
    if head and ":" in head:
        listed = [pull for pull in listed if pull["head"]["label"] == head]
    return GitHubReply(sorted(listed, key=lambda p: -int(p["number"])))


@route("POST", "pulls")
def open_pull(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    request.need(("pull_requests", "write"))
    job = request.token is not None and not request.token.login
    if job and not hub.workflow_permissions["can_approve_pull_request_reviews"]:
        raise GitHubRefusal(
            403, "GitHub Actions is not permitted to create or approve pull requests."
        )
    fields = request.body
    for name in ("title", "head", "base"):
        if not fields.get(name):
            _invalid("PullRequest", field=name, code="missing_field")
    head, base = hub.branch(fields["head"]), hub.branch(fields["base"])
    for name, sha in (("head", head), ("base", base)):
        if sha is None:
            _invalid("PullRequest", field=name, code="invalid")
    owner = hub.repository.partition("/")[0]
    label = f"{owner}:{fields['head']}"
    if any(p["head"]["label"] == label and p["state"] == "open" for p in hub.pulls.values()):
        _invalid(
            "PullRequest", code="custom", message=f"A pull request already exists for {label}."
        )
    if repos.git(hub.bare, "rev-list", "--count", f"{base}..{head}").strip() == "0":
        message = f"No commits between {fields['base']} and {fields['head']}"
        _invalid("PullRequest", code="custom", message=message)
    number = hub.pull(head=fields["head"], owner=owner)
    pull = hub.pulls[number]
    login = request.token.login if request.token and request.token.login else WORKFLOW
    pull |= {"title": fields["title"], "body": fields.get("body") or "", "ours": True,
             "user": {"login": login}, "base": {"ref": fields["base"]}}  # fmt: skip
    return GitHubReply(_pull(hub, str(number)), 201)


def _invalid(resource: str, **error: str) -> None:
    raise GitHubRefusal(422, "Validation Failed", errors=[{"resource": resource, **error}])


@route("GET", "pulls/{number}")
def get_pull(hub: GitHub, request: GitHubRequest, number: str) -> GitHubReply:
    request.need(("pull_requests", "read"))
    return GitHubReply(_pull(hub, number))


@route("PATCH", "pulls/{number}")
def change_pull(hub: GitHub, request: GitHubRequest, number: str) -> GitHubReply:
    request.need(("pull_requests", "write"))
    pull = _pull(hub, number)
    for name in ("title", "body", "state"):
        if name in request.body:
            pull[name] = request.body[name]
    if "base" in request.body:
        if hub.branch(request.body["base"]) is None:
            _invalid("PullRequest", field="base", code="invalid")
        pull["base"] = {"ref": request.body["base"]}
    return GitHubReply(pull)


@route("GET", "issues/{number}/comments")
def comments(hub: GitHub, request: GitHubRequest, number: str) -> GitHubReply:
    request.need(("issues", "read"), ("pull_requests", "read"))
    _pull(hub, number)
    return GitHubReply([c for c in hub.comments.values() if c["issue"] == int(number)])


@route("POST", "issues/{number}/comments")
def write_comment(hub: GitHub, request: GitHubRequest, number: str) -> GitHubReply:
    request.need(*_ISSUES)
    pull = _pull(hub, number)
    if pull.get("locked"):
        raise GitHubRefusal(403, "Unable to create comment because issue is locked.")
    body = request.body.get("body")
    if not body:
        _invalid("IssueComment", field="body", code="missing_field")
    if len(body) > 65536:
        _invalid("IssueComment", code="unprocessable", field="data",
                 message="Body is too long (maximum is 65536 characters)")  # fmt: skip
    login = request.token.login if request.token and request.token.login else WORKFLOW
    return GitHubReply(hub.comments[hub.comment(int(number), body, login=login)], 201)


@route("PATCH", "issues/comments/{number}")
def change_comment(hub: GitHub, request: GitHubRequest, number: str) -> GitHubReply:
    request.need(*_ISSUES)
    comment = hub.comments.get(int(number))
    if comment is None:
        raise GitHubRefusal(404, "Not Found")
    comment["body"] = request.body["body"]
    return GitHubReply(comment)


@route("DELETE", "issues/comments/{number}")
def delete_comment(hub: GitHub, request: GitHubRequest, number: str) -> GitHubReply:
    request.need(*_ISSUES)
    if hub.comments.pop(int(number), None) is None:
        raise GitHubRefusal(404, "Not Found")
    return GitHubReply(status=204)


@route("GET", "labels/{name}")
def label(hub: GitHub, request: GitHubRequest, name: str) -> GitHubReply:
    request.need(("issues", "read"), ("pull_requests", "read"))
    if name not in hub.labels:
        raise GitHubRefusal(404, "Not Found")
    return GitHubReply({"name": name})


@route("POST", "issues/{number}/labels")
def add_labels(hub: GitHub, request: GitHubRequest, number: str) -> GitHubReply:
    request.need(*_ISSUES)
    pull = _pull(hub, number)
    hub.labels |= set(request.body["labels"])
    pull["labels"] += [{"name": name} for name in request.body["labels"]]
    return GitHubReply(pull["labels"])


# ── Actions ─────────────────────────────────────────────────────────────────────────────────


@route("GET", "actions/permissions")
def actions_permissions(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    request.need(("administration", "read"))
    return GitHubReply(hub.permissions)


@route("GET", "actions/permissions/workflow")
def workflow_permissions(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    request.need(("administration", "read"))
    return GitHubReply(hub.workflow_permissions)


@route("GET", "actions/workflows")
def list_workflows(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    request.need(("actions", "read"))
    return _listed("workflows", [
        {"name": flow["name"], "path": f".github/workflows/{file}", "state": flow["state"]}
        for file, flow in hub.workflows.items()
    ])  # fmt: skip


def _listed(key: str, items: list[Json]) -> GitHubReply:
    return GitHubReply({"total_count": len(items), key: items})


def _workflow(hub: GitHub, file: str) -> Json:
    if file not in hub.workflows:
        raise GitHubRefusal(404, "Not Found")
    return hub.workflows[file]


@route("GET", "actions/workflows/{file}/runs")
def list_runs(hub: GitHub, request: GitHubRequest, file: str) -> GitHubReply:
    request.need(("actions", "read"))
    _workflow(hub, file)
    sha = request.query.get("head_sha")
    runs = [r for r in hub.runs if r["file"] == file and sha in {None, r["head_sha"]}]
    return _listed("workflow_runs", runs)


@route("POST", "actions/workflows/{file}/dispatches")
def dispatch(hub: GitHub, request: GitHubRequest, file: str) -> GitHubReply:
    request.need(("actions", "write"))
    workflow = _workflow(hub, file)
    ref = request.body["ref"]
    sha = hub.branch(ref)
    if sha is None:
        raise GitHubRefusal(422, f"No ref found for: {ref}")
    if not workflow.get("dispatch", True):
        raise GitHubRefusal(422, "Workflow does not have 'workflow_dispatch' trigger")
    if workflow["state"] != "active":
        raise GitHubRefusal(403, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    hub.runs.append({"file": file, "head_branch": ref, "head_sha": sha,
                     "event": "workflow_dispatch"})  # fmt: skip
    return GitHubReply(status=204)


# ── environments and secrets ────────────────────────────────────────────────────────────────


@route("GET", "environments")
def environments(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    request.need(("actions", "read"))
    defaults: Json = {"protection_rules": [], "deployment_branch_policy": None}
    items = hub.environments.items()
    return _listed("environments", [{"name": name, **defaults, **item} for name, item in items])


@route("GET", "environments/{name}/deployment-branch-policies")
def branch_policies(hub: GitHub, request: GitHubRequest, name: str) -> GitHubReply:
    request.need(("actions", "read"))
    branches = hub.environments[name].get("branches", [])
    return _listed("branch_policies", [{"name": branch} for branch in branches])


@route("GET", "environments/{name}/secrets")
def environment_secrets(hub: GitHub, request: GitHubRequest, name: str) -> GitHubReply:
    request.need(("environments", "read"))
    if name not in hub.environments:
        raise GitHubRefusal(404, "Not Found")
    return _listed("secrets", [{"name": secret} for secret in hub.secrets.get(name, [])])


@route("GET", "actions/secrets")
def repository_secrets(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    request.need(("secrets", "read"))
    return _listed("secrets", [{"name": secret} for secret in hub.secrets.get("", [])])
