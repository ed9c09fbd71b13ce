"""Checks, bumps and the nightly run, from their event to what they leave: green, failing, forks.

N50: branches and titles would leave a file `pwned`, were they ever run. N49: a fork gets no secret.
Both are looked at after every run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.project import DOCKERFILE, ROOT
from tasks.bump import pins
from tests.support import package_registry
from tests.workflows.rehearsal import FAILING_TEST, FAILURE, HOSTILE, sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.package_registry import PackageRegistry
    from tests.workflows.rehearsal import Rehearsal
    from tests.workflows.runner import Webhook

pytestmark = pytest.mark.timeout(900)

CI, BUMP, NIGHTLY = "ci.yml", "bump-versions.yml", "snapshots-gc.yml"
CHECKS, STAND_IN = "tests -- lint", "tests -- standin"
#: A row of the shim's table: another scenario runs these.
OTHER_SCENARIO: dict[str, Any] = {"status": 0, "say": "these run in another scenario"}


# ── ci.yml ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def new_content(rehearsal: Rehearsal) -> str:
    """A commit with new content for the image."""
    return rehearsal.commit("work", rehearsal.tip("main"), {"docs/rehearsed.md": "new\n"})


def test_new_content_is_tested_once(rehearsal: Rehearsal, new_content: str) -> None:
    pull: dict[str, Any] = {"branch": HOSTILE, "sha": new_content, "number": 901}
    green = rehearsal.play(CI, "green", rehearsal.pull("opened", **pull))
    assert set(green.results.values()) == {"success"}, green.failure
    assert green.jobs["plan"].outputs["changed"] == "true"
    assert sessions(green.jobs["sandbox"]) == ["setup", "snapshot_local", "local_test"]

    event = rehearsal.pull("synchronize", **pull)
    repeated = rehearsal.play(CI, "same content again", event, **{CHECKS: OTHER_SCENARIO})
    assert repeated.results == {
        "checks": "success", "plan": "success", "sandbox": "skipped", "gate": "success",
    }  # fmt: skip
    assert repeated.jobs["plan"].outputs["tested"] == "true"


def unchanged_pull(rehearsal: Rehearsal) -> Webhook:
    return rehearsal.pull("opened", branch="same", sha=rehearsal.tip("main"), number=902)


def test_unchanged_content_is_not_tested(rehearsal: Rehearsal) -> None:
    event = unchanged_pull(rehearsal)
    run = rehearsal.play(CI, "nothing new in the image", event, **{CHECKS: OTHER_SCENARIO})
    assert run.results["sandbox"] == "skipped"
    assert run.jobs["plan"].outputs["changed"] == "false"
    assert run.result == "success"


def test_failing_sandbox_tests_close_the_gate(rehearsal: Rehearsal) -> None:
    sha = rehearsal.commit("broken", rehearsal.tip("main"), FAILING_TEST)
    event = rehearsal.pull("opened", branch="broken", sha=sha, number=903)
    rows = {"local_test": rehearsal.failing_tests, CHECKS: OTHER_SCENARIO}
    run = rehearsal.play(CI, "failing tests", event, **rows)
    assert run.results == {
        "checks": "success", "plan": "success", "sandbox": "failure", "gate": "failure",
    }  # fmt: skip
    assert "local_test!" in sessions(run.jobs["sandbox"])
    assert any("diagnostics" in name for name in rehearsal.machine.artifacts)
    assert "sandbox" in run.jobs["gate"].summary


def test_failing_checks_close_the_gate(rehearsal: Rehearsal) -> None:
    run = rehearsal.play(CI, "failing checks", unchanged_pull(rehearsal), **{CHECKS: FAILURE})
    assert run.results["gate"] == "failure"


def test_a_pull_request_of_a_fork_is_checked(rehearsal: Rehearsal, new_content: str) -> None:
    """Another pull request's cache is not within its reach: all is built and tested again."""
    event = rehearsal.pull("opened", branch=HOSTILE, sha=new_content, number=904, fork=True)
    run = rehearsal.play(CI, "fork", event, **{CHECKS: OTHER_SCENARIO})
    assert set(run.results.values()) == {"success"}, run.failure
    assert sessions(run.jobs["sandbox"]) == ["setup", "snapshot_local", "local_test"]


def test_ci_can_be_started_by_hand(rehearsal: Rehearsal) -> None:
    event = rehearsal.on_main("workflow_dispatch", inputs={})
    run = rehearsal.play(CI, "by hand", event, **{CHECKS: OTHER_SCENARIO})
    assert run.results["gate"] == "success"


# ── bump-versions.yml ───────────────────────────────────────────────────────────────────────


@dataclass
class Bumps:
    """A registry that has every pinned version, and the session that asks it."""

    versions: dict[str, str]
    registry: PackageRegistry
    session: dict[str, Any]

    def offer(self, *versions: str) -> None:
        """These versions of Bun, beside the pinned one."""
        all_versions = (self.versions["SANDBOX_BUN_VERSION"], *versions)
        self.registry.npm("bun", {version: {} for version in all_versions})


@pytest.fixture
def bumps() -> Iterator[Bumps]:
    versions = pins.current_versions((ROOT / DOCKERFILE).read_text())
    with package_registry.serving() as server:
        for pin in pins.PINS:
            version = versions[pin.variable]
            if pin.origin == "npm":
                server.npm(pin.package, {version: {}})
            else:
                server.pypi(pin.package, {version: 30.0})
        # What the registry offers are names alone: an image of it cannot be built.
        yield Bumps(versions, server, {
            "without": ["--verify"],
            "env": {
                "npm_config_registry": server.url, "npm_config_userconfig": "/dev/null",
                "npm_config_fetch_retries": "0", "PIP_CONFIG_FILE": "/dev/null",
                "PIP_INDEX_URL": f"{server.url}simple/", "PIP_FIND_LINKS": "",
                "no_proxy": "127.0.0.1",
            },
        })  # fmt: skip


def test_a_bump_opens_and_closes_a_pull_request(rehearsal: Rehearsal, bumps: Bumps) -> None:
    weekly = rehearsal.on_main("schedule", schedule="23 4 * * 1")
    run = rehearsal.play(BUMP, "nothing to bump", weekly, bump_versions=bumps.session)
    assert run.result == "success", run.failure
    assert not rehearsal.hub.runs

    bumps.offer("1.99.0")
    green = rehearsal.play(BUMP, "green", weekly, bump_versions=bumps.session)
    assert green.result == "success", green.failure
    (pull,) = [p for p in rehearsal.hub.pulls.values() if p.get("ours")]
    assert "1.99.0" in pull["title"]
    assert "bun" in pull["body"]
    assert [dispatch["file"] for dispatch in rehearsal.hub.runs] == [CI]
    assert pull["head"]["sha"] == rehearsal.tip("bump-versions")

    bumps.offer()
    run = rehearsal.play(BUMP, "nothing to bump any more", weekly, bump_versions=bumps.session)
    assert run.result == "success", run.failure
    assert pull["state"] == "closed"


def test_a_failed_verification_fails_the_bump(rehearsal: Rehearsal) -> None:
    weekly = rehearsal.on_main("schedule", schedule="23 4 * * 1")
    run = rehearsal.play(BUMP, "failing verification", weekly, bump_versions=FAILURE)
    assert run.results == {"bump": "failure"}
    assert sessions(run.jobs["bump"])[-1] == "bump_versions!"


def test_a_fork_bumps_nothing(rehearsal: Rehearsal) -> None:
    run = rehearsal.play(BUMP, "fork", rehearsal.on_main("schedule", fork=True))
    assert run.results == {"bump": "skipped"}


# ── snapshots-gc.yml ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def nightly(rehearsal: Rehearsal) -> Webhook:
    return rehearsal.on_main("schedule", schedule="47 2 * * *")


def test_a_night_cleans_up_and_tests_the_newest_sdk(rehearsal: Rehearsal, nightly: Webhook) -> None:
    green = rehearsal.play(NIGHTLY, "green", nightly)
    assert green.results == {"gc": "success", "sdk": "success"}, green.failure
    assert "nox -s snapshots -- wake" in green.jobs["gc"].log
    assert "nox -s snapshots -- gc --yes" in green.jobs["gc"].log
    assert sessions(green.jobs["sdk"]) == ["setup", "tests"]
    assert "install --upgrade" in green.jobs["sdk"].log
    assert re.search(r"the SDK is daytona 0\.\d+", green.jobs["sdk"].log)


def test_a_failed_clean_up_fails_its_job(rehearsal: Rehearsal, nightly: Webhook) -> None:
    rehearsal.stand_in.inject("status", on="GET /api/snapshots*", status=403, times=-1)
    run = rehearsal.play(NIGHTLY, "failing clean-up", nightly, **{STAND_IN: OTHER_SCENARIO})
    assert run.results["gc"] == "failure"


def test_a_newer_sdk_that_fails_fails_its_job(rehearsal: Rehearsal, nightly: Webhook) -> None:
    run = rehearsal.play(NIGHTLY, "failing tests", nightly, **{STAND_IN: FAILURE})
    assert run.results == {"gc": "success", "sdk": "failure"}


def test_a_fork_has_no_nightly_run(rehearsal: Rehearsal) -> None:
    run = rehearsal.play(NIGHTLY, "fork", rehearsal.on_main("schedule", fork=True))
    assert run.results == {"gc": "skipped", "sdk": "skipped"}
