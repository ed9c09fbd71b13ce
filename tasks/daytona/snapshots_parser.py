"""The subcommands and options of `snapshots`."""

from __future__ import annotations

import argparse

from tasks.base.options import Once, Parser, add_json
from tasks.daytona import gc


def make_parser(description: str | None) -> Parser:
    parser = Parser(prog="nox -s snapshots --", description=description, allow_abbrev=False)
    shared = Parser(add_help=False)
    add_json(shared)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> Parser:
        return commands.add_parser(
            name, help=text, description=text, parents=[shared], allow_abbrev=False
        )

    list_parser = add("list", "show what there is, and which stage uses what")
    list_parser.add_argument("--all", action="store_true", help="show those that are not ours, too")
    add("show", "show all about one snapshot, and its history").add_argument("name", metavar="NAME")
    promote = add("promote", "let a stage use a snapshot; it is verified first")
    promote.add_argument("name", metavar="NAME")
    promote.add_argument("--stage", action=Once, required=True)
    rollback = add("rollback", "let a stage use the snapshot that it used before")
    rollback.add_argument("--stage", action=Once, required=True)
    current = add("current", "show which snapshot a stage uses; only the ledger is asked")
    current.add_argument("--stage", action=Once, required=True)
    wake = add(
        "wake", "activate what the stages use and Daytona has put aside, and use what is idle"
    )
    wake.add_argument("--stage", action=Once, help="only this stage")
    _add_gc_options(add("gc", "show which old and failed snapshots can go, or delete them"))
    _add_retire_options(
        add("retire", "show what goes with a branch (its snapshots and its stage), or delete it")
    )
    return parser


def _add_gc_options(parser: Parser) -> None:
    parser.add_argument("--yes", action="store_true", help="delete them")
    parser.add_argument("--stage", action=Once, help="only of this stage")
    parser.add_argument(
        "--keep",
        type=_count,
        default=gc.NEWEST,
        metavar="N",
        action=Once,
        help="keep the newest N of each stage (%(default)s)",
    )


def _add_retire_options(parser: Parser) -> None:
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--stage", action=Once, help="dev-NAME, as a whole")
    subject.add_argument(
        "--branch",
        "--for-branch",
        dest="branch",
        action=Once,
        help="the branch's own stage, and any other that uses its snapshot now; never prd",
    )
    parser.add_argument("--yes", action="store_true", help="delete it")


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("not a count")
    return value
