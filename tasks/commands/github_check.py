"""Check what a person sets up on GitHub once, as far as the token may look."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import console, markdown
from tasks.base.options import Parser, add_json
from tasks.base.project import ROOT
from tasks.github import job, rest, settings
from tasks.github.settings import NotSetUp, State

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tasks.github.settings import CheckedSetting

_SIGNS: Final[dict[State, str]] = {"ok": "✓", "missing": "✗", "unknown": "?"}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s ci -- github-check",
        description=__doc__,
        allow_abbrev=False,
        epilog="Run it with a token of somebody who may administer the repository:"
        " GITHUB_TOKEN=$(gh auth token). GITHUB_REPOSITORY is OWNER/NAME; else the remote `origin`."
        " The exit status is 1 when something is missing.",
    )
    add_json(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    access = rest.access(repository=settings.repository_of(git.origin_url(ROOT)))
    with closing(rest.GitHubApi(access)) as api:
        findings = list(settings.check(api))
    show(access.repository, findings)
    if options.json:
        console.emit_json([asdict(setting) for setting in findings])
    missing = [setting.name for setting in findings if setting.state == "missing"]
    unknown = [setting.name for setting in findings if setting.state == "unknown"]
    if missing:
        raise NotSetUp(f"not set up: {', '.join(missing)}", fix="the table above says how")
    if unknown:
        console.warn(f"{len(unknown)} could not be looked at with this token: see the table")
    else:
        console.good("all of it is set up")


def show(repository: str, findings: Sequence[CheckedSetting]) -> None:
    """The table, for the terminal and for the summary of a job."""
    rows = [[_SIGNS[row.state], row.name, row.detail, row.fix] for row in findings]
    printable = [list(map(console.printable, row)) for row in rows]
    console.say(console.table(printable, ["", repository, "", "what to do"]))
    cells = [list(map(markdown.plain, row)) for row in rows]
    table = markdown.table(["", "", "", "what to do"], cells)
    job.write_summary(f"### {markdown.code(repository)}\n\n{table}")
