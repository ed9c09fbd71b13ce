"""One comment a pull request and kind, ours alone, up to date whatever happened to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project
from tasks.base.errors import BadInput
from tasks.base.retry import RemoteFailed
from tasks.commands import github_comment
from tests.support.github_hub import WORKFLOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.github_hub import GitHub

MARK = f"<!-- {project.SLUG}: sandbox -->"
NAME = "dev-x--20260116-230007-0123456789ab"


@pytest.fixture
def snapshot_json(tmp_path: Path) -> str:
    path = tmp_path / "snapshot.json"
    path.write_text(json.dumps({"snapshot_name": NAME, "sha": "a" * 40, "stage": "dev-x"}))
    return str(path)


def comment(issue: int, *arguments: str) -> None:
    github_comment.main(["--pull-request", str(issue), *arguments])


def test_a_comment_is_written_once_then_updated(
    job: GitHub, snapshot_json: str, outputs: Callable[[], dict[str, str]]
) -> None:
    issue = job.pull()
    job.comment(issue, "Nice work", login="ann")
    comment(issue, "--snapshot-json", snapshot_json)
    assert outputs()["action"] == "created"
    comment(issue, "--snapshot-json", snapshot_json)
    assert outputs()["action"] == "updated"
    (comment_of_ours,) = [c for c in job.comments.values() if c["body"].startswith(MARK)]
    assert comment_of_ours["user"]["login"] == WORKFLOW
    assert f"`{NAME}`" in comment_of_ours["body"]
    assert f"`{'a' * 40}`" in comment_of_ours["body"]
    assert "https://github.com/iterate/iterate/actions/runs/77" in comment_of_ours["body"]
    assert outputs()["url"] == comment_of_ours["html_url"]
    comment(issue, "--gone")
    assert "has been deleted" in comment_of_ours["body"]
    assert NAME not in comment_of_ours["body"]
    comment(issue, "--snapshot-json", snapshot_json)
    assert NAME in comment_of_ours["body"]
    assert len(job.comments) == 2


def test_a_retirement_writes_no_new_comment(
    job: GitHub, outputs: Callable[[], dict[str, str]]
) -> None:
    comment(job.pull(), "--gone")
    assert outputs()["action"] == "none"
    assert job.comments == {}


def test_comments_of_other_people_are_left_alone(job: GitHub, snapshot_json: str) -> None:
    """Anybody can write our mark."""
    issue = job.pull()
    foreign = [
        job.comment(issue, f"{MARK}\nhaha", login="mallory"),
        job.comment(issue, f"{MARK}\nhaha", login=None),
        job.comment(issue, f"> {MARK}\nquoted", login=WORKFLOW),
        job.comment(issue, f"<!-- {project.SLUG}: other -->\nx", login=WORKFLOW),
    ]
    bodies = {number: job.comments[number]["body"] for number in foreign}
    comment(issue, "--snapshot-json", snapshot_json)
    assert {number: job.comments[number]["body"] for number in foreign} == bodies
    assert len(job.comments) == 5


def test_a_comment_on_a_later_page_is_updated(job: GitHub, snapshot_json: str) -> None:
    issue = job.pull()
    for _ in range(120):
        job.comment(issue, "chat", login="ann")
    number = job.comment(issue, f"{MARK}\r\nold", login=WORKFLOW)
    comment(issue, "--snapshot-json", snapshot_json)
    assert NAME in job.comments[number]["body"]
    assert len(job.comments) == 121


def test_the_older_of_two_comments_stays(job: GitHub, snapshot_json: str) -> None:
    issue = job.pull()
    first = job.comment(issue, f"{MARK}\na", login=WORKFLOW)
    second = job.comment(issue, f"{MARK}\nb", login=WORKFLOW)
    comment(issue, "--snapshot-json", snapshot_json)
    assert second not in job.comments
    assert NAME in job.comments[first]["body"]


def test_a_comment_that_was_deleted_is_written_anew(
    job: GitHub, snapshot_json: str, outputs: Callable[[], dict[str, str]]
) -> None:
    issue = job.pull()
    number = job.comment(issue, f"{MARK}\na", login=WORKFLOW)
    job.fail("PATCH", f"comments/{number}", 404, body={"message": "Not Found"}, times=2)
    comment(issue, "--gone")
    assert outputs()["action"] == "none"
    comment(issue, "--snapshot-json", snapshot_json)
    assert outputs()["action"] == "created"


def test_a_closed_pull_request_gets_no_new_comment(job: GitHub, snapshot_json: str) -> None:
    issue = job.pull(state="closed")
    comment(issue, "--snapshot-json", snapshot_json)
    assert job.comments == {}
    number = job.comment(issue, f"{MARK}\na", login=WORKFLOW)
    comment(issue, "--snapshot-json", snapshot_json)
    assert NAME in job.comments[number]["body"]


def test_a_person_comments_as_themselves(
    job: GitHub, snapshot_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", job.token("ghp_ann", login="ann"))
    issue = job.pull()
    job.comment(issue, f"{MARK}\nthe job's", login=WORKFLOW)
    comment(issue, "--snapshot-json", snapshot_json)
    comment(issue, "--snapshot-json", snapshot_json)
    assert [c["user"]["login"] for c in job.comments.values()] == [WORKFLOW, "ann"]


def test_a_rate_limit_is_waited_for(job: GitHub, snapshot_json: str, naps: list[float]) -> None:
    limit: Any = {"message": "You have exceeded a secondary rate limit"}
    job.fail("POST", "comments", 403, body=limit, headers={"Retry-After": "20"})
    comment(job.pull(), "--snapshot-json", snapshot_json)
    assert len(job.comments) == 1
    assert [nap >= 20 for nap in naps] == [True]


def test_refusals_of_github_are_reported(
    job: GitHub, snapshot_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="no pull request 999"):
        comment(999, "--snapshot-json", snapshot_json)
    issue = job.pull()
    job.pulls[issue]["locked"] = True
    with pytest.raises(RemoteFailed, match="issue is locked"):
        comment(issue, "--snapshot-json", snapshot_json)
    poor = job.token("ghs_poor", {"pull_requests": "read", "issues": "read"})
    monkeypatch.setenv("GITHUB_TOKEN", poor)
    with pytest.raises(RemoteFailed, match="issues=write; pull_requests=write"):
        comment(job.pull(), "--snapshot-json", snapshot_json)
    assert job.comments == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"snapshot_name": 1}', '{"snapshot_name": "a b"}', "\xff"]
)
def test_a_file_without_a_snapshot_is_refused(job: GitHub, tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput):
        comment(job.pull(), "--snapshot-json", str(path))
    assert job.count("comments") == 0


@pytest.mark.parametrize(
    "arguments",
    [[], ["--gone"], ["--pull-request", "0", "--gone"], ["--pull-request", "1"],
     ["--pull-request", "٣", "--gone"], ["--pull-request", "1; id", "--gone"],
     ["--pull-request", "1", "--gone", "--snapshot-json", "x"]],
)  # fmt: skip
def test_contradictory_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(BadInput):
        github_comment.main(arguments)


def test_hostile_values_stay_text(job: GitHub, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    hostile_text = "</td>@all ` | [x](http://evil)\n::error::"
    path.write_text(
        json.dumps(
            {"snapshot_name": NAME, "sha": hostile_text, "stage": hostile_text, "how": hostile_text}
        )
    )
    comment(job.pull(), "--snapshot-json", str(path))
    (body,) = [c["body"] for c in job.comments.values()]
    assert "</td>" not in body
    assert "@all" not in body
    assert "http://evil" not in body
