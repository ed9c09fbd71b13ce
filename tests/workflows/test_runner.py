"""The runner itself: what GitHub does is done, and what is not known ends the rehearsal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.support import repos
from tests.workflows import runner
from tests.workflows.expressions import CannotRun
from tests.workflows.runner import Machine, Webhook

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """on: {pull_request: }
jobs:
  a:
    timeout-minutes: MINUTES
    permissions: {contents: write}
"""
HOME, FORK = "iterate/iterate", "stranger/iterate"


def play(folder: Path, job: str, *, home: str = HOME, minutes: float = 1) -> runner.WorkflowRun:
    """WorkflowRun one job for a pull request of the repository `home`."""
    repository = repos.new(folder / "repository")
    payload = {
        "repository": {"full_name": HOME, "fork": False, "default_branch": "main"},
        "pull_request": {"head": {"repo": {"full_name": home}}},
    }
    sha = repos.git(repository, "rev-parse", "HEAD").strip()
    event = Webhook(name="pull_request", payload=payload, sha=sha, ref="refs/heads/main")
    machine = Machine(
        folder=folder / "machine", origin=repository.as_uri(), secrets={"prd": {"KEY": "key"}}
    )
    head = HEAD.replace("MINUTES", str(minutes))
    return runner.run(head + textwrap.indent(job, "    "), event, machine)


def test_a_forged_output_in_a_log_is_obeyed(tmp_path: Path) -> None:
    """What the rehearsal's look at the commands would find, had a session this hole."""
    forged = "steps: [{run: 'echo \"::set-output name=a::forged\"'}]"
    (step,) = play(tmp_path, forged).steps
    assert step.outputs == {"a": "forged"}
    assert step.commands == [("set-output", "forged")]


def test_only_failure_and_always_run_after_a_failure(tmp_path: Path) -> None:
    steps = "{run: 'false'}, {run: echo}, {run: echo, if: failure()}, {run: echo, if: always()}"
    run = play(tmp_path, f"steps: [{steps}]")
    assert [step.outcome for step in run.steps] == ["failure", "skipped", "success", "success"]
    assert run.result == "failure"


@pytest.mark.parametrize(
    ("home", "environment", "key", "permission"),
    [(HOME, "prd", "key", "write"), (HOME, "dev", "", "write"), (FORK, "prd", "", "read")],
)
def test_secrets_are_those_of_the_environment_and_never_a_forks(
    tmp_path: Path, home: str, environment: str, key: str, permission: str
) -> None:
    steps = "steps: [{run: 'echo [$KEY]', env: {KEY: '${{ secrets.KEY }}'}}]"
    run = play(tmp_path, f"environment: {environment}\n{steps}", home=home)
    assert run.log == f"[{key}]\n"
    assert run.jobs["a"].permissions == {"contents": permission}


def test_a_checkout_keeps_no_credentials(tmp_path: Path) -> None:
    checkout = "{uses: actions/checkout@x, with: {persist-credentials: 'false'}}"
    run = play(tmp_path, f"steps: [{checkout}, {{run: git config --list --local; git status -sb}}]")
    assert "extraheader" not in run.log
    assert "## main" in run.log


def test_a_job_is_ended_at_its_time_out(tmp_path: Path) -> None:
    assert play(tmp_path, "steps: [{run: sleep 60}]", minutes=0.01).result == "failure"


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("steps: [{uses: strange/action@v1}]", "no stand-in of strange/action"),
        ("steps: [{uses: actions/checkout@v7, with: {token: x}}]", "with .'token'"),
        ("steps: [{uses: actions/checkout@v7}]", "keeps the token"),
        ("steps: [{run: echo, shell: sh}]", "shell"),
        ("steps: [{run: 'echo ${{ github.head_ref }}'}]", "an expression in a script"),
        ("steps: [{run: echo, env: {A: '${{ github.actor }}'}}]", "VALUES does not have"),
        ("steps: [{run: echo, env: {A: '${{ steps.b.outputs.c }}'}}]", "there is no 'b'"),
        ("steps: [{run: echo, if: success()}]", "CONDITIONS does not have success"),
        ("steps: []\nif: github.actor == 'me'", "CONDITIONS does not have"),
        ("steps: []\ncontainer: x", "container"),
    ],
)
def test_what_the_runner_does_not_know_ends_the_rehearsal(
    tmp_path: Path, job: str, reason: str
) -> None:
    with pytest.raises(CannotRun, match=reason):
        play(tmp_path, job)
