"""What a person sets up on GitHub once: each setting, checked as far as the token may look.

Of secrets, GitHub tells the names alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base.errors import TaskError
from tasks.base.retry import RemoteFailed
from tasks.github import events
from tasks.github.rest import segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.github.rest import GitHubApi

State = Literal["ok", "missing", "unknown"]
#: What is wrong and how to mend it; or "" and, where it helps, what is right.
Assessment = tuple[str, str]

SECRET: Final = "DAYTONA_API_KEY"  # noqa: S105 - its name
PRODUCTION: Final = "prd"
DEVELOPMENT: Final = "dev"
#: The one job of ci.yml that a merge has to wait for.
GATE: Final = "Gate"
_LABEL_PURPOSE: Final = "a pull request with it gets a sandbox"


class NotSetUp(TaskError):
    """At least one setting is missing."""

    code = "not-set-up"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Something to set up, by its name in the table; `page` is below the repository's own.

    `goal` is what a person looks for who may see the page when the token may not.
    """

    name: str
    assess: Callable[[GitHubApi], Assessment]
    page: str
    goal: str = "see docs/github.md"


@dataclass(frozen=True, kw_only=True)
class CheckedSetting:
    """A setting as it was found; `fix` names the page on which a person changes it."""

    name: str
    state: State
    detail: str = ""
    fix: str = ""


def repository_of(url: str) -> str:
    """OWNER/NAME of an address at github.com, else ""."""
    match = re.fullmatch(
        r"(?:https://(?:[^/@]*@)?github\.com/|(?:ssh://)?git@github\.com[:/])"
        r"([\w.-]+/[\w.-]+?)(?:\.git)?/?",
        url,
        re.ASCII,
    )
    return match[1] if match else ""


def check(api: GitHubApi) -> Iterator[CheckedSetting]:
    """Look at each setting in turn. Raises `RemoteFailed` at once for a wrong name or token."""
    api.get("looking at the repository", "{repo}")
    for setting in SETTINGS:
        page = f"{api.access.page}/{setting.page}"
        try:
            problem, detail = setting.assess(api)
        except RemoteFailed as error:
            if error.kind not in {"scope", "not-found", "auth"}:
                raise
            yield CheckedSetting(
                name=setting.name,
                state="unknown",
                detail="this token may not look",
                fix=f"look at {page}; right is: {setting.goal}",
            )
            continue
        if problem:
            yield CheckedSetting(
                name=setting.name, state="missing", detail=problem, fix=f"{page}: {detail}"
            )
        else:
            yield CheckedSetting(name=setting.name, state="ok", detail=detail)


# ── each setting ────────────────────────────────────────────────────────────────────────────


def _actions(api: GitHubApi) -> Assessment:
    permissions = api.get("looking at Actions", "{repo}/actions/permissions")
    if not permissions.get("enabled"):
        return "they are off", "allow all actions, or those of GitHub's and Docker's"
    if permissions.get("allowed_actions") == "local_only":
        return "only this owner's actions may run", "allow GitHub's and Docker's, too"
    return "", ""


def _workflows(api: GitHubApi) -> Assessment:
    """GitHub disables schedules after 60 days without a commit in a public repository."""
    path = "{repo}/actions/workflows"
    workflows = list(api.pages("listing the workflows", path, key="workflows"))
    disabled = [str(flow["name"]) for flow in workflows if flow.get("state") != "active"]
    if not workflows:
        return "there are none", "push .github/workflows to the default branch"
    if disabled:
        return f"off: {', '.join(disabled)}", "enable them"
    return "", f"{len(workflows)} of them"


def _pull_requests_by_actions(api: GitHubApi) -> Assessment:
    permissions = api.get("looking at Actions", "{repo}/actions/permissions/workflow")
    if not permissions.get("can_approve_pull_request_reviews"):
        return "they may not", "Workflow permissions → allow GitHub Actions to create pull requests"
    return "", ""


def _production(api: GitHubApi) -> Assessment:
    fix = f"make {PRODUCTION}; under Deployment branches, select the default branch alone"
    environment = _environment(api, PRODUCTION)
    if environment is None:
        return "does not exist", fix
    policy = environment.get("deployment_branch_policy")
    if not policy:
        return "any branch may publish to it", fix
    rules = environment["protection_rules"]
    is_reviewed = any(rule.get("type") == "required_reviewers" for rule in rules)
    reviewers = "with reviewers" if is_reviewed else "without reviewers (add some if people agree)"
    if not policy.get("custom_branch_policies"):
        return "", f"protected branches, {reviewers}"
    path = f"{{repo}}/environments/{PRODUCTION}/deployment-branch-policies"
    pages = api.pages("reading the branch policies", path, key="branch_policies")
    names = [str(branch_policy["name"]) for branch_policy in pages]
    main = _default_branch(api)
    if names != [main]:
        return f"these branches may publish to it: {', '.join(names) or 'none'}", fix
    return "", f"{main}, {reviewers}"


def _development(api: GitHubApi) -> Assessment:
    fix = f"make {DEVELOPMENT}, with no restriction of branches: each publishes its own sandbox"
    environment = _environment(api, DEVELOPMENT)
    if environment is None:
        return "does not exist", fix
    if environment.get("deployment_branch_policy"):
        return "branches are restricted", fix
    return "", ""


def _environment(api: GitHubApi, name: str) -> Any:
    # From the list: a single environment is "not found" also for a token that may not see any.
    pages = api.pages("listing the environments", "{repo}/environments", key="environments")
    return next((environment for environment in pages if environment["name"] == name), None)


def _secret_in(environment: str) -> Callable[[GitHubApi], Assessment]:
    def assess(api: GitHubApi) -> Assessment:
        if _environment(api, environment) is None:
            return "its environment does not exist", f"make {environment}, then add the secret"
        path = f"{{repo}}/environments/{segment(environment)}/secrets"
        if SECRET not in _secret_names(api, path):
            return "does not exist", f"{environment} → Add environment secret → {SECRET}"
        return "", ""

    return assess


def _no_shared_secret(api: GitHubApi) -> Assessment:
    """A repository's secret is within reach of every workflow on every branch."""
    if SECRET in _secret_names(api, "{repo}/actions/secrets"):
        return "is a secret of the repository", "delete it there: the environments have it"
    return "", ""


def _secret_names(api: GitHubApi, path: str) -> set[str]:
    pages = api.pages("listing the secrets", path, key="secrets")
    return {str(secret["name"]) for secret in pages}


def _label(api: GitHubApi) -> Assessment:
    if api.find("looking for the label", f"{{repo}}/labels/{segment(events.LABEL)}") is None:
        return "does not exist", f"make it: {_LABEL_PURPOSE}"
    return "", ""


def _required_gate(api: GitHubApi) -> Assessment:
    """Rulesets and the older branch protection: either will do, and anybody can read both."""
    main = _default_branch(api)
    rules = api.pages("reading the rules", f"{{repo}}/rules/branches/{segment(main)}")
    required = {
        str(status_check.get("context"))
        for rule in rules
        if rule.get("type") == "required_status_checks"
        for status_check in (rule.get("parameters") or {}).get("required_status_checks", [])
    }
    branch = api.get("looking at the branch", f"{{repo}}/branches/{segment(main)}")
    checks = (branch.get("protection") or {}).get("required_status_checks") or {}
    if GATE not in required | set(checks.get("contexts") or []):
        return f"the check {GATE} is not required", f"require it on {main}"
    return "", f"{GATE} on {main}"


def _default_branch(api: GitHubApi) -> str:
    return str(api.get("looking at the repository", "{repo}")["default_branch"])


SETTINGS: Final = (
    Setting(
        name="Actions are on",
        assess=_actions,
        page="settings/actions",
        goal="Actions allowed",
    ),
    Setting(name="workflows are enabled", assess=_workflows, page="actions"),
    Setting(
        name="Actions may open pull requests",
        assess=_pull_requests_by_actions,
        page="settings/actions",
        goal="GitHub Actions may create pull requests",
    ),
    Setting(
        name=f"environment {PRODUCTION}",
        assess=_production,
        page="settings/environments",
        goal=f"{PRODUCTION}, for the default branch alone",
    ),
    Setting(
        name=f"environment {DEVELOPMENT}",
        assess=_development,
        page="settings/environments",
        goal=f"{DEVELOPMENT}, for every branch",
    ),
    *(
        Setting(name=f"{SECRET} in {name}", assess=_secret_in(name), page="settings/environments")
        for name in (PRODUCTION, DEVELOPMENT)
    ),
    Setting(
        name=f"{SECRET} nowhere else",
        assess=_no_shared_secret,
        page="settings/secrets/actions",
        goal=f"no {SECRET} among the repository's secrets",
    ),
    Setting(
        name="merging waits for the checks",
        assess=_required_gate,
        page="settings/rules",
        goal=f"the check {GATE} is required",
    ),
    Setting(name=f"label {events.LABEL}", assess=_label, page="labels"),
)
