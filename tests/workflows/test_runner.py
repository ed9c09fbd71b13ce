"""The runner itself: that it does what GitHub does, also where that is dangerous."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tasks.github.expressions import BadExpression
from tests.support import repos
from tests.workflows import runner
from tests.workflows.runner import CannotRun, Event, Machine

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "on: [pull_request]\njobs:\n"


def play(folder: Path, jobs: str, **machine: Any) -> runner.Run:
    repository = repos.new(folder / "repository")
    sha = repos.git(repository, "rev-parse", "HEAD").strip()
    (folder / "machine").mkdir()
    fork = machine.pop("fork", False)
    home = "stranger/x" if fork else "iterate/iterate"
    event = Event(
        name="pull_request", sha=sha, ref="refs/heads/main", base_ref="main",
        head_ref='"; touch pwned #',
        payload={
            "action": "opened", "repository": {"full_name": "iterate/iterate"},
            "pull_request": {"title": "::set-output name=a::forged", "head": {
                "repo": {"full_name": home}}},
        },
    )  # fmt: skip
    at = Machine(folder=folder / "machine", origin=repository.as_uri(), **machine)
    return runner.run(HEAD + textwrap.indent(textwrap.dedent(jobs), "  "), event, at)


def steps(*lines: str, more: str = "") -> str:
    listed = "".join(f"\n    - {line}" for line in lines)
    return f"a:\n  timeout-minutes: 1\n{more}  steps:{listed}\n"


def test_a_name_in_a_script_is_run(tmp_path: Path) -> None:
    """What the rehearsal's look for `pwned` would find, had a workflow this hole."""
    done = play(tmp_path, steps('run: echo "${{ github.head_ref }}"'))
    assert done.result == "success"
    assert list(tmp_path.rglob("pwned"))


def test_a_name_in_the_environment_is_not(tmp_path: Path) -> None:
    done = play(
        tmp_path, steps('run: echo "$NAME"\n      env:\n        NAME: ${{ github.head_ref }}')
    )
    assert '"; touch pwned #' in done.log
    assert not list(tmp_path.rglob("pwned"))


def test_a_title_that_is_printed_forges_an_output(tmp_path: Path) -> None:
    title = "${{ github.event.pull_request.title }}"
    done = play(tmp_path, steps(f"{{id: s, run: 'echo \"$T\"', env: {{T: '{title}'}}}}",
                                more="  outputs: {a: '${{ steps.s.outputs.a }}'}\n"))  # fmt: skip
    assert done.jobs["a"].outputs == {"a": "forged"}
    assert ("set-output", "forged") in done.commands


def test_files_reach_later_steps(tmp_path: Path) -> None:
    first = "echo A=1 >> $GITHUB_ENV; mkdir b; echo echo found > b/tool; chmod +x b/tool"
    second = 'echo "$PWD/b" >> $GITHUB_PATH; printf "x<<E\\n1\\n2\\nE\\n" >> $GITHUB_OUTPUT'
    third = 'test "$A" = 1 && tool; echo "# sum" >> $GITHUB_STEP_SUMMARY'
    quoted = [f"run: |\n        {script}" for script in (first, second, third)]
    quoted[1] = "id: two\n      " + quoted[1]
    done = play(tmp_path, steps(*quoted, more="  outputs: {x: '${{ steps.two.outputs.x }}'}\n"))
    assert done.result == "success", done.log
    assert done.jobs["a"].outputs == {"x": "1\n2"}
    assert "found" in done.log
    assert done.summary == "# sum\n"


def test_after_a_failure_only_what_waits_for_it_runs(tmp_path: Path) -> None:
    first = steps("run: 'false'", "run: echo no", "{run: echo yes, if: failure()}",
                  "{run: echo ever, if: always()}")  # fmt: skip
    rest = (
        "b:\n  needs: a\n  timeout-minutes: 1\n  steps: [{run: echo b}]\n"
        "c:\n  needs: [a, b]\n  if: always()\n  timeout-minutes: 1\n"
        "  steps: [{run: 'echo ${{ needs.a.result }} ${{ needs.b.result }}'}]\n"
    )
    done = play(tmp_path, first + rest)
    outcomes = [step.outcome for step in done.jobs["a"].steps]
    assert outcomes == ["failure", "skipped", "success", "success"]
    assert {name: job.result for name, job in done.jobs.items()} == {
        "a": "failure", "b": "skipped", "c": "success",
    }  # fmt: skip
    assert done.jobs["c"].log == "failure skipped\n"


def test_a_fork_has_no_secret_and_may_only_read(tmp_path: Path) -> None:
    job = steps("{run: 'echo [$K]', env: {K: '${{ secrets.K }}'}}",
                more="  environment: prd\n  permissions: {contents: write}\n")  # fmt: skip
    held = {"prd": {"K": "key"}}
    ours = play(tmp_path / "ours", job, secrets=held)
    assert ours.log == "[key]\n"
    assert ours.jobs["a"].permissions == {"contents": "write"}
    theirs = play(tmp_path / "theirs", job, secrets=held, fork=True)
    assert theirs.log == "[]\n"
    assert theirs.jobs["a"].permissions == {"contents": "read"}


def test_secrets_of_an_environment_need_it(tmp_path: Path) -> None:
    job = steps("{run: 'echo [$K]', env: {K: '${{ secrets.K }}'}}")
    assert play(tmp_path, job, secrets={"prd": {"K": "key"}}).log == "[]\n"


def test_a_job_ends_at_its_time_out(tmp_path: Path) -> None:
    done = play(tmp_path, steps("run: sleep 60").replace("minutes: 1", "minutes: 0.01"))
    assert done.result == "failure"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (steps("uses: strange/action@v1"), "no stand-in of strange/action"),
        (steps("{uses: actions/checkout@v7, with: {token: x}}"), "with"),
        (steps("uses: actions/checkout@v7"), "keeps the token"),
        (steps("{run: echo, shell: sh}"), "shell"),
        (steps("run: echo", more="  container: x\n"), "container"),
        ("a: {needs: b}\nb: {needs: a}\n", "need each other"),
    ],
)
def test_what_it_does_not_know_is_an_error(tmp_path: Path, job: str, said: str) -> None:
    with pytest.raises(CannotRun, match=said):
        play(tmp_path, job)


@pytest.mark.parametrize(
    "body", ["steps.b.outputs.x", "needs.b.result", "strange.x", "hashFiles('x')"]
)
def test_what_is_not_there_is_an_error(tmp_path: Path, body: str) -> None:
    with pytest.raises(BadExpression):
        play(tmp_path, steps(f"run: echo ${{{{ {body} }}}}"))


def test_a_checkout_has_no_credentials(tmp_path: Path) -> None:
    checkout = "{uses: actions/checkout@v7, with: {persist-credentials: 'false'}}"
    done = play(tmp_path, steps(checkout, "run: git config --list --local; git status -sb"))
    assert done.result == "success", done.log
    assert "extraheader" not in done.log
    assert "## main" in done.log


def test_hidden_files_are_kept_only_where_that_is_said(tmp_path: Path) -> None:
    lines = ["run: mkdir .h && echo 1 > .h/x && echo 2 > y"]
    for name, more in (("a", ""), ("b", ", include-hidden-files: 'true'")):
        lines.append(f"{{uses: actions/upload-artifact@v7, with: {{name: {name}, path: .{more}}}}}")
    play(tmp_path, steps(*lines))
    kept = tmp_path / "machine/artifacts/1"
    assert {f.name for f in (kept / "a").rglob("*") if f.is_file()} == {"y"}
    assert {f.name for f in (kept / "b").rglob("*") if f.is_file()} == {"x", "y"}


def test_types_and_branches_of_an_event_count() -> None:
    on = {"pull_request": {"types": ["labeled"]}, "push": {"branches": ["main"]}}
    pull = Event(
        name="pull_request", payload={"action": "labeled"}, sha="", ref="r", base_ref="main"
    )
    push = Event(name="push", payload={}, sha="", ref="refs/heads/main")
    assert runner._triggered(on, pull)
    pull.payload["action"] = "opened"
    assert not runner._triggered(on, pull)
    assert runner._triggered(on, push)
    push.ref = "refs/heads/other"
    assert not runner._triggered(on, push)
    assert not runner._triggered(on, Event(name="delete", payload={}, sha="", ref="r"))
