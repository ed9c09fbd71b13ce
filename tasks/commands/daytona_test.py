"""Test a sandbox at Daytona with the very tests of local_test. --stand-in needs no account."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from tasks.base import console, project
from tasks.base.errors import BadInput
from tasks.base.options import (
    CommandLine,
    Once,
    Parser,
    add_faults,
    add_json,
    add_keep,
    add_selection,
)
from tasks.commands import local_test
from tasks.daytona import api as daytona_api
from tasks.daytona import content, developer, existing, naming
from tasks.daytona import request as requests
from tasks.daytona.credentials import read_credentials
from tasks.daytona.publication import publish
from tasks.sandbox import release_checks, stand_in

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from tasks.build.image import Image
    from tasks.daytona.api import Daytona

#: Names a snapshot to test: nothing is built then.
VARIABLE = "DAYTONA_SNAPSHOT_NAME"


def make_parser() -> Parser:
    parser = Parser(prog="nox -s daytona_test --", description=__doc__, allow_abbrev=False)
    requests.add_source_options(parser)
    parser.add_argument(
        "--snapshot", action=Once, metavar="NAME", help=f"test this snapshot; else ${VARIABLE}"
    )
    parser.add_argument(
        "--stand-in", action="store_true", help="test on a Daytona of this machine's own engine"
    )
    add_keep(parser)
    add_json(parser)
    add_selection(parser)
    local_test.add_workers(parser)
    add_faults(parser)
    return parser


def main(arguments: list[str]) -> None:
    parser = make_parser()
    options = parser.parse_args(arguments)
    name = choose_snapshot(options, os.environ)
    with contextlib.ExitStack() as stack:
        if options.stand_in:
            _start_stand_in(stack, options, name)
        # Missing or unusable credentials and a wrong name are found before anything is built.
        read_credentials()
        api = stack.enter_context(contextlib.closing(daytona_api.connect()))
        watch = console.Stopwatch()
        if name is None:
            result = _publish(api, parser, options)
        else:
            result = _use(api, name, parser, options)
        seconds = round(watch.elapsed, 1)
        options.image = str(result["snapshot_name"])
        start = time.monotonic()
        status = local_test.run_pytest(
            local_test.pytest_arguments(options, root=project.ROOT, provider="daytona"),
            subject=options.image,
            quiet=options.json,
        )
        if options.json:
            outcome = {
                "tests_passed": status == 0,
                "tests_seconds": round(time.monotonic() - start),
            }
            console.emit_json({**result, "seconds": seconds, **outcome})
        local_test.judge(status)


def _start_stand_in(
    stack: contextlib.ExitStack, options: argparse.Namespace, name: str | None
) -> None:
    if name:
        raise BadInput(
            "a stand-in has no snapshots yet", fix=f"leave out --snapshot and {VARIABLE}"
        )
    if options.keep:
        raise BadInput(
            "a stand-in ends with this command, and its sandboxes with it", fix="leave out --keep"
        )
    local_daytona = stack.enter_context(stand_in.running())
    stack.enter_context(environment(local_daytona.environment))


def choose_snapshot(options: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    """The snapshot that was named, checked offline; the flag takes precedence over the variable."""
    name = options.snapshot
    if name is None:
        # An empty variable counts as unset; a flag that says what to build takes precedence.
        name = (environ.get(VARIABLE) or "").strip() or None if options.ref is None else None
    elif options.ref is not None:
        raise BadInput("--ref and --snapshot name two things", fix="give one of them")
    return naming.check_name(name) if name is not None else None


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables, for us and the children (the reaper is one), until the end."""
    earlier_values = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in earlier_values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _publish(api: Daytona, parser: Parser, options: argparse.Namespace) -> dict[str, object]:
    """The snapshot of the ref, made if it is not there. The ledger stays: nothing is tested yet."""
    stage = developer.choose_stage(options.stage)
    request = requests.read_request(parser, options, stage=stage)
    resolved_request = requests.resolve(request, os.environ)

    def check_image(image: Image) -> None:
        release_checks.check_image(resolved_request, image)

    publication = publish(api, resolved_request, check_image=check_image)
    return {"stage": stage, **resolved_request.source.record(), **publication.record()}


def _use(api: Daytona, name: str, parser: Parser, options: argparse.Namespace) -> dict[str, object]:
    """A snapshot that is there, active. Raises with what is the matter with it."""
    command_line = CommandLine(parser, vars(options)).replace(snapshot=name)
    active = existing.require_active(api, name, resume_command=str(command_line))
    return {
        "snapshot_name": active.name,
        "snapshot_id": active.id,
        "state": active.state,
        "identity": content.identity_of(active),
        "reused": True,
        "how": "named",
    }
