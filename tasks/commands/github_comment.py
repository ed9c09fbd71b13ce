"""Keep one comment of ours on a pull request up to date: which sandbox its branch has."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base import console, markdown
from tasks.base.errors import BadInput
from tasks.base.options import Once, Parser
from tasks.base.retry import RemoteFailed
from tasks.daytona import snapshot
from tasks.github import job, rest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.github.rest import Access, Api

Action = Literal["created", "updated", "none"]

#: Whom a workflow's own token comments as: such a token may not ask who it is.
_WORKFLOW: Final = "github-actions[bot]"
_SHOWN: Final = (
    ("commit", "sha"),
    ("identity", "identity"),
    ("stage", "stage"),
    ("made", "how"),
)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s github_comment --",
        description=__doc__,
        allow_abbrev=False,
        epilog="Needs GITHUB_TOKEN (issues or pull-requests: write) and GITHUB_REPOSITORY.",
    )
    parser.add_argument("--pull-request", action=Once, type=_number, required=True, metavar="N")
    parser.add_argument(
        "--kind", action=Once, default="sandbox", help="which comment it is (%(default)s)"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--snapshot-json",
        action=Once,
        metavar="FILE",
        help="what `snapshot_daytona -- --json` printed",
    )
    what.add_argument(
        "--gone", action="store_true", help="the sandbox was deleted: say so, if anything was said"
    )
    parser.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    return parser.parse_args(arguments)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("not a pull request's number")
    return int(text)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", options.kind, re.ASCII):
        raise BadInput("--kind is no name", fix="letters, digits and -")
    given = rest.access()
    mark = marker(options.kind)
    if options.gone:
        body = gone(mark, run=_run(given))
    else:
        body = text(mark, read(Path(options.snapshot_json)), run=_run(given))
    with closing(rest.Api(given)) as api:
        action, url = keep(api, options.pull_request, mark, body, create=not options.gone)
    done = {"created": "written", "updated": "updated", "none": "not needed"}[action]
    console.good(f"the comment on pull request {options.pull_request} is {done} {url}".rstrip())
    job.write_outputs(action=action, url=url)
    if options.json:
        console.emit_json({"action": action, "url": url, "pull_request": options.pull_request})


# ── what it says ────────────────────────────────────────────────────────────────────────────


def marker(kind: str) -> str:
    """By which we find it again; nobody sees it."""
    return f"<!-- iterate-sandbox: {kind} -->"


def read(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{console.printable(str(path))} cannot be read as JSON: {type(error).__name__}",
            fix="give it what `nox -s snapshot_daytona -- --json` prints",
        ) from None
    if not isinstance(said, dict) or not isinstance(said.get("snapshot_name"), str):
        raise BadInput(
            f"{console.printable(str(path))} names no snapshot",
            fix="give it what `nox -s snapshot_daytona -- --json` prints",
        )
    snapshot.check_name(said["snapshot_name"])
    return said


def text(mark: str, made: Mapping[str, Any], *, run: str) -> str:
    name = str(made["snapshot_name"])
    facts = [("snapshot", name), *((title, made.get(key)) for title, key in _SHOWN)]
    return "\n".join(
        (
            mark,
            "### Sandbox of this branch",
            "",
            markdown.facts(facts),
            f"Test it: {markdown.code(f'nox -s daytona_test -- --snapshot {name}')}",
            "",
            f"It goes when the branch or the label goes. {_stamp(run)}",
        )
    )


def gone(mark: str, *, run: str) -> str:
    return f"{mark}\n### Sandbox of this branch\n\nIt has been deleted. {_stamp(run)}"


def _stamp(run: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"{when}{f', [the run]({run})' if run else ''}"


def _run(given: Access, environment: Mapping[str, str] = os.environ) -> str:
    number = environment.get("GITHUB_RUN_ID", "")
    return f"{given.page}/actions/runs/{number}" if number.isdecimal() else ""


# ── keeping it ──────────────────────────────────────────────────────────────────────────────


def keep(api: Api, number: int, mark: str, body: str, *, create: bool) -> tuple[Action, str]:
    """Write `body` into our one comment; the oldest, where two runs at once made two."""
    there = api.find(f"looking for pull request {number}", f"{{repo}}/pulls/{number}")
    if there is None:
        raise BadInput(
            f"{api.access.repository} has no pull request {number}, or the token may not see it",
            fix="check --pull-request and the token's permission pull-requests",
        )
    if there.get("state") == "closed" and create:
        console.warn(f"pull request {number} is closed: no new comment is written")
        create = False
    path = f"{{repo}}/issues/{number}/comments"
    me = author(api)

    def ours() -> list[Any]:
        found = api.pages(f"reading the comments of pull request {number}", path)
        return [c for c in found if is_ours(c, mark, me)]

    oldest, *others = ours() or [None]
    for more in others:
        api.ask("deleting a comment", "DELETE", f"{{repo}}/issues/comments/{more['id']}")
    if oldest is not None:
        try:
            there = f"{{repo}}/issues/comments/{oldest['id']}"
            said = api.ask("updating the comment", "PATCH", there, body={"body": body})
        except RemoteFailed as error:
            if error.kind != "not-found":
                raise
            console.warn("the comment has been deleted meanwhile")
        else:
            return "updated", str(said.get("html_url") or "")
    if not create:
        return "none", ""
    made = api.create(
        f"commenting on pull request {number}", path, {"body": body},
        there=lambda: next(iter(ours()), None),
    )  # fmt: skip
    return "created", str(made.get("html_url") or "")


def is_ours(comment: Mapping[str, Any], mark: str, me: str) -> bool:
    """By mark and author: anybody can write the mark."""
    user = comment.get("user") or {}  # none: of an account that was deleted
    first = str(comment.get("body") or "").replace("\r\n", "\n").partition("\n")[0]
    return first == mark and user.get("login") == me


def author(api: Api) -> str:
    """The login that our comments bear."""
    try:
        return str(api.get("asking who we are", "/user")["login"])
    except RemoteFailed as error:
        if error.kind != "scope":
            raise
        return _WORKFLOW
