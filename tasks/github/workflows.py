"""Checks the files below .github: by actionlint, by zizmor at its strictest, by our own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.base import console, process
from tasks.base.errors import TaskError
from tasks.github import workflow_rules

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS: Final = ".github/workflows"
DEPENDABOT: Final = ".github/dependabot.yml"
ACTIONLINT: Final = ("actionlint", "-no-color", "-shellcheck=shellcheck", "-pyflakes=")
ZIZMOR: Final = (
    "zizmor", "--offline", "--no-progress", "--quiet", "--persona=pedantic", "--strict-collection",
)  # fmt: skip


class WorkflowsRefused(TaskError):
    """A workflow does not keep what workflows promise."""

    code = "workflow-rules"


def files(root: Path) -> list[Path]:
    """The workflows of the checkout at `root`."""
    return sorted((root / WORKFLOWS).glob("*.y*ml"))


def check(root: Path) -> None:
    """Raise `CommandFailed` or `WorkflowsRefused` at the first check that finds something."""
    paths = files(root)
    process.run([*ACTIONLINT, *map(str, paths)], cwd=root)
    process.run([*ZIZMOR, str(root)], cwd=root)
    findings = broken_rules(root)
    for finding in findings:
        console.fail(console.printable(finding))
    if findings:
        raise WorkflowsRefused(
            f"{len(findings)} workflow rules are broken", fix="see above and CONTRIBUTING.md"
        )
    console.good(f"{len(paths)} workflows: actionlint, zizmor and our own rules find nothing")


def broken_rules(root: Path) -> list[str]:
    """What our own rules find, a line each: place, message and rule."""
    checks = [(file, workflow_rules.check_workflow) for file in files(root)]
    checks.append((root / DEPENDABOT, workflow_rules.check_dependabot))
    return [
        f"{file.relative_to(root)}:{finding.line}: {finding.message} [{finding.rule}]"
        for file, check_file in checks
        for finding in check_file(file.read_text(encoding="utf-8") if file.exists() else "")
    ]
