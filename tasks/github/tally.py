"""What a run of pytest came to, for people who do not open its log. A plugin of pytest's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tasks.base import markdown, project
from tasks.github import job

if TYPE_CHECKING:
    import pytest

#: As tests/sandbox/conftest.py names what it puts below a failing test.
_FOLDER: Final = re.compile(r"diagnostics in (.+)")
#: A table of all of a hundred failures helps nobody.
_SHOWN: Final = 25


@dataclass
class Tally:
    """Tests by outcome; a test whose set-up or end fails has failed. `failed`: id → folder."""

    passed: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid
        if report.failed:
            found = [m[1] for title, _ in report.sections if (m := _FOLDER.fullmatch(title))]
            # As the artifact of the run has it.
            folder = found[0].removeprefix(f"{project.ROOT}/") if found else ""
            self.failed[test] = folder or self.failed.get(test, "")
            self.passed.discard(test)
        elif report.skipped:
            self.skipped.add(test)
        elif report.when == "call" and test not in self.failed:
            self.passed.add(test)

    @property
    def tests(self) -> int:
        return len(self.passed | self.skipped | self.failed.keys())

    def tell(self, subject: str, *, diagnostics: str) -> None:
        """Into the step's outputs and summary."""
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
        counts = [str(len(one)) for one in (self.passed, self.failed, self.skipped)]
        text = f"### {mark} Tests of {markdown.code(subject)}\n\n"
        text += markdown.table(["passed", "failed", "skipped"], [counts])
        rows = [[markdown.code(test), markdown.code(at)] for test, at in self.failed.items()]
        if rows:
            text += "\n" + markdown.table(["failed", "diagnostics"], rows[:_SHOWN])
        if len(rows) > _SHOWN:
            text += f"\nand {len(rows) - _SHOWN} more: see the log\n"
        return text
