"""`nox -s lint`: ruff and shellcheck, over what git tracks. `--fix` mends what ruff can."""

from __future__ import annotations

import argparse

from tasks import process
from tasks.settings import ROOT, SANDBOX_DIR

#: Scripts that have no ending.
_SERVICES = f"{SANDBOX_DIR}/s6-daemons"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="nox -s lint --", description="Check style.")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended")
    fix = parser.parse_args(arguments).fix
    process.run(["ruff", "check", *(["--fix"] if fix else [])], cwd=ROOT)
    process.run(["ruff", "format", *([] if fix else ["--check"])], cwd=ROOT)
    process.run(["shellcheck", *shell_scripts()], cwd=ROOT)


def shell_scripts() -> list[str]:
    """Every tracked shell script, by its ending or, among the services', by its first line."""
    listed = ["git", "ls-files", "-z", "*.sh", ".ci/run", _SERVICES]
    names = process.capture(listed, cwd=ROOT).stdout.decode().split("\0")
    return [name for name in names if name and _is_shell(name)]


def _is_shell(name: str) -> bool:
    return name.endswith(".sh") or (ROOT / name).read_bytes()[:2] == b"#!"
