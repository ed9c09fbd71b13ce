"""The cases of docs/faults.md and docs/bad-inputs.md that publishing has to survive: their table.

A test carries the ids of the cases that it proves (`@pytest.mark.case("F17")`) and tells with the
fixture `show` what the user sees. What it left behind, tests/daytona asks the stand-in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console

if TYPE_CHECKING:
    import pytest

_N: Final = (*range(1, 11), 13, 15, 16, 17, 18, 22, 23, 35, 36, 37, 38, 41, 42)
#: Each must have a test.
CASES: Final = (*(f"F{n}" for n in range(13, 28)), "F48", *(f"N{n}" for n in _N))
#: Faults that the stand-in knows, and those two documents do not.
NO_CASE: Final = "-"
#: Of tests that start nothing outside their own process and folder.
_NO_TRACE: Final = "none: nothing was asked or made"


@dataclass(eq=False)  # plugins are hashed
class Table:
    """A plugin: collects the rows of every test, on every worker, as they are reported."""

    rows: dict[tuple[str, str], tuple[str, set[str]]] = field(default_factory=dict)
    failures: set[str] = field(default_factory=set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failures.add(report.nodeid)
        if report.when != "teardown":
            return
        properties: list[tuple[str, Any]] = list(report.user_properties)
        leftover = next((str(value) for name, value in properties if name == "left"), _NO_TRACE)
        if report.nodeid in self.failures:
            leftover = "ITS TEST FAILED"
        for name, value in properties:
            if name == "row":
                case, fault, message = value
                self.rows.setdefault((case, fault), (message, set()))[1].add(leftover)

    def lines(self) -> list[list[str]]:
        """Case, fault, what the user sees, what was left; and cases without a row."""
        order = {case: number for number, case in enumerate((*CASES, NO_CASE))}
        rows = [
            [case, fault, message, "; ".join(sorted(leftovers))]
            for (case, fault), (message, leftovers) in self.rows.items()
        ]
        proven = {row[0] for row in rows}
        rows += [[case, "", "NO TEST RAN", ""] for case in CASES if case not in proven]
        return sorted(rows, key=lambda row: (order[row[0]], row[1]))

    def markdown(self) -> str:
        head = ["case", "fault", "what the user sees", "left behind"]
        rows = [head, ["---"] * len(head), *self.lines()]
        cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
        return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def add(item: pytest.Item, fault: str, message: object) -> None:
    """A row for each case of that test."""
    for case in ids(item) or [NO_CASE]:
        row = (case, fault, console.printable(str(message)))
        item.user_properties.append(("row", row))


def ids(item: pytest.Item) -> list[str]:
    return [str(case) for marker in item.iter_markers("case") for case in marker.args]


def is_shown(item: pytest.Item) -> bool:
    return any(name == "row" for name, _ in item.user_properties)
