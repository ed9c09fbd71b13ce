"""Say, within two seconds, whether there is an engine that can build and run sandboxes."""

from __future__ import annotations

from tasks.base.options import Parser
from tasks.engine import discovery


def main(arguments: list[str]) -> None:
    parser = Parser(prog="python -m tasks require-engine", description=__doc__)
    parser.parse_args(arguments)
    discovery.require()
