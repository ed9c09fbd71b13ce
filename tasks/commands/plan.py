"""Say whether the image of a ref is another one than its base's, the commits aside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks import git
from tasks.base import console, markdown
from tasks.base.options import Once, Parser, add_json, add_ref
from tasks.base.project import ROOT
from tasks.git import refs
from tasks.github import image_change, job

if TYPE_CHECKING:
    import argparse


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s ci -- plan",
        description=__doc__,
        allow_abbrev=False,
        epilog="Where the base cannot be looked at (none is given, the clone is shallow, a push was"
        " forced), the answer is `changed`, with that reason. The exit status is 0 either way.",
    )
    parser.add_argument(
        "--base", action=Once, metavar="REF", help="what it is compared with; empty: nothing"
    )
    add_ref(parser, meaning="what is looked at", default="the checked-out commit")
    add_json(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    repo = git.open_repo(ROOT)
    head = image_change.source_of(repo, refs.choose(options.ref, os.environ, None).ref)
    content = image_change.content_of(head)
    change = image_change.compare(repo, content, options.base or "")
    verdict = "changed" if change.is_changed else "unchanged"
    console.good(f"{head.describe()}: {verdict}, {change.reason}")
    result = {
        "changed": change.is_changed,
        "reason": change.reason,
        "content": content,
        "identity": head.identity,
        "sha": head.sha,
    }
    job.write_outputs(**result)
    title = "The image changes" if change.is_changed else "The image does not change"
    job.write_summary(
        f"### {title}\n\n{markdown.plain(change.reason)}\n\n"
        + markdown.facts({"commit": head.sha, "content": content}.items())
    )
    if options.json:
        console.emit_json(result)
