"""Check style: ruff, names, shellcheck, and for the workflows actionlint, zizmor and our own rules.

The identity of the project is compared with the files that cannot read it. No network is needed.
"""

from __future__ import annotations

from typing import Final

from tasks import git
from tasks.base import process
from tasks.base.options import Parser
from tasks.base.project import ROOT, SANDBOX_DIR
from tasks.testing import identity_check, names

#: Scripts without an ending are among the services.
_SERVICES: Final = f"{SANDBOX_DIR}/s6-daemons"


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s lint --", description=__doc__)
    corrections = "correct what ruff can correct, and files that name another identity"
    parser.add_argument("--fix", action="store_true", help=corrections)
    fix = parser.parse_args(arguments).fix
    process.run(["ruff", "check", *(["--fix"] if fix else [])], cwd=ROOT)
    process.run(["ruff", "format", *([] if fix else ["--check"])], cwd=ROOT)
    names.check(ROOT)
    identity_check.check(ROOT, fix=fix)
    process.run(["shellcheck", *shell_scripts()], cwd=ROOT)
    from tasks.github import workflows  # noqa: PLC0415 - PyYAML is a package of this session

    workflows.check(ROOT)


def shell_scripts() -> list[str]:
    """Every tracked shell script, by its ending or, among the services', by its first line."""
    places = ["*.sh", ".ci/run", _SERVICES, f"{SANDBOX_DIR}/lib/shell"]
    listed = git.open_repo(ROOT).git("ls-files", "-z", "--", *places)
    paths = listed.decode().split("\0")
    return [path for path in paths if path and _is_shell(path)]


def _is_shell(path: str) -> bool:
    return path.endswith(".sh") or (ROOT / path).read_bytes()[:2] == b"#!"
