"""Is there anything new in the image? Compares what goes in at two refs, the commits aside."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks import git
from tasks.base import console, markdown
from tasks.base.errors import TaskError
from tasks.base.options import Once, Parser
from tasks.base.project import ROOT
from tasks.build import image, source
from tasks.git import refs
from tasks.github import job

if TYPE_CHECKING:
    import argparse

    from tasks.build.source import Source

_NOTHING = re.compile(r"0{40}|0{64}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Whether an image is to be built and tested, and why (not)."""

    changed: bool
    reason: str


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s plan --",
        description=__doc__,
        allow_abbrev=False,
        epilog="Where the base cannot be looked at (none given, a shallow clone, a force push) the "
        "answer is `changed`, with that reason. Exit status 0 either way.",
    )
    parser.add_argument(
        "--base", action=Once, metavar="REF", help="what it is compared with; empty: nothing"
    )
    parser.add_argument(
        "--ref",
        action=Once,
        metavar="REF",
        help="what is looked at; else SANDBOX_ITERATE_REPO_REF, else the checked-out commit",
    )
    parser.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    repo = git.open_repo(ROOT)
    choice = refs.choose(options.ref, os.environ, None)
    head = _source(repo, choice.ref)
    content = source.content(head.tree, image.BUILD_ARGS)
    found = compare(repo, content, options.base or "")
    console.good(
        f"{head.describe()}: {'changed' if found.changed else 'unchanged'}, {found.reason}"
    )
    result = {
        "changed": found.changed,
        "reason": found.reason,
        "content": content,
        "identity": head.identity,
        "sha": head.sha,
    }
    job.write_outputs(**result)
    verdict = "changes" if found.changed else "does not change"
    job.write_summary(
        f"### The image {verdict}\n\n{markdown.plain(found.reason)}\n\n"
        + markdown.facts({"commit": head.sha, "content": content}.items())
    )
    if options.json:
        console.emit_json(result)


def _source(repo: git.Repo, ref: str) -> Source:
    return source.from_ref(repo, refs.resolve(repo, ref), build_args=image.BUILD_ARGS)


def compare(repo: git.Repo, content: str, base: str) -> Plan:
    """Every doubt is a change: a build too many costs minutes, one too few hides a fault."""
    if not base.strip():
        return Plan(changed=True, reason="there is no base to compare with")
    if _NOTHING.fullmatch(base):
        return Plan(changed=True, reason="the branch is new: it has no base")
    try:
        there = _source(repo, base)
    except TaskError as error:
        return Plan(changed=True, reason=f"the base cannot be looked at: {error.what}")
    if source.content(there.tree, image.BUILD_ARGS) == content:
        return Plan(
            changed=False,
            reason=f"the same content as {there.sha[:12]} ({console.printable(base)})",
        )
    return Plan(
        changed=True, reason=f"other content than {there.sha[:12]} ({console.printable(base)})"
    )
