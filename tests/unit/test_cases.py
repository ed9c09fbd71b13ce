"""Each case of docs/faults.md and docs/bad-inputs.md names its tests, and these tests exist."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tasks.base.project import ROOT
from tests.support.cases import CASES, NO_CASE, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The documents, and the ids that each lists in this order.
DOCUMENTS: Final = {
    "faults.md": [f"F{number}" for number in range(1, 49)],
    "bad-inputs.md": [f"N{number}" for number in range(1, 51)],
}
NO_TEST: Final = "no test yet"
_ROW: Final = re.compile(r"^\| ([FN]\d+) \|(.*)\|$", re.MULTILINE)
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py::\w+)`")
_MENTION: Final = re.compile(r"\b[FN]\d{1,2}\b")


@dataclass(frozen=True)
class CaseRow:
    """A row of the tables: what is in each of its cells, and the tests named in the last one."""

    case: str
    cells: list[str]

    @property
    def tests(self) -> list[str]:
        return _TEST.findall(self.cells[-1])


def documented_cases(document: str) -> list[CaseRow]:
    text = (ROOT / "docs" / document).read_text()
    return [
        CaseRow(case, [cell.strip() for cell in re.split(r"(?<!\\)\|", cells)])
        for case, cells in _ROW.findall(text)
    ]


ROWS: Final = [row for document in DOCUMENTS for row in documented_cases(document)]


@dataclass(frozen=True)
class CaseTest:
    """A test function, as `path::name`, with the cases of its markers and of its docstring."""

    name: str
    marked: frozenset[str]
    mentioned: frozenset[str]


def case_tests() -> Iterator[CaseTest]:
    """Every test function. Its parameters may be in a list of the module, with markers in it."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        lists = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            words = [name for name in ast.walk(node) if isinstance(name, ast.Name)]
            trees = [node, *(lists[word.id] for word in words if word.id in lists)]
            yield CaseTest(
                f"{path.relative_to(ROOT)}::{node.name}",
                frozenset(case for tree in trees for case in marker_ids(tree)),
                frozenset(_MENTION.findall(ast.get_docstring(node) or "")),
            )


def marker_ids(tree: ast.AST) -> Iterator[str]:
    """The ids in `pytest.mark.case(…)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case":
            yield from (ast.literal_eval(argument) for argument in node.args)


TESTS: Final = {test.name: test for test in case_tests()}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_lists_every_case_once(document: str) -> None:
    assert [row.case for row in documented_cases(document)] == DOCUMENTS[document]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_a_documented_case_names_tests_that_exist(row: CaseRow) -> None:
    assert len(row.cells) == 3
    assert all(row.cells), "an empty cell"
    assert row.tests or NO_TEST in row.cells[-1]
    assert [test for test in row.tests if test not in TESTS] == []
    assert row.cells[-1].count("::") == len(row.tests), "a test that is not written as path::name"


def test_the_tests_of_a_case_are_documented() -> None:
    documented = {(test, row.case) for row in ROWS for test in row.tests}
    claims = {(test.name, case) for test in TESTS.values() for case in test.marked | test.mentioned}
    assert sorted(claims - documented) == []


def test_each_case_has_a_test_and_each_marker_is_a_case() -> None:
    marked_cases = {case for test in TESTS.values() for case in test.marked}
    assert sorted(marked_cases) == sorted(CASES)


def test_cases_are_those_of_publishing() -> None:
    # F13-F27 and F48, N1-N10, N13, N15-N18, N22, N23, N35-N38, N41, N42.
    assert len(CASES) == 15 + 1 + 10 + 1 + 4 + 2 + 4 + 2


def test_a_case_without_a_row_is_seen_in_the_table() -> None:
    table = Table()
    table.rows["F13", "503 | three times"] = ("pushed", {"none"})
    text = table.markdown()
    assert "| F13 | 503 \\| three times | pushed | none |" in text
    assert text.count("NO TEST RAN") == len(CASES) - 1
    assert NO_CASE not in {row[0] for row in table.lines()}
