"""Argument parsing that several commands share."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from tasks.base import console
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parser(argparse.ArgumentParser):
    """What is wrong with the arguments is one line, as everything else is. The word after an
    option that takes one is its value whatever it looks like: a branch may be called `-x`.
    """

    # What `parse_args` calls, and what subcommands are parsed with.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        given = list(sys.argv[1:] if args is None else args)
        takes_one = {
            name
            for action in self._actions
            for name in action.option_strings
            if action.nargs is None and name.startswith("--")
        }
        joined: list[str] = []
        while given:
            word = given.pop(0)
            if word in takes_one and given and given[0].startswith("-"):
                word += "=" + given.pop(0)
            joined.append(word)
        return super().parse_known_args(joined, namespace)

    def error(self, message: str) -> NoReturn:
        raise BadInput(console.printable(message), fix=f"{self.prog} --help")


class Once(argparse.Action):
    """An option that is given at most once: of two values nobody knows which one was meant."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        seen: set[str] = namespace.__dict__.setdefault("_seen", set())
        if self.dest in seen:
            parser.error(f"{option_string} is given twice")
        seen.add(self.dest)
        setattr(namespace, self.dest, values)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Which tests run, in the words of pytest."""
    parser.add_argument("-k", metavar="EXPR", help="only tests that match, as pytest's -k")
    parser.add_argument("-x", action="store_true", help="end at the first failure")


def selection(options: argparse.Namespace) -> list[str]:
    """`add_selection`'s options, for pytest."""
    return [*(["-k", options.k] if options.k is not None else []), *(["-x"] if options.x else [])]


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError("not between 0 and 86400")
    return value
