"""Test what needs no engine."""

from __future__ import annotations

import sys

from tasks.base import process
from tasks.base.options import Parser
from tasks.base.project import ROOT


def main(arguments: list[str]) -> None:
    parser = Parser(
        prog="nox -s unit --",
        usage="nox -s unit -- [-h] [PATH ...] [OPTION ...]",
        description=f"{__doc__} Paths below tests/unit/ and options (-k, -x, --lf, …) go to pytest"
        " as they are. With a debugger: .nox/unit/bin/pytest --pdb tests/unit/PATH",
        allow_abbrev=False,
    )
    _, words = parser.parse_known_args(arguments)
    paths = [] if any(word.startswith("tests/") for word in words) else ["tests/unit"]
    workers = ["--numprocesses", "auto"]
    process.run([sys.executable, "-m", "pytest", *paths, *workers, *words], cwd=ROOT)
