"""Check types with mypy, strictly: what is checked stands in pyproject.toml."""

from __future__ import annotations

import sys

from tasks.base import process
from tasks.base.options import Parser
from tasks.base.project import ROOT


def main(arguments: list[str]) -> None:
    Parser(prog="nox -s types --", description=__doc__, allow_abbrev=False).parse_args(arguments)
    process.run([sys.executable, "-m", "mypy"], cwd=ROOT)
