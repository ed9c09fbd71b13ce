"""Publish a git ref as a snapshot at Daytona: built once, verified, then its stage uses it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from tasks.base import console, markdown, stages
from tasks.base.errors import BadInput
from tasks.base.options import Parser, add_json
from tasks.base.project import ROOT, state_dir
from tasks.daytona import api as daytona_api
from tasks.daytona import developer, remote_road
from tasks.daytona import request as requests
from tasks.daytona.credentials import read_credentials
from tasks.daytona.ledger import open_ledger
from tasks.daytona.release import ReleaseChecks, release
from tasks.github import job
from tasks.sandbox import release_checks

if TYPE_CHECKING:
    import argparse

    from tasks.build.image import Image
    from tasks.daytona.api import Daytona
    from tasks.daytona.request import PublishRequest, ResolvedRequest


def make_parser() -> Parser:
    parser = Parser(prog="nox -s snapshot_daytona --", description=__doc__, allow_abbrev=False)
    requests.add_source_options(parser)
    requests.add_publishing_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be published; send nothing"
    )
    add_json(parser)
    return parser


def main(arguments: list[str]) -> None:
    parser = make_parser()
    options = parser.parse_args(arguments)
    watch = console.Stopwatch()
    # Whatever can be found wrong here is found before anything is read, built or sent.
    request = read_request(parser, options)
    if not options.dry_run:
        read_credentials()
    resolved_request = requests.resolve(request, os.environ)
    console.step(f"snapshot: {resolved_request.snapshot_name}")
    result: dict[str, Any] = {
        "snapshot_name": resolved_request.snapshot_name,
        "stage": request.stage,
        "via": request.via,
        **resolved_request.source.record(),
    }
    if options.dry_run:
        result |= _dry_run(resolved_request)
    else:
        with contextlib.closing(daytona_api.connect()) as api:
            result |= release_to_stage(api, resolved_request)
    result["seconds"] = round(watch.elapsed, 1)
    _tell_github(result)
    if options.json:
        console.emit_json(result)


def read_request(parser: Parser, options: argparse.Namespace) -> PublishRequest:
    """What the options ask for. Raises `BadInput` for what cannot be meant."""
    if options.untested and options.via != "push":
        raise BadInput(
            "--untested is about an image that is pushed",
            fix="leave it out, or add --via push",
        )
    branch = options.for_branch or None  # a workflow has an empty variable for none
    if branch is None or options.stage is not None:
        stage = developer.choose_stage(options.stage)
    else:
        stage = stages.stage_for_branch(branch)
    return requests.read_request(parser, options, stage=stage, branch=branch)


def release_to_stage(api: Daytona, request: ResolvedRequest) -> dict[str, Any]:
    ledger = open_ledger(ROOT, state_dir(), local=api.credentials.is_local)

    def check_image(image: Image) -> None:
        release_checks.check_image(request, image)
        if not request.request.untested:
            release_checks.require_tests(image)

    def check_snapshot(name: str) -> list[str]:
        return release_checks.check_snapshot(api, request, name)

    checks = ReleaseChecks(image=check_image, snapshot=check_snapshot)
    return release(api, request, ledger, checks=checks, section=job.log_group).record()


def _dry_run(request: ResolvedRequest) -> dict[str, Any]:
    context = remote_road.pack(request)
    largest = ", ".join(
        f"{console.printable(name)} ({console.size(size)})" for name, size in context.report.largest
    )
    console.say(f"largest: {largest}")
    console.good("dry run: nothing was sent")
    return {
        "dry_run": True,
        "context": {
            "files": context.report.files,
            "file_bytes": context.report.file_bytes,
            "bytes": context.bytes,
            "parts": [
                {"digest": part.digest, "bytes": part.bytes, "what": part.title}
                for part in context.parts
            ],
        },
    }


def _tell_github(result: dict[str, Any]) -> None:
    upload = result.get("upload") or {}
    bytes_sent = upload.get("bytes_sent", 0)
    names = ("snapshot_name", "stage", "sha", "identity", "reused", "how")
    job.write_outputs(**{name: result.get(name) for name in names}, upload_bytes=bytes_sent)
    if result.get("dry_run"):
        return
    facts = {
        "commit": result["sha"],
        "identity": result["identity"],
        "how": result["how"],
        "sent": console.size(bytes_sent),
        "verified": ", ".join(result["verified"]),
        "seconds": result["seconds"],
        "ledger": result["ledger"],
    }
    job.write_summary(
        f"### {markdown.code(result['stage'])} is {markdown.code(result['snapshot_name'])}\n\n"
        + markdown.facts(facts.items())
    )
