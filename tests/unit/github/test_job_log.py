"""Nothing that is printed becomes a workflow command of the runner, except for ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.base import console
from tasks.base.project import ROOT
from tasks.github import job
from tests.support import github_runner
from tests.support.github_runner import WorkflowCommand

if TYPE_CHECKING:
    from pathlib import Path

#: Lines that do something, in the runner's two forms, whole and in pieces.
COMMANDS = [
    "::set-output name=snapshot_name::evil", "  ::error::x", "\t::add-mask::a", "::endgroup::",
    "##[set-output name=a]b", "text ##[error]x", "\r::warning::y", "::stop-commands::z", "::z::",
    "::", "##[", "::debug::", "%0A::error::a",
]  # fmt: skip
LINES = st.lists(st.one_of(st.sampled_from(COMMANDS), st.text(max_size=30)), max_size=5)


@pytest.fixture
def _job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)


@pytest.mark.usefixtures("_job")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES)
def test_foreign_lines_are_no_commands(
    capsys: pytest.CaptureFixture[str], lines: list[str]
) -> None:
    capsys.readouterr()
    with job.quarantine():
        for line in lines:
            console.say(line)
    assert github_runner.commands(capsys.readouterr().err) == []


@pytest.mark.usefixtures("_job")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.one_of(st.sampled_from(COMMANDS), st.text()), lines=LINES)
def test_our_commands_are_read_as_they_were_meant(
    capsys: pytest.CaptureFixture[str], title: str, lines: list[str]
) -> None:
    capsys.readouterr()
    with job.quarantine():
        with job.log_group(title):
            for line in lines:
                console.say(line)
        job.annotate("error", title, title="A: b, c%")
    commands = github_runner.commands(capsys.readouterr().err)
    assert [command.name for command in commands] == ["group", "endgroup", "error"]
    assert commands[0].data == title
    assert commands[2] == WorkflowCommand("error", {"title": "A: b, c%"}, title)


@pytest.mark.usefixtures("_job")
def test_a_log_group_ends_when_its_content_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), job.log_group("x"):
        raise KeyError
    assert [c.name for c in github_runner.commands(capsys.readouterr().err)] == [
        "group",
        "endgroup",
    ]


@pytest.mark.usefixtures("_job")
@given(st.one_of(st.sampled_from(COMMANDS), st.text(alphabet="#[]error ::x")))
def test_json_is_no_command_and_keeps_its_value(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda line, **_: lines.append(line))
        console.emit_json({text: [text]})
    assert json.loads(lines[0]) == {text: [text]}
    assert github_runner.commands(lines[0]) == []


def run(job: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "DAYTONA_"))}
    env |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(job / "output"),
        "GITHUB_STEP_SUMMARY": str(job / "summary"),
    }
    return subprocess.run(
        [sys.executable, "-m", "tasks", *arguments], cwd=ROOT, env={**env, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_command_in_a_job_writes_outputs_and_a_summary(tmp_path: Path) -> None:
    process = run(tmp_path, "ci", "plan", "--base", "HEAD", "--json")
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert result["changed"] is False
    outputs = github_runner.outputs((tmp_path / "output").read_text())
    assert outputs == {**{k: str(v) for k, v in result.items()}, "changed": "false"}
    assert "does not change" in (tmp_path / "summary").read_text()
    assert github_runner.commands(process.stderr) == []


def test_a_failure_is_annotated_with_its_fix(tmp_path: Path) -> None:
    process = run(tmp_path, "snapshots", "retire", "--stage", "prd")
    assert process.returncode == 2
    (error,) = github_runner.commands(process.stderr)
    assert error.name == "error"
    assert "prd is never retired" in error.data
    text = (tmp_path / "summary").read_text()
    assert "### ✗ `snapshots` failed" in text
    assert "prd is never retired" in text
    assert "**What to do:** move it" in text


def test_a_hostile_ref_is_quoted_and_runs_nothing(tmp_path: Path) -> None:
    ref = '"; touch pwned #\n::set-output name=changed::false'
    process = run(tmp_path, "ci", "plan", "--base", ref, "--ref", "HEAD")
    assert process.returncode == 0
    outputs = github_runner.outputs((tmp_path / "output").read_text())
    assert outputs["changed"] == "true"
    assert github_runner.commands(process.stderr) == []
    process = run(tmp_path, "ci", "plan", "--base", "HEAD", "--ref", "##[error]<img src=x> @all")
    assert process.returncode == 2
    (error,) = github_runner.commands(process.stderr)
    assert "is not in this clone" in error.data
    assert "<img" not in (tmp_path / "summary").read_text()


@pytest.mark.parametrize(
    "command",
    [["ci", "plan", "--base", "HEAD"], ["snapshot-local", "--dry-run"]],
    ids=lambda command: command[0],
)  # fmt: skip
def test_early_commands_need_the_standard_library_alone(tmp_path: Path, command: list[str]) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GITHUB_ACTIONS": "true",
           "GITHUB_OUTPUT": str(tmp_path / "output")}  # fmt: skip
    process = subprocess.run(
        [sys.executable, "-S", "-m", "tasks", *command], cwd=ROOT, env=env, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    outputs = github_runner.outputs((tmp_path / "output").read_text())
    assert len(outputs["content"]) == 64


def test_wrong_arguments_stand_in_the_summary(tmp_path: Path) -> None:
    process = run(tmp_path, "ci", "plan", "--no-such")
    assert process.returncode == 2
    assert "--no-such" in (tmp_path / "summary").read_text()
    (error,) = github_runner.commands(process.stderr)
    assert error.properties == {"title": "plan failed"}


def test_an_unexpected_exception_stands_in_the_summary(tmp_path: Path) -> None:
    """With the traceback where it was."""
    (tmp_path / "sitecustomize.py").write_text(
        "import tasks.build.source as s\ndef content(*_): raise ZeroDivisionError('x')\n"
        "s.content = content\n"
    )
    process = run(tmp_path, "ci", "plan", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert process.returncode == 1
    assert "ZeroDivisionError: x" in process.stderr
    assert "an unexpected ZeroDivisionError" in (tmp_path / "summary").read_text()
    assert [command.name for command in github_runner.commands(process.stderr)] == ["error"]


def test_notes_of_a_failure_stand_in_the_summary(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import tasks.build.source as s\nfrom tasks.base.errors import TaskError\n"
        "def content(*_):\n e = TaskError('it broke', fix='mend it')\n"
        " e.add_note('prd is still x')\n raise e\n"
        "s.content = content\n"
    )
    process = run(tmp_path, "ci", "plan", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert process.returncode == 1
    assert process.stderr.index("✗ it broke → mend it") < process.stderr.index("! prd is still x")
    assert "**prd is still x**" in (tmp_path / "summary").read_text()
    (error,) = github_runner.commands(process.stderr)
    assert error.data == "it broke → mend it; prd is still x"


@pytest.mark.usefixtures("_job")
def test_a_nested_command_writes_files_and_no_workflow_commands(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`--via push` runs local_test. Its commands are stopped under a word that it does not know."""
    with job.quarantine():
        nested = run(tmp_path, "ci", "plan", "--no-such", **{job.NESTED: os.environ[job.NESTED]})
        assert "::" not in nested.stderr
        assert "plan" in (tmp_path / "summary").read_text()
        job.annotate("notice", "still heard")
    (notice,) = github_runner.commands(capfd.readouterr().err)
    assert notice.data == "still heard"
    assert job.NESTED not in os.environ
