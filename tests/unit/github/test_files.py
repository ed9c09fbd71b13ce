"""Outputs and summaries: whatever is in a value, the runner reads that value and nothing else."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import github
from tasks.base.errors import TaskError
from tasks.github import markdown
from tests.support import github_runner

if TYPE_CHECKING:
    from pathlib import Path

#: What somebody would write who knows the format, beside anything at all.
HOSTILE = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["x<<EOF", "EOF", "end_", "name=value", "", "::set-output name=a::b", "\r", "=", "<<",
             '"; touch pwned #', "$(id)", "`id`", "${{ secrets.X }}"]
        )
    ).map("\n".join),
)  # fmt: skip


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    return tmp_path


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), HOSTILE, max_size=4))
def test_every_value_comes_out_as_it_went_in(values: dict[str, str]) -> None:
    text = "".join(github.entry(name, value) for name, value in values.items())
    assert github_runner.outputs(text) == values


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a<<b", "a\nb", "1a", "ä", "a-b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an output"):
        github.entry(name, "x")


def test_kinds_of_values(job: Path) -> None:
    github.outputs(yes=True, no=False, nothing=None, count=3, odd="a\ud800b")
    text = (job / "output").read_text(encoding="utf-8")
    assert github_runner.outputs(text) == {
        "yes": "true", "no": "false", "nothing": "", "count": "3", "odd": "a?b",
    }  # fmt: skip


def test_they_are_added_to_what_is_there(job: Path) -> None:
    (job / "output").write_text("before=1\n")
    github.outputs(after=2)
    text = (job / "output").read_text()
    assert github_runner.outputs(text) == {"before": "1", "after": "2"}


def test_outputs_that_cannot_be_written_are_an_error(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty output would be read as "nothing has changed"."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(job / "no" / "such"))
    with pytest.raises(TaskError, match="GITHUB_OUTPUT cannot be written"):
        github.outputs(changed=True)


def test_a_summary_that_cannot_be_written_is_none(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job))
    github.summary("x")
    assert "cannot be written" in capsys.readouterr().err


def test_a_summary_is_cut_before_github_throws_it_away(job: Path) -> None:
    for _ in range(3):
        github.summary("ä" * 400_000)
    data = (job / "summary").read_bytes()
    assert github.MOST - 10 < len(data) < 1 << 20
    assert data.decode().count("the rest is in the log") == 1


@pytest.mark.parametrize("value", [None, "", "false", "1"])
def test_outside_of_a_job_nothing_happens(
    job: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str | None,
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    if value is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", value)
    with github.quarantine(), github.group("x"):
        github.outputs(a=1)
        github.summary("b")
        github.annotate("error", "c")
        github.failed("plan", what="d", fix="e")
    assert list(job.iterdir()) == []
    assert capsys.readouterr() == ("", "")


# ── Markdown ────────────────────────────────────────────────────────────────────────────────


@given(HOSTILE)
def test_foreign_text_stays_text(text: str) -> None:
    safe = markdown.plain(text)
    assert "\n" not in safe
    assert "\r" not in safe
    source = re.sub(r"&#?\w+;", "", safe)
    assert not re.search(r"[&<>|`\[\]*_~\\#]|://|www\.", source, re.IGNORECASE)
    # Mentions and references are looked for in what it is after that.
    assert not re.search(r"@\w|#\d", html.unescape(safe))


@given(HOSTILE)
def test_code_is_one_cell_and_one_span(text: str) -> None:
    safe = markdown.code(text)
    assert "\n" not in safe
    assert "|" not in safe
    if safe.startswith("`"):
        fence = re.match("`+", safe)
        assert fence
        inside = safe[len(fence[0]) : -len(fence[0])]
        assert len(fence[0]) not in {len(run) for run in re.findall("`+", inside)}
        assert safe.endswith(fence[0])


def test_what_it_looks_like() -> None:
    assert markdown.plain("see @ann, #12 & <b>") == (
        "see @&#8203;ann, &#35;&#8203;12 &amp; &lt;b&gt;"
    )
    assert markdown.plain("https://a.example") == "https&#58;//a.example"
    assert markdown.code("x") == "`x`"
    assert markdown.code("a`b") == "`` a`b ``"
    assert markdown.code("a|b") == "<code>a&#124;b</code>"
    assert markdown.code(" ") == ""
    facts = markdown.facts([("commit", "abc"), ("none", None), ("reused", False)])
    assert facts.splitlines()[2:] == ["| commit | `abc` |", "| reused | `false` |"]
