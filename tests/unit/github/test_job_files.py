"""A job's outputs and summary: whatever is in a value, the runner reads that value alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies

from tasks.base.errors import TaskError
from tasks.github import job
from tests.support import github_runner, hostile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    return tmp_path


@given(
    strategies.dictionaries(
        strategies.from_regex(r"[a-z_]{1,8}", fullmatch=True), hostile.TEXTS, max_size=4
    )
)
def test_outputs_are_read_as_they_were_written(values: dict[str, str]) -> None:
    text = "".join(job.format_output(name, value) for name, value in values.items())
    assert github_runner.outputs(text) == values


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a<<b", "a\nb", "1a", "ä", "a-b"])
def test_format_output_refuses_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an output"):
        job.format_output(name, "x")


def test_outputs_of_every_kind_are_written_as_text(files: Path) -> None:
    job.write_outputs(yes=True, no=False, nothing=None, count=3, odd="a\ud800b")
    text = (files / "output").read_text(encoding="utf-8")
    assert github_runner.outputs(text) == {
        "yes": "true", "no": "false", "nothing": "", "count": "3", "odd": "a?b",
    }  # fmt: skip


def test_outputs_are_appended_to_earlier_ones(files: Path) -> None:
    (files / "output").write_text("before=1\n")
    job.write_outputs(after=2)
    text = (files / "output").read_text()
    assert github_runner.outputs(text) == {"before": "1", "after": "2"}


def test_outputs_that_cannot_be_written_raise(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty output would be read as "nothing has changed"."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(files / "no" / "such"))
    with pytest.raises(TaskError, match="GITHUB_OUTPUT cannot be written"):
        job.write_outputs(changed=True)


def test_a_summary_that_cannot_be_written_only_warns(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(files))
    job.write_summary("x")
    assert "cannot be written" in capsys.readouterr().err


def test_a_summary_is_cut_before_github_discards_it(files: Path) -> None:
    for _ in range(3):
        job.write_summary("ä" * 400_000)
    data = (files / "summary").read_bytes()
    assert job.SUMMARY_LIMIT - 10 < len(data) < 1 << 20
    assert data.decode().count("the rest is in the log") == 1


@pytest.mark.parametrize("value", [None, "", "false", "1"])
def test_job_functions_do_nothing_outside_of_a_job(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str | None,
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    if value is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", value)
    with job.quarantine(), job.log_group("x"):
        job.write_outputs(a=1)
        job.write_summary("b")
        job.annotate("error", "c")
        job.report_failure("plan", problem="d", fix="e")
    assert list(files.iterdir()) == []
    assert capsys.readouterr() == ("", "")
