"""Test how the image is built: what gets in, what is reused, what a failure leaves behind."""

from __future__ import annotations

from tasks.base import process, project
from tasks.base.options import Parser, add_selection, selection
from tasks.engine import discovery


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s image_test --", description=__doc__, allow_abbrev=False)
    add_selection(parser)
    options = parser.parse_args(arguments)
    discovery.require()
    command = ["pytest", "tests/image", "-v", "--durations=5", *selection(options)]
    process.run(command, cwd=project.ROOT)
