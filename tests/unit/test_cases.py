"""Each case that publishing has to survive has a test: a marker that names it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tasks.base.project import ROOT
from tests.support.cases import CASES, NO_CASE, Table

if TYPE_CHECKING:
    from collections.abc import Iterator


def marker_ids() -> Iterator[str]:
    """The ids in `pytest.mark.case(…)` of every test file."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case":
                yield from (ast.literal_eval(argument) for argument in node.args)


def test_each_case_has_a_test_and_each_marker_is_a_case() -> None:
    assert sorted(set(marker_ids())) == sorted(CASES)


def test_cases_are_those_of_publishing() -> None:
    """F13-F27 and F48, N1-N10, N13, N15-N18, N22, N23, N35-N38, N41, N42."""
    assert len(CASES) == 15 + 1 + 10 + 1 + 4 + 2 + 4 + 2


def test_a_case_without_a_row_is_seen_in_the_table() -> None:
    table = Table()
    table.rows["F13", "503 | three times"] = ("pushed", {"none"})
    text = table.markdown()
    assert "| F13 | 503 \\| three times | pushed | none |" in text
    assert text.count("NO TEST RAN") == len(CASES) - 1
    assert NO_CASE not in {row[0] for row in table.lines()}
