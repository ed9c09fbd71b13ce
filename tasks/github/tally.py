"""The results of a run of pytest, for people who do not open its log. A plugin of pytest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tasks.base import markdown, project
from tasks.github import job

if TYPE_CHECKING:
    import pytest

#: The title of a section that tests/sandbox/conftest.py adds to a failing test.
_FOLDER: Final = re.compile(r"diagnostics in (.+)")
#: Rows: a table of a hundred failures helps nobody.
_LONGEST_TABLE: Final = 25


@dataclass
class Tally:
    """Tests by outcome; one whose fixtures fail has failed. `failed`: id → its diagnostics."""

    passed: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid
        if report.failed:
            titles = [m[1] for title, _ in report.sections if (m := _FOLDER.fullmatch(title))]
            # Relative, as it is in the artifact of the run.
            folder = titles[0].removeprefix(f"{project.ROOT}/") if titles else ""
            self.failed[test] = folder or self.failed.get(test, "")
            self.passed.discard(test)
        elif report.skipped:
            self.skipped.add(test)
        elif report.when == "call" and test not in self.failed:
            self.passed.add(test)

    @property
    def tests(self) -> int:
        return len(self.passed | self.skipped | self.failed.keys())

    def report(self, subject: str, *, diagnostics: str) -> None:
        """Write the step's outputs and summary."""
        job.write_outputs(
            tests=self.tests,
            passed=len(self.passed),
            failed=len(self.failed),
            skipped=len(self.skipped),
            diagnostics=diagnostics,
        )
        job.write_summary(self.text(subject))

    def text(self, subject: str) -> str:
        mark = "✗" if self.failed else "✓" if self.passed else "!"
        counts = [str(len(tests)) for tests in (self.passed, self.failed, self.skipped)]
        text = f"### {mark} Tests of {markdown.code(subject)}\n\n"
        text += markdown.table(["passed", "failed", "skipped"], [counts])
        rows = [[markdown.code(test), markdown.code(at)] for test, at in self.failed.items()]
        if rows:
            text += "\n" + markdown.table(["failed", "diagnostics"], rows[:_LONGEST_TABLE])
        if len(rows) > _LONGEST_TABLE:
            text += f"\nand {len(rows) - _LONGEST_TABLE} more: see the log\n"
        return text
