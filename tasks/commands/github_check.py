"""What a person sets up on GitHub once: looks at it as far as the token may, says the rest.

Of secrets, GitHub tells the names alone.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks import git
from tasks.base import console, markdown
from tasks.base.errors import TaskError
from tasks.base.options import Parser
from tasks.base.project import ROOT
from tasks.base.retry import RemoteFailed
from tasks.github import events, job, rest
from tasks.github.rest import segment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from tasks.github.rest import Api

State = Literal["ok", "missing", "unknown"]

SECRET: Final = "DAYTONA_API_KEY"  # noqa: S105 - its name
PRODUCTION: Final = "prd"
DEVELOPMENT: Final = "dev"
LABELS: Final = {events.LABEL: "a pull request with it gets a sandbox"}
#: The one job of ci.yml that a merge has to wait for.
GATE: Final = "Gate"
_SIGNS: Final[dict[State, str]] = {"ok": "✓", "missing": "✗", "unknown": "?"}


class NotSetUp(TaskError):
    code = "not-set-up"


@dataclass(frozen=True, kw_only=True)
class Finding:
    what: str
    state: State
    said: str = ""
    fix: str = ""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s github_check --",
        description=__doc__,
        allow_abbrev=False,
        epilog="Run it with a token of somebody who may administer the repository:"
        " GITHUB_TOKEN=$(gh auth token). GITHUB_REPOSITORY is OWNER/NAME; else the remote `origin`."
        " Exit status: 1 when something is missing.",
    )
    parser.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    given = rest.access(repository=repository_of(git.origin_url(ROOT)))
    with closing(rest.Api(given)) as api:
        found = list(look(api))
    rows = [[_SIGNS[f.state], f.what, f.said, f.fix if f.state != "ok" else ""] for f in found]
    shown = [[console.printable(cell) for cell in row] for row in rows]
    console.say(console.table(shown, ["", given.repository, "", "what to do"]))
    job.write_summary(
        f"### {markdown.code(given.repository)}\n\n"
        + markdown.table(["", "", "", "what to do"], [list(map(markdown.plain, r)) for r in rows])
    )
    if options.json:
        console.emit_json([asdict(one) for one in found])
    missing = [one.what for one in found if one.state == "missing"]
    unknown = [one.what for one in found if one.state == "unknown"]
    if missing:
        raise NotSetUp(f"not set up: {', '.join(missing)}", fix="the table above says how")
    if unknown:
        console.warn(f"{len(unknown)} could not be looked at with this token: see the table")
    else:
        console.good("all of it is set up")


def repository_of(url: str) -> str:
    """OWNER/NAME of an address at github.com, else ""."""
    match = re.fullmatch(
        r"(?:https://(?:[^/@]*@)?github\.com/|(?:ssh://)?git@github\.com[:/])"
        r"([\w.-]+/[\w.-]+?)(?:\.git)?/?",
        url,
        re.ASCII,
    )
    return match[1] if match else ""


# ── looking ─────────────────────────────────────────────────────────────────────────────────


def look(api: Api) -> Iterator[Finding]:
    settings = f"{api.access.page}/settings"
    known = {
        "Actions are on": (actions, f"{settings}/actions"),
        "workflows are enabled": (workflows, f"{api.access.page}/actions"),
        "Actions may open pull requests": (may_propose, f"{settings}/actions"),
        f"environment {PRODUCTION}": (production, f"{settings}/environments"),
        f"environment {DEVELOPMENT}": (development, f"{settings}/environments"),
        f"{SECRET} in {PRODUCTION}": (_secret_in(PRODUCTION), f"{settings}/environments"),
        f"{SECRET} in {DEVELOPMENT}": (_secret_in(DEVELOPMENT), f"{settings}/environments"),
        f"{SECRET} nowhere else": (no_shared_secret, f"{settings}/secrets/actions"),
        "merging waits for the checks": (gate, f"{settings}/rules"),
        **{f"label {name}": (_label(name), f"{api.access.page}/labels") for name in LABELS},
    }
    api.get("looking at the repository", "{repo}")  # a wrong name or token: said once, at once
    for what, (check, page) in known.items():
        try:
            problem, fix = check(api)
        except RemoteFailed as error:
            if error.kind not in {"scope", "not-found", "auth"}:
                raise
            yield Finding(
                what=what, state="unknown", said="this token may not look",
                fix=f"look at {page}; wanted: {_WANTED.get(check, 'see the README')}",
            )  # fmt: skip
            continue
        if problem:
            yield Finding(what=what, state="missing", said=problem, fix=f"{page}: {fix}")
        else:
            yield Finding(what=what, state="ok", said=fix)


#: What is wrong and what to do; or "" and what is right.
Told = tuple[str, str]


def actions(api: Api) -> Told:
    said = api.get("looking at Actions", "{repo}/actions/permissions")
    if not said.get("enabled"):
        return "they are off", "allow all actions, or those of GitHub's and Docker's"
    if said.get("allowed_actions") == "local_only":
        return "only this owner's actions may run", "allow GitHub's and Docker's, too"
    return "", ""


def workflows(api: Api) -> Told:
    """GitHub switches schedules off after 60 days without a commit in a public repository."""
    found = list(api.pages("listing the workflows", "{repo}/actions/workflows", key="workflows"))
    off = [str(one["name"]) for one in found if one.get("state") != "active"]
    if not found:
        return "there are none", "push .github/workflows to the default branch"
    return (f"off: {', '.join(off)}", "enable them") if off else ("", f"{len(found)} of them")


def may_propose(api: Api) -> Told:
    said = api.get("looking at Actions", "{repo}/actions/permissions/workflow")
    if not said.get("can_approve_pull_request_reviews"):
        return "they may not", "Workflow permissions → allow GitHub Actions to create pull requests"
    return "", ""


def production(api: Api) -> Told:
    fix = f"make {PRODUCTION}; under Deployment branches, select the default branch alone"
    there = _environment(api, PRODUCTION)
    if there is None:
        return "is not there", fix
    policy = there.get("deployment_branch_policy")
    if not policy:
        return "any branch may publish to it", fix
    reviewed = any(r.get("type") == "required_reviewers" for r in there["protection_rules"])
    who = "with reviewers" if reviewed else "without reviewers (add some, if people are to agree)"
    if not policy.get("custom_branch_policies"):
        return "", f"protected branches, {who}"
    path = f"{{repo}}/environments/{PRODUCTION}/deployment-branch-policies"
    names = [str(one["name"]) for one in api.pages("reading them", path, key="branch_policies")]
    main = api.get("looking at the repository", "{repo}")["default_branch"]
    if names != [main]:
        return f"these may publish to it: {', '.join(names) or 'none'}", fix
    return "", f"{main}, {who}"


def development(api: Api) -> Told:
    fix = f"make {DEVELOPMENT}, with no restriction of branches: each publishes its own sandbox"
    there = _environment(api, DEVELOPMENT)
    if there is None:
        return "is not there", fix
    return ("branches are restricted", fix) if there.get("deployment_branch_policy") else ("", "")


def _environment(api: Api, name: str) -> Any:
    # By the list: a single one is "not found" also for a token that may not see any.
    found = api.pages("listing the environments", "{repo}/environments", key="environments")
    return next((one for one in found if one["name"] == name), None)


def _secret_in(environment: str) -> Callable[[Api], Told]:
    def check(api: Api) -> Told:
        if _environment(api, environment) is None:
            return "its environment is not there", f"make {environment}, then add the secret"
        names = _names(api, f"{{repo}}/environments/{segment(environment)}/secrets", "secrets")
        if SECRET not in names:
            return "is not there", f"{environment} → Add environment secret → {SECRET}"
        return "", ""

    return check


def no_shared_secret(api: Api) -> Told:
    """A repository's secret is within reach of every workflow on every branch."""
    if SECRET in _names(api, "{repo}/actions/secrets", "secrets"):
        return "is a secret of the repository", "delete it there: the environments have it"
    return "", ""


def _names(api: Api, path: str, key: str) -> set[str]:
    return {str(one["name"]) for one in api.pages("listing the secrets", path, key=key)}


def _label(name: str) -> Callable[[Api], Told]:
    def check(api: Api) -> Told:
        if api.find("looking for the label", f"{{repo}}/labels/{segment(name)}") is None:
            return "is not there", f"make it: {LABELS[name]}"
        return "", ""

    return check


def gate(api: Api) -> Told:
    """Rulesets and the older branch protection: either will do, and both can be read by anybody."""
    main = str(api.get("looking at the repository", "{repo}")["default_branch"])
    rules = api.pages("reading the rules", f"{{repo}}/rules/branches/{segment(main)}")
    required = {
        str(check.get("context"))
        for rule in rules
        if rule.get("type") == "required_status_checks"
        for check in (rule.get("parameters") or {}).get("required_status_checks", [])
    }
    branch = api.get("looking at the branch", f"{{repo}}/branches/{segment(main)}")
    checks = (branch.get("protection") or {}).get("required_status_checks") or {}
    required |= set(checks.get("contexts") or [])
    if GATE not in required:
        return f"the check {GATE} is not required", f"require it on {main}"
    return "", f"{GATE} on {main}"


_WANTED: Final[dict[Callable[[Api], Told], str]] = {
    actions: "Actions allowed",
    may_propose: "GitHub Actions may create pull requests",
    no_shared_secret: f"no {SECRET} among the repository's secrets",
    production: f"{PRODUCTION}, for the default branch alone",
    development: f"{DEVELOPMENT}, for every branch",
    gate: f"the check {GATE} is required",
}
