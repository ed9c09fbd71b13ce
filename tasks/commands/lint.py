"""`nox -s lint`: ruff, shellcheck, and for the workflows actionlint, zizmor and our own rules.

`--fix` mends what ruff can. Nothing here asks the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import console, process
from tasks.base.errors import TaskError
from tasks.base.options import Parser
from tasks.base.project import ROOT, SANDBOX_DIR

if TYPE_CHECKING:
    from pathlib import Path

#: Scripts that have no ending.
_SERVICES: Final = f"{SANDBOX_DIR}/s6-daemons"
WORKFLOWS: Final = ".github/workflows"
DEPENDABOT: Final = ".github/dependabot.yml"
ACTIONLINT: Final = ("actionlint", "-no-color", "-shellcheck=shellcheck", "-pyflakes=")
ZIZMOR: Final = (
    "zizmor", "--offline", "--no-progress", "--quiet", "--persona=pedantic", "--strict-collection",
)  # fmt: skip


class Refused(TaskError):
    """A workflow does not keep what workflows promise."""

    code = "workflow-rules"


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s lint --", description="Check style.")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended")
    fix = parser.parse_args(arguments).fix
    process.run(["ruff", "check", *(["--fix"] if fix else [])], cwd=ROOT)
    process.run(["ruff", "format", *([] if fix else ["--check"])], cwd=ROOT)
    process.run(["shellcheck", *shell_scripts()], cwd=ROOT)
    check_workflows(ROOT)


def check_workflows(root: Path) -> None:
    """By actionlint (with shellcheck), by zizmor at its strictest, by what both do not look for."""
    files = workflows(root)
    process.run([*ACTIONLINT, *map(str, files)], cwd=root)
    process.run([*ZIZMOR, str(root)], cwd=root)
    found = broken_rules(root)
    for line in found:
        console.fail(console.printable(line))
    if found:
        raise Refused(f"{len(found)} workflow rules are broken", fix="see above; CONTRIBUTING.md")
    console.good(f"{len(files)} workflows: actionlint, zizmor and our own rules find nothing")


def workflows(root: Path) -> list[Path]:
    return sorted((root / WORKFLOWS).glob("*.y*ml"))


def broken_rules(root: Path) -> list[str]:
    from tasks.github import workflow_rules as rules  # noqa: PLC0415 - a package of this session's

    checks = [(file, rules.check_workflow) for file in workflows(root)]
    checks.append((root / DEPENDABOT, rules.check_dependabot))
    return [
        f"{file.relative_to(root)}:{finding.line}: {finding.what} [{finding.rule}]"
        for file, check in checks
        for finding in check(file.read_text(encoding="utf-8") if file.exists() else "")
    ]


def shell_scripts() -> list[str]:
    """Every tracked shell script, by its ending or, among the services', by its first line."""
    listed = git.open_repo(ROOT).git("ls-files", "-z", "--", "*.sh", ".ci/run", _SERVICES)
    names = listed.decode().split("\0")
    return [name for name in names if name and _is_shell(name)]


def _is_shell(name: str) -> bool:
    return name.endswith(".sh") or (ROOT / name).read_bytes()[:2] == b"#!"
