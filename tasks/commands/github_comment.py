"""Keep one comment of ours on a pull request up to date: which sandbox its branch has."""

from __future__ import annotations

import argparse
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.base.options import Once, Parser, add_json
from tasks.base.parsing import parse_json
from tasks.daytona import naming
from tasks.github import comment, job, rest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.github.comment import Action

_RESULTS: Final[dict[Action, str]] = {
    "created": "written",
    "updated": "updated",
    "none": "not needed",
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s ci -- github-comment",
        description=__doc__,
        allow_abbrev=False,
        epilog="Needs GITHUB_TOKEN (issues or pull-requests: write) and GITHUB_REPOSITORY.",
    )
    parser.add_argument("--pull-request", action=Once, type=_number, required=True, metavar="N")
    parser.add_argument(
        "--kind", action=Once, default="sandbox", help="which comment it is (%(default)s)"
    )
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--snapshot-json",
        action=Once,
        metavar="FILE",
        help="what `nox -s snapshot_daytona -- --json` printed",
    )
    group.add_argument(
        "--gone",
        action="store_true",
        help="the sandbox was deleted: change the comment, if there is one",
    )
    add_json(parser)
    return parser.parse_args(arguments)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("not the number of a pull request")
    return int(text)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", options.kind, re.ASCII):
        raise BadInput("--kind is not a name", fix="use letters, digits and -")
    access = rest.access()
    mark, run = comment.marker(options.kind), comment.run_link(access)
    if options.gone:
        body = comment.retirement(mark, run=run)
    else:
        body = comment.announcement(mark, read(Path(options.snapshot_json)), run=run)
    with closing(rest.GitHubApi(access)) as api:
        action, url = comment.keep(api, options.pull_request, mark, body, create=not options.gone)
    result = f"the comment on pull request {options.pull_request} is {_RESULTS[action]}"
    console.good(f"{result} {url}".rstrip())
    job.write_outputs(action=action, url=url)
    if options.json:
        console.emit_json({"action": action, "url": url, "pull_request": options.pull_request})


def read(path: Path) -> Mapping[str, Any]:
    """The record of a snapshot; raises `BadInput` for a file that is none."""
    problem = ""
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = f"cannot be read as JSON: {type(error).__name__}"
    else:
        if not isinstance(record, dict) or not isinstance(record.get("snapshot_name"), str):
            problem = "names no snapshot"
    if problem:
        raise BadInput(
            f"{console.printable(str(path))} {problem}",
            fix="give it what `nox -s snapshot_daytona -- --json` prints",
        )
    naming.check_name(record["snapshot_name"])
    return dict(record)
