"""What an event asks for: the plan of each, and what the command makes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import BadInput
from tasks.commands import sandbox_plan
from tasks.github import events

if TYPE_CHECKING:
    from pathlib import Path

SHA = "a" * 40
HOME = {"full_name": "iterate/iterate", "fork": False}
FORK = {"full_name": "stranger/iterate", "fork": True}


def event(name: str, *, at: str = "refs/heads/main", **payload: Any) -> events.Event:
    payload.setdefault("repository", HOME)
    return events.Event(
        name=name, payload=payload, repository=payload["repository"]["full_name"], ref=at,
        resolve=lambda ref: (SHA, ref if ref.startswith("work") else ""),
    )  # fmt: skip


def for_branch(occasion: events.Event) -> events.SandboxPlan:
    return events.plan(occasion, production=False)


def for_production(occasion: events.Event) -> events.SandboxPlan:
    return events.plan(occasion, production=True)


def pull(
    action: str, *, labels: tuple[str, ...] = (), label: str | None = None, state: str = "open",
    home: dict[str, Any] | None = HOME, ref: str = "work", sha: str = SHA,
) -> events.SandboxPlan:  # fmt: skip
    request = {
        "number": 7, "state": state, "labels": [{"name": name} for name in labels],
        "head": {"ref": ref, "sha": sha, "repo": home},
    }  # fmt: skip
    payload: dict[str, Any] = {"action": action, "pull_request": request}
    if label:
        payload["label"] = {"name": label}
    return for_branch(event("pull_request", **payload))


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        ({"action": "labeled", "label": "sandbox", "labels": ("sandbox",)}, "publish", "was set"),
        ({"action": "synchronize", "labels": ("a", "sandbox")}, "publish", "new commits"),
        ({"action": "reopened", "labels": ("sandbox",)}, "publish", "open again"),
        ({"action": "unlabeled", "label": "sandbox"}, "retire", "was removed"),
        ({"action": "closed", "labels": ("sandbox",), "state": "closed"}, "retire", "is closed"),
        ({"action": "closed", "state": "closed"}, "nothing", "no label"),
        ({"action": "synchronize"}, "nothing", "no label"),
        ({"action": "labeled", "label": "docs", "labels": ("docs",)}, "nothing", "no label"),
        (
            {"action": "labeled", "label": "docs", "labels": ("docs", "sandbox")},
            "nothing",
            "`docs`",
        ),
        ({"action": "unlabeled", "label": "docs", "labels": ("sandbox",)}, "nothing", "`docs`"),
        ({"action": "labeled", "label": "sandbox", "state": "closed"}, "nothing", "is closed"),
        ({"action": "edited", "labels": ("sandbox",)}, "nothing", "changes nothing"),
        ({"action": "labeled", "label": "sandbox", "home": FORK}, "nothing", "comes from a fork"),
        ({"action": "labeled", "label": "sandbox", "home": None}, "nothing", "deleted by now"),
        ({"action": "unlabeled", "label": "sandbox", "home": FORK}, "nothing", "from a fork"),
    ],
)
def test_a_pull_request_publishes_or_retires_by_its_label(
    changes: dict[str, Any], action: str, reason: str
) -> None:
    plan = pull(**changes)
    assert plan.action == action
    assert reason in plan.reason
    assert bool(plan.sha) == (action == "publish")
    assert bool(plan.stage) == (action != "nothing")


def test_a_branch_has_one_stage_whatever_happens_to_it() -> None:
    for name in ("work", '"; touch pwned #', "$(id)", "ünïcode/日本", "a\nb", "-evil"):
        labelled = pull("labeled", label="sandbox", ref=name)
        unlabelled = pull("unlabeled", label="sandbox", ref=name)
        deletion_plan = deletion(ref=name, ref_type="branch")
        plans = (labelled, unlabelled, deletion_plan)
        assert {plan.stage for plan in plans} == {labelled.stage}
        assert {plan.branch for plan in plans} == {name}
        assert deletion_plan.action == "retire"


def test_a_commit_that_is_not_an_id_is_refused() -> None:
    with pytest.raises(BadInput, match="not an id"):
        pull("labeled", label="sandbox", sha="--upload-pack=x")


def deletion(**payload: Any) -> events.SandboxPlan:
    return for_branch(event("delete", **payload))


def test_only_branches_are_retired() -> None:
    plan = deletion(ref="work", ref_type="branch")
    assert (plan.action, plan.branch, plan.stage) == ("retire", "work", "dev-work")
    assert deletion(ref="v1", ref_type="tag").action == "nothing"


def dispatch(**inputs: str) -> events.SandboxPlan:
    return for_branch(event("workflow_dispatch", inputs=inputs))


def test_a_dispatch_publishes_its_ref_at_its_stage() -> None:
    plan = dispatch(ref="work", stage="")
    assert (plan.action, plan.stage, plan.branch, plan.sha) == ("publish", "dev-work", "work", SHA)
    assert dispatch(ref="work", stage="stg").stage == "stg"
    assert dispatch(ref="v1", stage="dev-ann").stage == "dev-ann"
    for inputs in ({"ref": "v1", "stage": ""}, {"ref": "work", "stage": "prd"},
                  {"ref": "work", "stage": "$(id)"}):  # fmt: skip
        with pytest.raises(BadInput):
            dispatch(**inputs)


def test_production_is_published_from_main_alone() -> None:
    assert for_production(event("push")).action == "publish"
    assert "main alone" in for_production(event("push", at="refs/heads/x")).reason
    fork = for_production(event("push", repository=FORK))
    assert (fork.action, "is a fork" in fork.reason) == ("nothing", True)
    assert for_branch(event("workflow_dispatch", repository=FORK)).action == "nothing"


def test_events_without_a_sandbox_are_refused() -> None:
    with pytest.raises(BadInput, match="issue_comment"):
        for_branch(event("issue_comment"))


# ── the command ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's environment; the folder of its files."""
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_EVENT_PATH"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_EVENT_NAME", "delete")
    monkeypatch.setenv("GITHUB_REPOSITORY", "iterate/iterate")
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    return tmp_path


def test_a_name_with_line_breaks_forges_no_output(job: Path) -> None:
    name = "x\naction=publish\nsha=1\n"
    payload = {"ref": name, "ref_type": "branch", "repository": HOME}
    (job / "GITHUB_EVENT_PATH").write_text(json.dumps(payload))
    sandbox_plan.main([])
    from tests.support import github_runner

    outputs = github_runner.outputs((job / "GITHUB_OUTPUT").read_text())
    assert (outputs["action"], outputs["branch"], outputs["sha"]) == ("retire", name, "")
    summary = (job / "GITHUB_STEP_SUMMARY").read_text()
    assert "the branch was deleted" in summary


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_an_unreadable_event_is_refused(job: Path, text: str) -> None:
    (job / "GITHUB_EVENT_PATH").write_text(text)
    with pytest.raises(BadInput, match="the event"):
        sandbox_plan.main([])


def test_an_incomplete_event_is_refused(job: Path) -> None:
    (job / "GITHUB_EVENT_PATH").write_text('{"ref": "work"}')
    with pytest.raises(BadInput, match="has no 'ref_type'"):
        sandbox_plan.main([])


def test_sandbox_plan_is_refused_outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)
    with pytest.raises(BadInput, match="not a job of GitHub Actions"):
        sandbox_plan.main([])
