"""Publish a git ref as a snapshot at Daytona: built once, verified, then its stage's current."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from tasks import console, daytona, ledger, process, ship, snapshot
from tasks.commands.arguments import Once, Parser, seconds
from tasks.errors import BadInput
from tasks.publish import DEADLINE
from tasks.sandbox import tested, verify
from tasks.settings import ROOT, state_dir

if TYPE_CHECKING:
    import argparse

    from tasks.daytona import Daytona
    from tasks.image import Image
    from tasks.ship import Order, Shipped


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
    if options.untested and options.via != "push":
        raise BadInput(
            "--untested is about an image that is pushed",
            fix="leave it out, or say --via push",
        )
    watch = console.Stopwatch()
    # All that can be found wrong here is, before anything is read, built or sent.
    stage = snapshot.stage_from(options.stage)
    given = None if options.dry_run else daytona.credentials()
    order = ship.order(
        ref=options.ref,
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
        with_api = daytona.connect()
        try:
            result |= publish(with_api, order, untested=options.untested)
        finally:
            with_api.close()
    result["seconds"] = round(watch.elapsed, 1)
    if options.json:
        console.emit_json(result)


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


def publish(api: Daytona, order: Order, *, untested: bool = False) -> dict[str, Any]:
    """Ship, verify, move the stage's ledger, and only then say the name."""
    book = ledger.open_ledger(ROOT, state_dir(), local=api.credentials.is_local)
    book.refresh()  # what cannot be recorded is better known before the build than after it
    shipped = ship.ship(api, order, test=None if untested else passes)
    name = shipped.published.snapshot.name
    if book.knows(name) is None or shipped.published.how in {"built", "attached"}:
        verified = check(api, order, shipped)
    else:
        verified = ["before, as the ledger says"]
    moved = book.move(
        order.stage,
        ledger.entry(
            snapshot=name, sha=order.source.sha, identity=order.source.identity, why="publish"
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
    from tasks.sandbox.daytona import DaytonaProvider  # noqa: PLC0415 - heavy

    return verify.verify(
        DaytonaProvider(api),
        shipped.published.snapshot.name,
        verify.Expected(sha=order.source.sha, identity=order.source.identity, pins=order.pins),
    ).checked
