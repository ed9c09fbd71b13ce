"""Test a sandbox at Daytona with the very tests of local_test. --stand-in needs no account."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from tasks.base import console, project
from tasks.base.errors import BadInput, TaskError
from tasks.base.options import Once, Parser, add_selection
from tasks.commands import local_test
from tasks.daytona import adapter, ship, snapshot
from tasks.daytona.publish import Publisher, Wanted
from tasks.sandbox import stand_in

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from tasks.daytona.adapter import Daytona

#: Names a snapshot to test: nothing is built then.
VARIABLE = "DAYTONA_SNAPSHOT_NAME"
#: Seconds to activate a snapshot that Daytona had put aside.
_ACTIVATION = 900.0
#: Where neither a stage nor a user is named, on the stand-in that nobody else sees.
_STAND_IN_STAGE = "dev-stand-in"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="nox -s daytona_test --", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--ref",
        action=Once,
        help="publish this first, if it is not there; else SANDBOX_ITERATE_REPO_REF, else the"
        " current branch",
    )
    parser.add_argument(
        "--snapshot", action=Once, metavar="NAME", help=f"test this one; else ${VARIABLE}"
    )
    parser.add_argument("--stage", action=Once, help="as in snapshot_daytona")
    parser.add_argument("--via", action=Once, choices=("remote", "push"), default="remote")
    parser.add_argument(
        "--stand-in", action="store_true", help="on a Daytona of this machine's own engine"
    )
    parser.add_argument("--keep", action="store_true", help="leave the sandboxes")
    parser.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    add_selection(parser)
    local_test.add_workers(parser)
    parser.add_argument("--soak", action="store_true", help="fault tests at full count: hours")
    parser.add_argument("--seed", type=int, metavar="N", help="replay the faults of an earlier run")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    named = named_snapshot(options, os.environ)
    with contextlib.ExitStack() as stack:
        if options.stand_in:
            if named:
                raise BadInput(
                    "a stand-in has no snapshots yet", fix=f"leave out --snapshot and {VARIABLE}"
                )
            if options.keep:
                raise BadInput(
                    "a stand-in ends with this command, and its sandboxes with it",
                    fix="leave out --keep",
                )
            local_daytona = stack.enter_context(stand_in.running())
            stack.enter_context(environment(local_daytona.environment))
        # Before anything is built: missing or unusable credentials, a wrong name.
        adapter.credentials()
        api = adapter.connect()
        stack.callback(api.close)
        watch = console.Stopwatch()
        result = use(api, named) if named else publish(api, options)
        seconds = round(watch.elapsed, 1)
        options.image = str(result["snapshot_name"])
        began = time.monotonic()
        status = local_test.run_pytest(
            local_test.pytest_arguments(options, root=project.ROOT, provider="daytona"),
            subject=options.image,
            quiet=options.json,
        )
        if options.json:
            tested = {"tests_passed": status == 0, "tests_seconds": round(time.monotonic() - began)}
            console.emit_json({**result, "seconds": seconds, **tested})
        local_test.judge(status)


def named_snapshot(options: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    """The snapshot that was named, checked offline; the flag counts before the variable."""
    name = options.snapshot
    if name is None:
        # An empty variable counts as unset; a flag that says what to build counts before it.
        name = (environ.get(VARIABLE) or "").strip() or None if options.ref is None else None
    elif options.ref is not None:
        raise BadInput("--ref and --snapshot name two things", fix="give one of them")
    return snapshot.check_name(name) if name is not None else None


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables, for us and the children (the reaper is one), until the end."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def publish(api: Daytona, options: argparse.Namespace) -> dict[str, object]:
    """The snapshot of the ref, made if it is not there. The ledger stays: nothing is tested yet."""
    try:
        stage = snapshot.stage_from(options.stage)
    except BadInput:
        if options.stage is not None or not options.stand_in:
            raise
        stage = _STAND_IN_STAGE
    order = ship.order(ref=options.ref, environment=os.environ, stage=stage, via=options.via)
    shipped = ship.ship(api, order)
    return {"stage": stage, **order.source.record(), **shipped.record()}


def use(api: Daytona, name: str) -> dict[str, object]:
    """A snapshot that is there, active. Raises with what is the matter with it."""
    found = api.snapshot(name)
    if found is None:
        close = [s.name for s in api.snapshots() if snapshot.is_ours(s) and s.state == "active"]
        some = f"; there are {', '.join(sorted(close)[-3:])}" if close else ""
        raise TaskError(
            f"there is no snapshot {console.printable(name)}{some}",
            fix="nox -s snapshots -- list shows all of them",
        )
    if found.state in snapshot.FAILED or found.state == "removing":
        why = console.printable(found.reason) or "no reason given"
        raise TaskError(
            f"snapshot {found.name} is {found.state}: {why}",
            fix="nox -s snapshot_daytona makes it anew",
        )
    identity = snapshot.identity_of(found)
    if found.state != "active":
        if identity is None:
            raise TaskError(
                f"snapshot {found.name} is {found.state}, and is not of this project's making",
                fix="activate it in Daytona's dashboard",
            )

        def vanished() -> snapshot.Snapshot:
            raise TaskError(f"snapshot {name} was deleted meanwhile", fix="choose another")

        log = project.new_log("daytona-test")
        again = f"nox -s daytona_test -- --snapshot {name}"
        found = (
            Publisher(api, log=log, timeout=_ACTIVATION)
            .ensure(Wanted(name=name, identity=identity, create=vanished, again=again))
            .snapshot
        )
    return {
        "snapshot_name": found.name,
        "snapshot_id": found.id,
        "state": found.state,
        "identity": identity,
        "reused": True,
        "how": "named",
    }
