"""Argument parsing that several commands share."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from tasks.base import console, project
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Parser(argparse.ArgumentParser):
    """A wrong argument is an error of one line, as every error is. The word after an option that
    takes a value is that value, whatever it looks like: a branch may be called `-x`.
    """

    # What `parse_args` calls, and what subcommands are parsed with.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        words = list(sys.argv[1:] if args is None else args)
        value_options = {
            name
            for action in self._actions
            for name in action.option_strings
            if action.nargs is None and name.startswith("--")
        }
        joined_words: list[str] = []
        while words:
            word = words.pop(0)
            if word in value_options and words and words[0].startswith("-"):
                word += "=" + words.pop(0)
            joined_words.append(word)
        return super().parse_known_args(joined_words, namespace)

    def error(self, message: str) -> NoReturn:
        raise BadInput(console.printable(message), fix=f"{self.prog} --help")


class Once(argparse.Action):
    """An option that can be given once: of two values, nobody knows which one is meant."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        names: set[str] = namespace.__dict__.setdefault("_seen", set())
        if self.dest in names:
            parser.error(f"{option_string} is given twice")
        names.add(self.dest)
        setattr(namespace, self.dest, values)


@dataclass(frozen=True)
class CommandLine:
    """A command as `parser` understands it. `values` are the options' by their `dest`; those that
    are the parser's defaults are not written.
    """

    parser: argparse.ArgumentParser
    values: Mapping[str, Any]

    def replace(self, **values: Any) -> CommandLine:
        return CommandLine(self.parser, {**self.values, **values})

    def __str__(self) -> str:
        return f"{self.parser.prog} {shlex.join(self.words())}".rstrip()

    def words(self) -> list[str]:
        """The options, for this parser's `parse_args`."""
        return [word for action in self.parser._actions for word in self._written(action)]  # noqa: SLF001

    def _written(self, action: argparse.Action) -> Iterator[str]:
        value = self.values.get(action.dest)
        if not action.option_strings or value is None or value == action.default:
            return
        name = max(action.option_strings, key=len)
        if action.nargs == 0:
            yield name
        elif not str(value).startswith("-"):
            yield from (name, str(value))
        else:  # the next word would be taken for an option
            yield f"{name}={value}" if name.startswith("--") else f"{name}{value}"


# ── options of several commands ─────────────────────────────────────────────────────────────


def add_json(parser: argparse.ArgumentParser, *, subject: str = "the result") -> None:
    parser.add_argument("--json", action="store_true", help=f"print {subject} on stdout as JSON")


def add_ref(
    parser: argparse.ArgumentParser,
    *,
    meaning: str = "branch, tag or commit",
    default: str = "the current branch",
) -> None:
    """The git ref that is meant; `default` where neither the option nor the variable is given, ""
    where the variable is not read.
    """
    fallback = f"; else {project.REF_VARIABLE}, else {default}" if default else ""
    parser.add_argument("--ref", action=Once, metavar="REF", help=meaning + fallback)


def add_stage(
    parser: argparse.ArgumentParser, *, meaning: str = "", required: bool = False
) -> None:
    """`meaning` takes the place of where a stage comes from that is not given."""
    default = "prd, stg or dev-NAME; else APP_STAGE, else dev-$ITERATE_USER"
    parser.add_argument(
        "--stage", action=Once, metavar="STAGE", required=required, help=meaning or default
    )


def add_via(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--via",
        action=Once,
        choices=("remote", "push"),
        default="remote",
        help="let Daytona build it, or push the image that was built and tested here (%(default)s)",
    )


def add_keep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the sandboxes; says how to reach and delete them",
    )


def add_faults(parser: argparse.ArgumentParser) -> None:
    """How many faults tests cause, and which."""
    parser.add_argument("--soak", action="store_true", help="fault tests at full count: hours")
    add_seed(parser)


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, metavar="N", help="replay the faults of an earlier run")


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
        raise argparse.ArgumentTypeError("it must be between 0 and 86400 seconds")
    return value
