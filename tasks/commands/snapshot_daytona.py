"""Publish a git ref as a snapshot at Daytona: built once, verified, then its stage's current."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from tasks import git
from tasks.base import console, markdown, process
from tasks.base.errors import BadInput, Interrupted, TaskError
from tasks.base.options import Once, Parser, seconds
from tasks.base.project import ROOT, state_dir
from tasks.daytona import adapter, ledger, ship, snapshot
from tasks.daytona.publish import DEADLINE
from tasks.git import refs
from tasks.github import job
from tasks.sandbox import tested, verify

if TYPE_CHECKING:
    import argparse

    from tasks.build.image import Image
    from tasks.daytona.adapter import Daytona
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.ship import Order, Shipped


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="nox -s snapshot_daytona --", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--ref",
        action=Once,
        help="branch, tag or commit; else SANDBOX_ITERATE_REPO_REF, else the current branch",
    )
    parser.add_argument(
        "--stage", action=Once, help="prd, stg or dev-NAME; else APP_STAGE, else dev-$ITERATE_USER"
    )
    parser.add_argument(
        "--for-branch",
        action=Once,
        metavar="BRANCH",
        help="publish this branch at the stage of its own (dev-BRANCH), for which `snapshots --"
        " retire --branch` knows it; --ref and --stage count before it",
    )
    parser.add_argument(
        "--via",
        action=Once,
        choices=("remote", "push"),
        default="remote",
        help="Daytona builds, or the image built and tested here is pushed (%(default)s)",
    )
    parser.add_argument(
        "--untested",
        action="store_true",
        help="with --via push: an image that has not passed local_test may go, too",
    )
    parser.add_argument(
        "--name", action=Once, help="instead of the name made from stage and commit"
    )
    parser.add_argument("--force", action="store_true", help="build even if it is there already")
    parser.add_argument("--dry-run", action="store_true", help="say what would go in; send nothing")
    parser.add_argument(
        "--timeout",
        action=Once,
        type=seconds,
        default=DEADLINE,
        metavar="SECONDS",
        help="for Daytona's part of it (%(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    options.for_branch = options.for_branch or None  # a workflow has an empty variable for none
    if options.untested and options.via != "push":
        raise BadInput(
            "--untested is about an image that is pushed",
            fix="leave it out, or say --via push",
        )
    watch = console.Stopwatch()
    # All that can be found wrong here is, before anything is read, built or sent.
    stage = stage_of(options)
    given = None if options.dry_run else adapter.credentials()
    order = ship.order(
        ref=options.ref if options.for_branch is None else _ref_of(options),
        environment=os.environ,
        stage=stage,
        via=options.via,
        name=options.name,
        force=options.force,
        timeout=options.timeout,
    )
    console.step(f"snapshot: {order.wanted_name}")
    result: dict[str, Any] = {
        "snapshot_name": order.wanted_name,
        "stage": stage,
        "via": order.via,
        **order.source.record(),
    }
    if given is None:
        result |= _dry_run(order)
    else:
        with_api = adapter.connect()
        try:
            result |= publish(with_api, order, branch=options.for_branch, untested=options.untested)
        finally:
            with_api.close()
    result["seconds"] = round(watch.elapsed, 1)
    _tell_github(result)
    if options.json:
        console.emit_json(result)


def stage_of(options: argparse.Namespace) -> str:
    if options.for_branch is None or options.stage is not None:
        return snapshot.stage_from(options.stage)
    return snapshot.stage_for_branch(options.for_branch)


def _ref_of(options: argparse.Namespace) -> str:
    """The branch, here or as the remote `origin` had it; a tag of that name is not meant."""
    if options.ref is not None:
        return str(options.ref)
    repo = git.open_repo(ROOT)
    full = [f"refs/heads/{options.for_branch}", f"refs/remotes/origin/{options.for_branch}"]
    for ref in full:
        try:
            refs.resolve(repo, ref)
        except BadInput:
            continue
        return ref
    return full[-1]


def _tell_github(result: dict[str, Any]) -> None:
    upload = result.get("upload") or {}
    sent = upload.get("bytes_sent", 0)
    names = ("snapshot_name", "stage", "sha", "identity", "reused", "how")
    job.write_outputs(**{name: result.get(name) for name in names}, upload_bytes=sent)
    if result.get("dry_run"):
        return
    facts = {
        "commit": result["sha"],
        "identity": result["identity"],
        "how": result["how"],
        "sent": console.size(sent),
        "verified": ", ".join(result["verified"]),
        "seconds": result["seconds"],
        "ledger": result["ledger"],
    }
    job.write_summary(
        f"### {markdown.code(result['stage'])} is {markdown.code(result['snapshot_name'])}\n\n"
        + markdown.facts(facts.items())
    )


def _dry_run(order: Order) -> dict[str, Any]:
    packed = ship.pack(order)
    largest = ", ".join(
        f"{console.printable(name)} ({console.size(size)})" for name, size in packed.report.largest
    )
    console.say(f"largest: {largest}")
    console.good("dry run: nothing was sent")
    return {
        "dry_run": True,
        "context": {
            "files": packed.report.files,
            "file_bytes": packed.report.file_bytes,
            "bytes": packed.bytes,
            "parts": [{"digest": p.digest, "bytes": p.bytes, "what": p.what} for p in packed.parts],
        },
    }


def publish(
    api: Daytona, order: Order, *, branch: str | None = None, untested: bool = False
) -> dict[str, Any]:
    """Ship, verify, move the stage's ledger, and only then say the name."""
    book = ledger.open_ledger(ROOT, state_dir(), local=api.credentials.is_local)
    book.refresh()  # what cannot be recorded is better known before the build than after it
    try:
        return _publish(api, order, book, branch=branch, untested=untested)
    except (TaskError, KeyboardInterrupt, Interrupted) as error:
        now = book.current(order.stage)
        error.add_note(f"{order.stage} is still {now.snapshot if now else 'without a snapshot'}")
        raise


def _publish(
    api: Daytona, order: Order, book: Ledger, *, branch: str | None, untested: bool
) -> dict[str, Any]:
    with job.log_group(f"Snapshot {order.wanted_name}"):
        shipped = ship.ship(api, order, test=None if untested else passes)
    name = shipped.published.snapshot.name
    if book.knows(name) is None or shipped.published.how in {"built", "attached"}:
        with job.log_group(f"Verify {name}"):
            verified = check(api, order, shipped)
    else:
        verified = ["before, as the ledger says"]
    resolved = order.source.ref
    moved = book.move(
        order.stage,
        ledger.entry(
            snapshot=name,
            sha=order.source.sha,
            identity=order.source.identity,
            why="publish",
            branch=branch or (resolved.branch if resolved else None) or "",
        ),
    )
    if moved:
        console.step(f"{order.stage} is {name} now; the ledger is at {book.place}")
    if book.remote is None and not api.credentials.is_local:
        console.warn("there is no remote `origin`: the ledger would not survive this machine")
    console.good(name)
    return {**shipped.record(), "verified": verified, "ledger": book.place}


def passes(built: Image) -> None:
    """The image has passed the whole suite, or does now."""
    if known := tested.find(built.id):
        console.step(f"the image passed the sandbox tests on {known.when}")
        return
    console.step("the image has not passed the sandbox tests yet")
    process.run([sys.executable, "-m", "tasks", "local-test", "--image", built.id])


def check(api: Daytona, order: Order, shipped: Shipped) -> list[str]:
    from tasks.sandbox.providers.daytona import DaytonaProvider  # noqa: PLC0415 - heavy

    return verify.verify(
        DaytonaProvider(api),
        shipped.published.snapshot.name,
        verify.Expected(sha=order.source.sha, identity=order.source.identity, pins=order.pins),
    ).checked
