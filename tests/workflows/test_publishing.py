"""Production's and a branch's sandbox, from their event to what they leave.

N50: branches and titles would leave a file `pwned`, were they ever run. N49: a fork gets no secret.
Both are looked at after every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.workflows.rehearsal import FAILING_TEST, HOSTILE, HOSTILE_BRANCHES, sessions

if TYPE_CHECKING:
    from tests.workflows.rehearsal import Rehearsal
    from tests.workflows.runner import Webhook

pytestmark = pytest.mark.timeout(900)

PRODUCTION, BRANCH = "sandbox-production.yml", "sandbox-branch.yml"
UNPUBLISHED = {"plan": "success", "publish": "skipped", "retire": "skipped"}


# ── sandbox-production.yml ──────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def production(rehearsal: Rehearsal) -> tuple[str, str]:
    """A commit of main that is published, and its snapshot."""
    sha = rehearsal.commit("main", rehearsal.tip("main"), {"docs/rehearsed.md": "one\n"})
    green = rehearsal.play(PRODUCTION, "green", rehearsal.on_main("push"))
    assert set(green.results.values()) == {"success"}, green.failure
    publish = green.jobs["publish"]
    assert publish.environment == "prd"
    assert sessions(publish) == ["setup", "snapshot_local", "local_test", "snapshot_daytona"]
    snapshot = rehearsal.ledger()["prd"]
    assert snapshot in green.summary
    state = rehearsal.stand_in.state()
    assert state["snapshots"][snapshot]["state"] == "active"
    assert state["pushed"], "the image itself was to be pushed"
    return sha, snapshot


def test_production_stays_where_tests_fail(
    rehearsal: Rehearsal, production: tuple[str, str]
) -> None:
    sha, snapshot = production
    rehearsal.commit("main", sha, FAILING_TEST)
    rows = {"local_test": rehearsal.failing_tests}
    run = rehearsal.play(PRODUCTION, "failing tests", rehearsal.on_main("push"), **rows)
    assert run.results["publish"] == "failure"
    assert sessions(run.jobs["publish"])[-2:] == ["local_test!", "snapshots"]
    assert rehearsal.ledger()["prd"] == snapshot
    assert snapshot in run.jobs["publish"].steps[-2].summary
    assert any("diagnostics" in name for name in rehearsal.machine.artifacts)


def test_production_stays_where_publishing_fails(
    rehearsal: Rehearsal, production: tuple[str, str]
) -> None:
    """It gets as far as the look at a sandbox of it, at Daytona: none starts."""
    sha, snapshot = production
    rehearsal.commit("main", sha, {"docs/rehearsed.md": "two\n"})
    rehearsal.stand_in.inject("failed-start", times=-1)
    run = rehearsal.play(PRODUCTION, "failing publish", rehearsal.on_main("push"))
    assert run.results["publish"] == "failure"
    assert sessions(run.jobs["publish"])[-2:] == ["snapshot_daytona!", "snapshots"]
    assert rehearsal.ledger()["prd"] == snapshot
    assert f"prd is still {snapshot}" in run.log
    states = [snapshot.state for snapshot in rehearsal.stand_in.snapshots().values()]
    assert states.count("active") == 2, "the new one was made, and was not promoted"


def test_production_is_not_published_from_a_fork(rehearsal: Rehearsal) -> None:
    run = rehearsal.play(PRODUCTION, "fork", rehearsal.on_main("push", fork=True))
    assert run.results == {"plan": "success", "publish": "skipped"}
    assert "is a fork" in run.summary


def test_production_is_not_published_from_another_branch(rehearsal: Rehearsal) -> None:
    event = rehearsal.on_main("workflow_dispatch", inputs={})
    event.ref = "refs/heads/work"
    event.sha = rehearsal.commit("work", rehearsal.tip("main"), {})
    run = rehearsal.play(PRODUCTION, "another branch, by hand", event)
    assert run.results["publish"] == "skipped"
    assert "main alone" in run.summary


# ── sandbox-branch.yml ──────────────────────────────────────────────────────────────────────


@dataclass
class LabelledBranch:
    """A branch whose pull request has the label; `snapshot` is what its stage uses."""

    name: str
    number: int
    sha: str
    stage: str
    snapshot: str

    def pull(self, rehearsal: Rehearsal, action: str, **changes: Any) -> Webhook:
        options = {"branch": self.name, "sha": self.sha, "number": self.number,
                   "labels": ("sandbox",), **changes}  # fmt: skip
        return rehearsal.pull(action, **options)

    def comment(self, rehearsal: Rehearsal) -> str:
        comments = rehearsal.hub.comments.values()
        (body,) = (comment["body"] for comment in comments if comment["issue"] == self.number)
        return str(body)


@pytest.fixture(scope="module")
def labelled(rehearsal: Rehearsal) -> LabelledBranch:
    """Until the label is set there is no sandbox; then there is one, and a comment."""
    name = HOSTILE_BRANCHES[0]
    sha = rehearsal.commit(name, rehearsal.tip("main"), {"docs/rehearsed.md": "branch\n"})
    branch = LabelledBranch(name, rehearsal.hub.pull(head=name), sha, stage="", snapshot="")
    event = branch.pull(rehearsal, "synchronize", labels=())
    assert rehearsal.play(BRANCH, "no label", event).results == UNPUBLISHED
    event = branch.pull(rehearsal, "labeled", label="sandbox")
    green = rehearsal.play(BRANCH, "green: label set", event)
    assert green.results["publish"] == "success", green.failure
    branch.stage = green.jobs["plan"].outputs["stage"]
    branch.snapshot = rehearsal.ledger()[branch.stage]
    assert branch.snapshot in green.summary
    assert branch.snapshot in branch.comment(rehearsal)
    return branch


def test_another_label_publishes_nothing(rehearsal: Rehearsal, labelled: LabelledBranch) -> None:
    event = labelled.pull(rehearsal, "labeled", label="docs")
    assert rehearsal.play(BRANCH, "another label", event).results == UNPUBLISHED


def test_a_branch_keeps_its_sandbox_where_publishing_fails(
    rehearsal: Rehearsal, labelled: LabelledBranch
) -> None:
    sha = rehearsal.commit(labelled.name, labelled.sha, {"docs/rehearsed.md": "newer\n"})
    rehearsal.stand_in.inject("build-fails")
    event = labelled.pull(rehearsal, "synchronize", sha=sha)
    run = rehearsal.play(BRANCH, "failing publish", event)
    assert run.results["publish"] == "failure"
    assert rehearsal.ledger()[labelled.stage] == labelled.snapshot
    assert f"{labelled.stage} is still {labelled.snapshot}" in run.log


def test_a_sandbox_is_retired_with_its_label(
    rehearsal: Rehearsal, labelled: LabelledBranch
) -> None:
    event = labelled.pull(rehearsal, "unlabeled", label="sandbox", labels=())
    run = rehearsal.play(BRANCH, "label removed", event)
    assert run.results["retire"] == "success", run.failure
    assert labelled.stage not in rehearsal.ledger()
    snapshots = rehearsal.stand_in.snapshots()
    assert not [name for name in snapshots if name.startswith(f"{labelled.stage}--")]
    assert labelled.snapshot not in labelled.comment(rehearsal)


def test_a_sandbox_is_published_by_hand_and_retired_with_its_branch(
    rehearsal: Rehearsal, labelled: LabelledBranch
) -> None:
    event = rehearsal.on_main("workflow_dispatch", inputs={"ref": labelled.name, "stage": "stg"})
    run = rehearsal.play(BRANCH, "by hand, with a ref, to stg", event)
    assert run.results["publish"] == "success", run.failure
    assert rehearsal.ledger()["stg"].startswith("stg--")

    event = rehearsal.on_main("delete", ref=labelled.name, ref_type="branch")
    run = rehearsal.play(BRANCH, "branch deleted", event)
    assert run.results["retire"] == "success", run.failure
    assert not {labelled.stage, "stg"} & rehearsal.ledger().keys()
    snapshots = rehearsal.stand_in.snapshots()
    assert not [name for name in snapshots if name.startswith("stg--")]

    event = labelled.pull(rehearsal, "closed", state="closed")
    run = rehearsal.play(BRANCH, "closed as well", event)
    assert run.results["retire"] == "success", "nothing is left to retire, which is no failure"


def test_a_deleted_tag_retires_nothing(rehearsal: Rehearsal) -> None:
    event = rehearsal.on_main("delete", ref="v1", ref_type="tag")
    assert rehearsal.play(BRANCH, "tag deleted", event).results["retire"] == "skipped"


@pytest.mark.parametrize("branch", [HOSTILE, *HOSTILE_BRANCHES[1:]])
def test_a_fork_gets_no_sandbox(rehearsal: Rehearsal, branch: str) -> None:
    sha = rehearsal.commit("stranger", rehearsal.tip("main"), {})
    number = rehearsal.hub.pull(head=branch, owner="stranger")
    event = rehearsal.pull("labeled", branch=branch, sha=sha, number=number, fork=True,
                           labels=("sandbox",), label="sandbox")  # fmt: skip
    run = rehearsal.play(BRANCH, f"fork, from {branch}", event)
    assert run.results == UNPUBLISHED
    assert "comes from a fork" in run.summary
