"""Compile the requirement files: every package pinned, with hashes, for every platform."""

from __future__ import annotations

from tasks.base import console
from tasks.base.options import Parser
from tasks.base.project import ROOT
from tasks.bump import requirements
from tasks.bump.requirements import Stale


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s deps --", description=__doc__, allow_abbrev=False)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="only say whether they are up to date")
    group.add_argument(
        "--upgrade", action="store_true", help="move every pin to the newest release"
    )
    options = parser.parse_args(arguments)
    texts = requirements.compile_all(upgrade=options.upgrade)
    changes = {
        file.path: requirements.difference(requirements.read(file.path), text)
        for file, text in texts.items()
    }
    for path, lines in changes.items():
        if lines:
            console.step(path)
        for line in lines:
            console.say(f"  {line}", "red" if line.startswith("-") else "green")
    if options.check:
        if stale := [path for path, lines in changes.items() if lines]:
            raise Stale(f"not up to date: {', '.join(stale)}", fix="nox -s deps")
        console.good("the requirement files are up to date")
        return
    for file, text in texts.items():
        if requirements.read(file.path) != text:
            requirements.write(ROOT / file.path, text)
    console.good("changed" if any(changes.values()) else "every pin is as it was")
