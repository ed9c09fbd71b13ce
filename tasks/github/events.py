"""What an event of GitHub means for sandboxes at Daytona: publish one, retire one, or nothing.

Pure. A pull request of a fork gets no secret from GitHub, so that nothing of it can be published;
the workflows' own conditions are the second lock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.daytona import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Action = Literal["publish", "retire", "nothing"]

#: On a pull request, this label asks for a sandbox.
LABEL: Final = "sandbox"
MAIN: Final = "refs/heads/main"
_RUN_BY_HAND: Final = "Actions → Branch sandbox → Run workflow"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`sha` is of the commit, `stage` where it goes; both only where something is to be done."""

    action: Action
    reason: str
    branch: str = ""
    sha: str = ""
    stage: str = ""
    pull_request: str = ""

    def record(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Event:
    """`resolve` turns a ref of a person's into a commit, and the branch that it is."""

    name: str
    payload: Mapping[str, Any]
    repository: str
    ref: str
    resolve: Callable[[str], tuple[str, str]]


def production(event: Event) -> Plan:
    if _is_fork(event):
        return _nothing(f"{event.repository} is a fork: no production of ours is published there")
    if event.ref != MAIN:
        return _nothing(f"production is published from main alone, not from {event.ref}")
    return Plan(action="publish", reason="a commit on main", stage=snapshot.PRODUCTION)


def branch(event: Event) -> Plan:
    if _is_fork(event):
        return _nothing(f"{event.repository} is a fork: it has no Daytona of ours")
    if event.name == "pull_request":
        return _pull_request(event)
    if event.name == "delete":
        return _deleted(event.payload)
    if event.name == "workflow_dispatch":
        return _by_hand(event)
    raise BadInput(
        f"no sandbox depends on the event `{console.printable(event.name)}`",
        fix="on: pull_request, delete or workflow_dispatch",
    )


def _is_fork(event: Event) -> bool:
    return bool((event.payload.get("repository") or {}).get("fork"))


def _nothing(reason: str) -> Plan:
    return Plan(action="nothing", reason=reason)


def _pull_request(event: Event) -> Plan:
    what, pull = event.payload["action"], event.payload["pull_request"]
    named = (event.payload.get("label") or {}).get("name")
    labelled = LABEL in {label["name"] for label in pull.get("labels", ())}
    # A fork that was deleted meanwhile is null.
    home = (pull["head"].get("repo") or {}).get("full_name")
    if named != LABEL and not labelled:
        return _nothing(f"the pull request has no label `{LABEL}`")
    if home != event.repository:
        return _nothing(
            f"the pull request comes from a fork ({home or 'deleted by now'}), and no secret is"
            " within its reach: to see it at Daytona, read it, push it to a branch here, then"
            f" {_RUN_BY_HAND}"
        )
    if named not in {LABEL, None}:
        return _nothing(f"the label `{named}` is not `{LABEL}`")
    name = pull["head"]["ref"]
    return _of_ours(
        what,
        pull,
        branch=name,
        stage=snapshot.stage_for_branch(name),
        pull_request=str(int(pull["number"])),
    )


#: What happens to a pull request that has the label → why its sandbox is made, or goes.
_MADE: Final = {
    "labeled": f"the label `{LABEL}` was set",
    "synchronize": "the branch has new commits",
    "reopened": "the pull request is open again",
}
_GOES: Final = {
    "closed": "the pull request is closed",
    "unlabeled": f"the label `{LABEL}` was removed",
}


def _of_ours(what: str, pull: Mapping[str, Any], **plan: str) -> Plan:
    if what in _GOES:
        return Plan(action="retire", reason=_GOES[what], **plan)
    if pull["state"] != "open":
        return _nothing("the pull request is closed")
    if what in _MADE:
        return Plan(action="publish", reason=_MADE[what], sha=_sha(pull["head"]["sha"]), **plan)
    return _nothing(f"`{what}` changes nothing in the branch")


def _deleted(payload: Mapping[str, Any]) -> Plan:
    name, kind = payload["ref"], payload["ref_type"]
    if kind != "branch":
        return _nothing(f"a {kind} was deleted, not a branch")
    stage = snapshot.stage_for_branch(name)
    return Plan(action="retire", reason="the branch was deleted", branch=name, stage=stage)


def _by_hand(event: Event) -> Plan:
    inputs = event.payload.get("inputs") or {}
    sha, name = event.resolve(inputs.get("ref") or "")
    stage = inputs.get("stage") or ""
    if stage:
        snapshot.check_stage(stage)
    if stage == snapshot.PRODUCTION:
        raise BadInput("prd is published from main alone", fix="leave the stage out, or stg")
    if not stage and not name:
        raise BadInput(
            f"`{console.printable(inputs['ref'])}` is no branch, so that no stage follows from it",
            fix="name a stage, too: stg or dev-NAME",
        )
    return Plan(
        action="publish",
        reason="asked for by hand",
        branch=name,
        sha=sha,
        stage=stage or snapshot.stage_for_branch(name),
    )


def _sha(text: str) -> str:
    if len(text) not in {40, 64} or not set(text) <= set("0123456789abcdef"):
        raise BadInput(f"the event's commit is no id: {console.printable(text[:70])}")
    return text
