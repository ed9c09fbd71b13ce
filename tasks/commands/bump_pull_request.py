"""Put what bump_versions changed into one pull request, kept up to date; close it when nothing is.

It is committed on top of the checked-out commit, on a branch of its own that nobody else may have
worked on. A push with a workflow's token starts no workflow, so the checks are dispatched.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import console, project
from tasks.base.errors import BadInput
from tasks.base.options import Once, Parser, add_json
from tasks.github import job, pull_request, rest
from tasks.github.pull_request import Change, ProposalBranch

if TYPE_CHECKING:
    import argparse

    from tasks.github.pull_request import PullRequestResult

BRANCH: Final = "bump-versions"
WORKFLOW: Final = "ci.yml"


def parse(arguments: list[str]) -> argparse.Namespace:
    purpose, _, details = (__doc__ or "").partition("\n\n")
    parser = Parser(
        prog="nox -s ci -- bump-pull-request",
        description=purpose,
        allow_abbrev=False,
        epilog=f"{details} Needs GITHUB_TOKEN (contents, pull-requests, actions: write) and"
        " GITHUB_REPOSITORY.",
    )
    parser.add_argument(
        "--markdown",
        action=Once,
        metavar="FILE",
        help="the pull request's text, as `bump_versions -- --markdown FILE` wrote it; default:"
        " what bump_versions left in this job, else the pins that moved",
    )
    parser.add_argument(
        "--base", action=Once, metavar="BRANCH", help="default: the repository's default branch"
    )
    parser.add_argument(
        "--dispatch", action=Once, default=WORKFLOW, metavar="FILE", help="(%(default)s)"
    )
    add_json(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    from tasks.bump import proposal  # noqa: PLC0415 - brings urllib3, which --help does without

    access = rest.access()
    text = proposal.read_text(options.markdown)
    repo = git.open_repo(project.ROOT)
    bump = proposal.prepare(repo)
    branch = ProposalBranch(repo, BRANCH)
    with closing(rest.GitHubApi(access)) as api:
        base = options.base or str(api.get("looking at the repository", "{repo}")["default_branch"])
        if base == BRANCH:
            raise BadInput(f"{BRANCH} cannot be its own base", fix="name another --base")
        if bump is None:
            result = pull_request.withdraw(api, branch)
        else:
            body = text or bump.text
            change = Change(parent=bump.parent, tree=bump.tree, title=bump.title, body=body)
            result = pull_request.propose(api, branch, change, base=base, workflow=options.dispatch)
    show(result)
    if options.json:
        console.emit_json(result.record())


def show(result: PullRequestResult) -> None:
    """For the terminal, the outputs and the summary of a step."""
    job.write_outputs(**result.record())
    sentence = {
        "opened": f"pull request {result.number} is open: {result.url}",
        "updated": f"pull request {result.number} is up to date: {result.url}",
        "closed": f"there is nothing to bump: pull request {result.number} is closed",
        "none": "there is nothing to bump",
    }[result.action]
    console.good(sentence)
    link = f"[pull request {result.number}]({result.url})" if result.number else ""
    job.write_summary(f"### Bump of the pins: {result.action} {link}")
