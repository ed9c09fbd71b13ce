"""Each workflow, from its event to what it leaves: green, failing, from forks, going away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import registry
from tests.workflows.rehearsal import HOSTILE, HOSTILE_BRANCHES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.workflows.rehearsal import Rehearsal
    from tests.workflows.runner import Job, Run

pytestmark = pytest.mark.timeout(900)

CI, PRODUCTION, BRANCH = "ci.yml", "sandbox-production.yml", "sandbox-branch.yml"
BUMP, NIGHTLY = "bump-versions.yml", "snapshots-gc.yml"

#: A test that fails in a sandbox, for scenarios in which tests do.
FAILING_TEST = {
    "tests/sandbox/test_rehearsed.py": (
        "from tasks.sandbox.sandbox import Sandbox\n\n\n"
        "def test_that_fails(sandbox: Sandbox) -> None:\n"
        '    assert sandbox.exec(["false"]).status == 0\n'
    )
}
CHECKS, STAND_IN = "tests -- lint", "tests -- standin"
ELSEWHERE: dict[str, Any] = {"status": 0, "say": "these checks run in another scenario"}


def results(done: Run) -> dict[str, str]:
    return {name: job.result for name, job in done.jobs.items()}


def sessions(job: Job) -> list[str]:
    """The sessions that ran, and `!` where one failed."""
    found = []
    for step in job.steps:
        match = re.match(r"nox -s ([a-z_ ]+?)(?: --|$)", step.ran)
        if match and step.outcome != "skipped":
            found.append(match[1] + ("" if step.outcome == "success" else "!"))
    return found


@pytest.fixture(autouse=True)
def _leaves_no_fault(rehearsal: Rehearsal) -> Iterator[None]:
    """The scenarios share a stand-in: one that fails half-way is not to break the next."""
    yield
    rehearsal.stand_in.clear_faults()


def artifacts(rehearsal: Rehearsal) -> list[str]:
    """The names of the newest run's files."""
    folder = rehearsal.machine.artifacts / str(rehearsal.machine.runs)
    return [str(f.relative_to(folder)) for f in sorted(folder.rglob("*")) if f.is_file()]


def test_pull_requests_are_checked(rehearsal: Rehearsal) -> None:
    """N50: here and below, branches and titles would leave a file `pwned`, were they ever run."""
    new = rehearsal.commit("work", rehearsal.tip("main"), {"docs/rehearsed.md": "new\n"})
    pull: dict[str, Any] = {"branch": HOSTILE, "sha": new, "number": 901}

    green = rehearsal.play(CI, "green", rehearsal.pull("opened", **pull))
    assert set(results(green).values()) == {"success"}, green.log[-4000:]
    assert green.jobs["plan"].outputs["changed"] == "true"
    assert sessions(green.jobs["sandbox"]) == ["setup", "snapshot_local", "local_test"]

    again = rehearsal.play(CI, "same content again", rehearsal.pull("synchronize", **pull),
                           **{CHECKS: ELSEWHERE})  # fmt: skip
    assert results(again) == {
        "checks": "success", "plan": "success", "sandbox": "skipped", "gate": "success",
    }  # fmt: skip
    assert again.jobs["plan"].outputs["tested"] == "true"

    same = rehearsal.pull("opened", branch="same", sha=rehearsal.tip("main"), number=902)
    unchanged = rehearsal.play(CI, "nothing new in the image", same, **{CHECKS: ELSEWHERE})
    assert results(unchanged)["sandbox"] == "skipped"
    assert unchanged.jobs["plan"].outputs["changed"] == "false"
    assert unchanged.result == "success"

    broken = rehearsal.commit("broken", rehearsal.tip("main"), FAILING_TEST)
    failing = rehearsal.play(
        CI, "failing tests", rehearsal.pull("opened", branch="broken", sha=broken, number=903),
        local_test={"add": ["--image", rehearsal.tag, "-k", "test_that_fails"]},
        **{CHECKS: ELSEWHERE},
    )  # fmt: skip
    assert results(failing) == {
        "checks": "success", "plan": "success", "sandbox": "failure", "gate": "failure",
    }  # fmt: skip
    assert "local_test!" in sessions(failing.jobs["sandbox"])
    assert any("diagnostics" in name for name in artifacts(rehearsal)), artifacts(rehearsal)
    assert "sandbox" in failing.jobs["gate"].summary

    checks = rehearsal.play(
        CI, "failing checks", same, **{CHECKS: {"status": 1, "say": "a check failed"}}
    )
    assert results(checks)["gate"] == "failure"

    fork = rehearsal.pull("opened", branch=HOSTILE, sha=new, number=904, fork=True)
    stranger = rehearsal.play(CI, "fork", fork, **{CHECKS: ELSEWHERE})
    # Another pull request's cache is not within its reach: all is built and tested again.
    assert set(results(stranger).values()) == {"success"}, stranger.log[-4000:]

    by_hand = rehearsal.on_main("workflow_dispatch", inputs={})
    dispatched = rehearsal.play(CI, "by hand", by_hand, **{CHECKS: ELSEWHERE})
    assert results(dispatched)["gate"] == "success"


def test_main_is_published(rehearsal: Rehearsal) -> None:
    first = rehearsal.commit("main", rehearsal.tip("main"), {"docs/rehearsed.md": "one\n"})
    green = rehearsal.play(PRODUCTION, "green", rehearsal.on_main("push"))
    assert set(results(green).values()) == {"success"}, green.log[-6000:]
    publish = green.jobs["publish"]
    assert publish.environment == "prd"
    assert sessions(publish) == ["setup", "snapshot_local", "local_test", "snapshot_daytona"]
    current = rehearsal.ledger()["prd"]
    assert current in green.summary
    state = rehearsal.stand_in.state()
    assert state["snapshots"][current] == "active"
    assert state["pushed"], "the image itself was to be pushed"

    rehearsal.commit("main", first, FAILING_TEST)
    failing = rehearsal.play(
        PRODUCTION, "failing tests", rehearsal.on_main("push"),
        local_test={"add": ["--image", rehearsal.tag, "-k", "test_that_fails"]},
    )  # fmt: skip
    assert results(failing)["publish"] == "failure"
    assert sessions(failing.jobs["publish"])[-2:] == ["local_test!", "snapshots"]
    assert rehearsal.ledger()["prd"] == current
    assert current in failing.jobs["publish"].steps[-2].summary
    assert any("diagnostics" in name for name in artifacts(rehearsal))

    rehearsal.commit("main", first, {"docs/rehearsed.md": "two\n"})
    # It gets as far as the look at a sandbox of it, at Daytona: none starts.
    rehearsal.stand_in.fault("failed-start", times=-1)
    unpublished = rehearsal.play(PRODUCTION, "failing publish", rehearsal.on_main("push"))
    rehearsal.stand_in.clear_faults()
    assert results(unpublished)["publish"] == "failure"
    assert sessions(unpublished.jobs["publish"])[-2:] == ["snapshot_daytona!", "snapshots"]
    assert rehearsal.ledger()["prd"] == current
    assert f"prd is still {current}" in unpublished.log
    active = [n for n, at in rehearsal.stand_in.state()["snapshots"].items() if at == "active"]
    assert len(active) == 2, "it was there, and was not promoted"

    fork = rehearsal.play(PRODUCTION, "fork", rehearsal.on_main("push", fork=True))
    assert results(fork) == {"plan": "success", "publish": "skipped"}
    assert "is a fork" in fork.summary

    other = rehearsal.on_main("workflow_dispatch", inputs={})
    other.ref = "refs/heads/work"
    other.sha = rehearsal.commit("work", first, {})
    refused = rehearsal.play(PRODUCTION, "another branch, by hand", other)
    assert results(refused)["publish"] == "skipped"
    assert "main alone" in refused.summary


def test_branches_have_sandboxes(rehearsal: Rehearsal) -> None:
    branch = HOSTILE_BRANCHES[0]
    sha = rehearsal.commit(
        f"refs/heads/{branch}", rehearsal.tip("main"), {"docs/rehearsed.md": "branch\n"}
    )
    number = rehearsal.hub.pull(head=branch)
    pull: dict[str, Any] = {"branch": branch, "sha": sha, "number": number}
    labelled = {**pull, "labels": ("sandbox",)}

    none = rehearsal.play(BRANCH, "no label", rehearsal.pull("synchronize", **pull))
    assert results(none) == {"plan": "success", "publish": "skipped", "retire": "skipped"}

    made = rehearsal.pull("labeled", label="sandbox", **labelled)
    green = rehearsal.play(BRANCH, "green: label set", made)
    assert results(green)["publish"] == "success", green.log[-6000:]
    stage = green.jobs["plan"].outputs["stage"]
    name = rehearsal.ledger()[stage]
    assert name in green.summary
    comments = [c["body"] for c in rehearsal.hub.comments.values() if c["issue"] == number]
    assert len(comments) == 1
    assert name in comments[0]

    other = rehearsal.pull("labeled", label="docs", **labelled)
    unmoved = rehearsal.play(BRANCH, "another label", other)
    assert results(unmoved) == {"plan": "success", "publish": "skipped", "retire": "skipped"}

    newer = rehearsal.commit(f"refs/heads/{branch}", sha, {"docs/rehearsed.md": "newer\n"})
    rehearsal.stand_in.fault("build-fails")
    failing = rehearsal.play(
        BRANCH, "failing publish", rehearsal.pull("synchronize", **{**labelled, "sha": newer})
    )
    rehearsal.stand_in.clear_faults()
    assert results(failing)["publish"] == "failure"
    assert rehearsal.ledger()[stage] == name
    assert f"{stage} is still {name}" in failing.log

    removed = rehearsal.pull("unlabeled", label="sandbox", **{**pull, "sha": newer})
    gone = rehearsal.play(BRANCH, "label removed", removed)
    assert results(gone)["retire"] == "success", gone.log[-6000:]
    assert stage not in rehearsal.ledger()
    assert not [n for n in rehearsal.stand_in.state()["snapshots"] if n.startswith(f"{stage}--")]
    comments = [c["body"] for c in rehearsal.hub.comments.values() if c["issue"] == number]
    assert len(comments) == 1
    assert name not in comments[0]

    by_hand = rehearsal.on_main("workflow_dispatch", inputs={"ref": branch, "stage": "stg"})
    staged = rehearsal.play(BRANCH, "by hand, with a ref, to stg", by_hand)
    assert results(staged)["publish"] == "success", staged.log[-6000:]
    assert rehearsal.ledger()["stg"].startswith("stg--")

    deleted = rehearsal.on_main("delete", ref=branch, ref_type="branch")
    retired = rehearsal.play(BRANCH, "branch deleted", deleted)
    assert results(retired)["retire"] == "success", retired.log[-6000:]
    assert not {stage, "stg"} & rehearsal.ledger().keys()
    assert not [n for n in rehearsal.stand_in.state()["snapshots"] if n.startswith("stg--")]

    closed = rehearsal.pull("closed", **{**labelled, "sha": newer, "state": "closed"})
    twice = rehearsal.play(BRANCH, "closed as well", closed)
    assert results(twice)["retire"] == "success", "nothing is left to retire, which is no failure"

    tag = rehearsal.on_main("delete", ref="v1", ref_type="tag")
    assert results(rehearsal.play(BRANCH, "tag deleted", tag))["retire"] == "skipped"


@pytest.mark.parametrize("branch", [HOSTILE, *HOSTILE_BRANCHES[1:]])
def test_a_fork_gets_no_sandbox(rehearsal: Rehearsal, branch: str) -> None:
    """N49: skipped with a reason. That no secret was in scope, `play` checks of every run."""
    sha = rehearsal.commit("stranger", rehearsal.tip("main"), {})
    number = rehearsal.hub.pull(head=branch, owner="stranger")
    made = rehearsal.pull("labeled", branch=branch, sha=sha, number=number, fork=True,
                          labels=("sandbox",), label="sandbox")  # fmt: skip
    done = rehearsal.play(BRANCH, f"fork, from {branch}", made)
    assert results(done) == {"plan": "success", "publish": "skipped", "retire": "skipped"}
    assert "comes from a fork" in done.summary


def test_versions_are_bumped(rehearsal: Rehearsal) -> None:
    from tasks.base.project import DOCKERFILE, ROOT
    from tasks.bump import pins

    now = pins.current((ROOT / DOCKERFILE).read_text())
    with registry.serving() as serving:
        for pin in pins.PINS:
            version = now[pin.variable]
            if pin.origin == "npm":
                serving.npm(pin.package, {version: {}})
            else:
                serving.pypi(pin.package, {version: 30.0})
        # What the registry offers are names alone: an image of it cannot be built.
        session: dict[str, Any] = {
            "without": ["--verify"],
            "env": {
                "npm_config_registry": serving.url,
                "npm_config_userconfig": "/dev/null",
                "npm_config_fetch_retries": "0",
                "PIP_CONFIG_FILE": "/dev/null",
                "PIP_INDEX_URL": f"{serving.url}simple/",
                "PIP_FIND_LINKS": "",
                "no_proxy": "127.0.0.1",
            },
        }
        weekly = rehearsal.on_main("schedule", schedule="23 4 * * 1")
        none = rehearsal.play(BUMP, "nothing to bump", weekly, bump_versions=session)
        assert none.result == "success", none.log[-6000:]
        assert not rehearsal.hub.runs

        newer = "1.99.0"
        serving.npm("bun", {now["SANDBOX_BUN_VERSION"]: {}, newer: {}})
        green = rehearsal.play(BUMP, "green", weekly, bump_versions=session)
        assert green.result == "success", green.log[-6000:]
        (pull,) = [p for p in rehearsal.hub.pulls.values() if p.get("ours")]
        assert newer in pull["title"]
        assert "bun" in pull["body"]
        assert [run["file"] for run in rehearsal.hub.runs] == [CI]
        assert pull["head"]["sha"] == rehearsal.tip("bump-versions")

        failing = rehearsal.play(
            BUMP, "failing verification", weekly,
            bump_versions={"status": 1, "say": "the image does not build"},
        )  # fmt: skip
        assert results(failing) == {"bump": "failure"}
        assert sessions(failing.jobs["bump"])[-1] == "bump_versions!"

        serving.npm("bun", {now["SANDBOX_BUN_VERSION"]: {}})
        closed = rehearsal.play(BUMP, "nothing to bump any more", weekly, bump_versions=session)
        assert closed.result == "success", closed.log[-6000:]
        assert pull["state"] == "closed"

    fork = rehearsal.play(BUMP, "fork", rehearsal.on_main("schedule", fork=True))
    assert results(fork) == {"bump": "skipped"}


def test_nights_clean_up(rehearsal: Rehearsal) -> None:
    elsewhere = {"status": 0, "say": "in another scenario"}
    nightly = rehearsal.on_main("schedule", schedule="47 2 * * *")
    green = rehearsal.play(NIGHTLY, "green", nightly)
    assert results(green) == {"gc": "success", "sdk": "success"}, green.log[-6000:]
    assert sessions(green.jobs["sdk"]) == ["setup", "tests"]
    assert "install --upgrade" in green.jobs["sdk"].log
    assert re.search(r"the SDK is daytona 0\.\d+", green.jobs["sdk"].log)

    rehearsal.stand_in.fault("status", on="GET /api/snapshots*", status=403, times=-1)
    failing = rehearsal.play(NIGHTLY, "failing clean-up", nightly, **{STAND_IN: elsewhere})
    rehearsal.stand_in.clear_faults()
    assert results(failing)["gc"] == "failure"

    sdk = rehearsal.play(
        NIGHTLY, "failing tests", nightly, **{STAND_IN: {"status": 1, "say": "a newer SDK fails"}}
    )
    assert results(sdk) == {"gc": "success", "sdk": "failure"}

    fork = rehearsal.play(NIGHTLY, "fork", rehearsal.on_main("schedule", fork=True))
    assert results(fork) == {"gc": "skipped", "sdk": "skipped"}
