"""Say what GitHub's event asks for: publish a sandbox at Daytona, retire one, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import console, markdown, stages
from tasks.base.options import Parser, add_json
from tasks.base.project import ROOT
from tasks.git import refs
from tasks.github import events, job

if TYPE_CHECKING:
    from tasks.github.events import Action

_TITLES: Final[dict[Action, str]] = {
    "publish": "A sandbox is published",
    "retire": "The sandbox is retired",
    "nothing": "Nothing is published to Daytona",
}


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s ci -- sandbox-plan", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--stage", choices=(stages.PRODUCTION,), help="for production, not for a branch"
    )
    add_json(parser, subject="the plan")
    options = parser.parse_args(arguments)
    plan = events.plan(events.of_job(resolve), production=bool(options.stage))
    show = console.warn if plan.action == "nothing" else console.step
    show(f"{plan.action}: {console.printable(plan.reason)}")
    # Whatever is foreign in these is read, never run: a line break in a name forges no output.
    job.write_outputs(**plan.record())
    facts = [("branch", plan.branch), ("commit", plan.sha), ("stage", plan.stage)]
    table = markdown.facts(facts) if any(value for _, value in facts) else ""
    title = f"### {_TITLES[plan.action]}"
    job.write_summary(f"{title}\n\n{markdown.plain(plan.reason)}\n\n{table}")
    if options.json:
        console.emit_json(plan.record())


def resolve(ref: str) -> tuple[str, str]:
    """The commit of a ref in this clone, and its branch or ""."""
    commit = refs.resolve(git.open_repo(ROOT), ref)
    return commit.sha, commit.branch or ""
