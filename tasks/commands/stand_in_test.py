"""Test the local Daytona with the real SDK, on this machine's engine."""

from __future__ import annotations

from importlib import metadata

from tasks.base import console, process, programs, project
from tasks.base.options import Parser, add_selection, selection
from tasks.engine import discovery


def main(arguments: list[str]) -> None:
    parser = Parser(
        prog="nox -s stand_in_test --",
        description=__doc__,
        allow_abbrev=False,
        epilog="--newest-sdk, to the session: with the newest SDK that pyproject.toml allows.",
    )
    add_selection(parser)
    options = parser.parse_args(arguments)
    discovery.require()
    programs.require_registry()
    console.step(f"the SDK is daytona {metadata.version('daytona')}")
    command = ["pytest", "tests/standin", "-v", "--durations=5", *selection(options)]
    process.run(command, cwd=project.ROOT)
