"""What an event of GitHub means for sandboxes at Daytona: publish one, retire one, or nothing.

Decisions are pure. GitHub gives no secret to a pull request from a fork, so nothing of it can be
published; the conditions in the workflows are the second lock.
https://docs.github.com/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base import console, stages
from tasks.base.errors import BadInput
from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Action = Literal["publish", "retire", "nothing"]

#: On a pull request, this label asks for a sandbox.
LABEL: Final = "sandbox"
MAIN: Final = "refs/heads/main"
_RUN_BY_HAND: Final = "Actions → Branch sandbox → Run workflow"


@dataclass(frozen=True, kw_only=True)
class SandboxPlan:
    """`sha` is the commit, `stage` where it goes; both are empty where there is nothing to do."""

    action: Action
    reason: str
    branch: str = ""
    sha: str = ""
    stage: str = ""
    pull_request: str = ""

    def record(self) -> dict[str, str]:
        """For the outputs of a step and for `--json`."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Event:
    """`resolve` turns a ref that a person typed into its commit and, if it is one, its branch."""

    name: str
    payload: Mapping[str, Any]
    repository: str
    ref: str
    resolve: Callable[[str], tuple[str, str]]


def of_job(resolve: Callable[[str], tuple[str, str]]) -> Event:
    """The event of this job, from its environment. Raises `BadInput` outside of a job."""
    return Event(
        name=_variable("GITHUB_EVENT_NAME"),
        payload=_payload(_variable("GITHUB_EVENT_PATH")),
        repository=_variable("GITHUB_REPOSITORY"),
        ref=_variable("GITHUB_REF"),
        resolve=resolve,
    )


def plan(event: Event, *, production: bool) -> SandboxPlan:
    """What `event` asks for, at production's stage or at a branch's. Raises `BadInput` for a
    payload that is not as GitHub sends it.
    """
    try:
        return _for_production(event) if production else _for_branch(event)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(
            f"the event `{console.printable(event.name)}` is not as GitHub sends it: has no {error}"
        ) from None


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise BadInput(
            f"{name} is not set: this is not a job of GitHub Actions",
            fix="nox -s snapshot_daytona -- --ref REF publishes from here",
        )
    return value


def _payload(path: str) -> dict[str, Any]:
    try:
        payload = parse_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"the event in {path} cannot be read: {error}") from None
    if not isinstance(payload, dict):
        raise BadInput(f"the event in {path} is not an object")
    return payload


# ── production ──────────────────────────────────────────────────────────────────────────────


def _for_production(event: Event) -> SandboxPlan:
    if _is_fork(event):
        return _no_plan(f"{event.repository} is a fork: it publishes to no production of ours")
    if event.ref != MAIN:
        return _no_plan(f"production is published from main alone, not from {event.ref}")
    return SandboxPlan(action="publish", reason="a commit on main", stage=stages.PRODUCTION)


def _is_fork(event: Event) -> bool:
    return bool((event.payload.get("repository") or {}).get("fork"))


def _no_plan(reason: str) -> SandboxPlan:
    return SandboxPlan(action="nothing", reason=reason)


# ── a branch ────────────────────────────────────────────────────────────────────────────────


def _for_branch(event: Event) -> SandboxPlan:
    if _is_fork(event):
        return _no_plan(f"{event.repository} is a fork: it has no Daytona of ours")
    if event.name == "pull_request":
        return _for_pull_request(event)
    if event.name == "delete":
        return _for_deletion(event.payload)
    if event.name == "workflow_dispatch":
        return _for_dispatch(event)
    raise BadInput(
        f"no sandbox depends on the event `{console.printable(event.name)}`",
        fix="on: pull_request, delete or workflow_dispatch",
    )


#: What happens to a pull request that has the label → why its sandbox is published.
_PUBLISH_REASONS: Final = {
    "labeled": f"the label `{LABEL}` was set",
    "synchronize": "the branch has new commits",
    "reopened": "the pull request is open again",
}
#: … and why it is retired.
_RETIRE_REASONS: Final = {
    "closed": "the pull request is closed",
    "unlabeled": f"the label `{LABEL}` was removed",
}


def _for_pull_request(event: Event) -> SandboxPlan:
    pull_request = event.payload["pull_request"]
    changed_label = (event.payload.get("label") or {}).get("name")
    is_labelled = LABEL in {label["name"] for label in pull_request.get("labels", ())}
    # GitHub sends null for a fork that has been deleted in the meantime.
    head_repository = (pull_request["head"].get("repo") or {}).get("full_name")
    if changed_label != LABEL and not is_labelled:
        return _no_plan(f"the pull request has no label `{LABEL}`")
    if head_repository != event.repository:
        return _no_plan(
            f"the pull request comes from a fork ({head_repository or 'deleted by now'}), which no"
            " secret may reach: to see it at Daytona, read it, push it to a branch here, then"
            f" {_RUN_BY_HAND}"
        )
    if changed_label not in {LABEL, None}:
        return _no_plan(f"the label `{changed_label}` is not `{LABEL}`")
    return _for_own_pull_request(event.payload["action"], pull_request)


def _for_own_pull_request(action: str, pull_request: Mapping[str, Any]) -> SandboxPlan:
    branch = pull_request["head"]["ref"]
    target = {
        "branch": branch,
        "stage": stages.stage_for_branch(branch),
        "pull_request": str(int(pull_request["number"])),
    }
    if action in _RETIRE_REASONS:
        return SandboxPlan(action="retire", reason=_RETIRE_REASONS[action], **target)
    if pull_request["state"] != "open":
        return _no_plan("the pull request is closed")
    if action in _PUBLISH_REASONS:
        sha = _commit_id(pull_request["head"]["sha"])
        return SandboxPlan(action="publish", reason=_PUBLISH_REASONS[action], sha=sha, **target)
    return _no_plan(f"`{action}` changes nothing in the branch")


def _for_deletion(payload: Mapping[str, Any]) -> SandboxPlan:
    name, kind = payload["ref"], payload["ref_type"]
    if kind != "branch":
        return _no_plan(f"a {kind} was deleted, not a branch")
    stage = stages.stage_for_branch(name)
    return SandboxPlan(action="retire", reason="the branch was deleted", branch=name, stage=stage)


def _for_dispatch(event: Event) -> SandboxPlan:
    inputs = event.payload.get("inputs") or {}
    sha, branch = event.resolve(inputs.get("ref") or "")
    stage = inputs.get("stage") or ""
    if stage:
        stages.check_stage(stage)
    if stage == stages.PRODUCTION:
        raise BadInput("prd is published from main alone", fix="leave the stage out, or choose stg")
    if not stage and not branch:
        raise BadInput(
            f"`{console.printable(inputs['ref'])}` is not a branch, so no stage follows from it",
            fix="name a stage, too: stg or dev-NAME",
        )
    return SandboxPlan(
        action="publish",
        reason="asked for by hand",
        branch=branch,
        sha=sha,
        stage=stage or stages.stage_for_branch(branch),
    )


def _commit_id(text: str) -> str:
    if len(text) not in {40, 64} or not set(text) <= set("0123456789abcdef"):
        raise BadInput(f"the event's commit is not an id: {console.printable(text[:70])}")
    return text
