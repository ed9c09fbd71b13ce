from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import TaskError
from tasks.testing import names

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = """
import json as this
from typing import Any as its

def found(given, *there, who=1, **others):
    one = {here: now for here in given for now in there}
    with open(one) as done:
        while (told := done.read()):
            done.left = told
    try:
        (_kept, [made, *rest]) = one
    except OSError as wrong_thing:
        pass
    match one:
        case [gone, *moved]:
            return gone
        case {"x": whole}:
            return whole

async def asked():
    for known in ():
        pass
"""
FULL = """
class Parcel:
    def __init__(self, *, found_items, next_stop):
        self.last_seen = found_items
        self._ = next_stop

def find(cls, _):
    for i in range(3):
        all = any = i
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("tasks/a", "tests/unit/b", "apps/c/deep/below"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "apps/node_modules/x").mkdir(parents=True)
    (tmp_path / "apps/node_modules/x/foreign.py").write_text(EMPTY)
    return tmp_path


def check(root: Path, *debt: str) -> None:
    names.check(root, frozenset(debt))


def test_names_that_say_nothing_are_found_wherever_they_are_bound(root: Path) -> None:
    (root / "tasks/a/x.py").write_text(EMPTY)
    [report] = names.folder_reports(root)
    assert {name.name for name in report.empty_names} == {
        *("this", "its", "found", "given", "there", "who", "others", "one", "here", "now"),
        *("done", "told", "left", "_kept", "made", "gone", "moved", "whole", "asked", "known"),
    }
    assert report.empty_names[0].place.startswith("tasks/a/x.py:")


def test_names_of_the_domain_pass(root: Path) -> None:
    (root / "apps/c/deep/below/x.py").write_text(FULL)
    check(root)
    [report] = names.folder_reports(root)
    assert (report.folder, report.share) == ("apps/c", 0)


def test_a_folder_over_the_limit_is_a_failure(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "tests/unit/b/x.py").write_text("found = there = 1\n")
    with pytest.raises(TaskError, match="1 problems with names"):
        check(root)
    assert "found (tests/unit/b/x.py:1)" in capsys.readouterr().err
    (root / "tests/unit/b/x.py").write_text("found = 1\n" + "name = 2\n" * 50)
    check(root)


def test_a_class_name_has_one_meaning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("tasks/a/x.py", "apps/c/y.py"):
        (root / path).write_text("class Report: pass\n")
    with pytest.raises(TaskError):
        check(root)
    assert "class Report is defined more than once: tasks/a/x.py:1" in capsys.readouterr().err


def test_debt_is_taken_out_when_it_is_paid(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    debt = ("folder tasks/a", "class Report")
    (root / "tasks/a/x.py").write_text("found = there = 1\nclass Report: pass\n")
    (root / "tasks/a/y.py").write_text("class Report: pass\n")
    check(root, *debt)
    (root / "tasks/a/x.py").write_text("name = 1\n")
    with pytest.raises(TaskError):
        check(root, *debt)
    output = capsys.readouterr().err
    assert "tasks/a is within the limit: take it out" in output
    assert "class Report is defined once: take it out" in output
