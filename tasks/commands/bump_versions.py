"""Move the pinned versions of apps/os/sandbox/Dockerfile to what may safely be taken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.base import ci, console, project
from tasks.base.errors import BadInput
from tasks.base.options import Parser, add_json
from tasks.bump import json_record, proposal, pull_request, terminal
from tasks.bump.journal import VerificationFailed
from tasks.bump.pins import find_pin, with_overrides
from tasks.bump.selection import PinRequest
from tasks.github import job

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tasks.bump.bump_run import BumpRun
    from tasks.bump.pins import Pin


def main(arguments: list[str]) -> None:
    options = _parse(arguments)
    from tasks.bump import bump_run  # noqa: PLC0415 - urllib3, which --help can do without

    pins = with_overrides((project.ROOT / "pyproject.toml").read_text())
    bump_options = bump_run.BumpOptions(
        mode=options.mode,
        pins=frozenset(find_pin(word, pins).variable for word in options.only),
        requests=_requests(options, pins),
    )
    state = project.state_dir()
    with bump_run.open_run(pins, bump_options, root=project.ROOT, state=state) as run:
        terminal.show(run.survey)
        terminal.show_diff(run.edit.document.text, run.edit.new_text)
        verified: bool | None = None
        failure: VerificationFailed | None = None
        is_written = bump_options.writes and bool(run.edit.moves)
        if is_written:
            try:
                verified = run.write()
            except VerificationFailed as error:
                verified, is_written, failure = False, False, error
    _report(run, options, is_written=is_written, verified=verified)
    if failure:
        raise failure
    for outcome in run.survey.errors:
        console.fail(f"{outcome.pin.name}: {console.printable(outcome.error)}")
    run.raise_failures()
    if not run.edit.moves:
        console.good("nothing to do: every pin is as new as it may be")
    elif options.mode == "dry-run":
        console.good("dry run: nothing was written")


def _report(
    run: BumpRun, options: argparse.Namespace, *, is_written: bool, verified: bool | None
) -> None:
    """Files, a job's outputs, and JSON on stdout."""
    text = pull_request.text(run.survey, verified=verified)
    if options.markdown:
        Path(options.markdown).write_text(text, encoding="utf-8")
    if ci.is_github_job():
        (run.state / proposal.TEXT_FILE).write_text(text, encoding="utf-8")
    moves = ", ".join(f"{move.name} {move.new_version}" for move in run.edit.moves)
    job.write_outputs(changed=is_written, verified=verified, moved=moves if is_written else "")
    job.write_summary(f"### Pinned versions\n\n{text}")
    if options.json:
        console.emit_json(json_record.record(run.survey, is_written=is_written, verified=verified))


def _requests(options: argparse.Namespace, pins: Sequence[Pin]) -> dict[str, PinRequest]:
    """What was asked for single pins, by variable."""
    to: dict[str, str] = {}
    for word in options.to:
        name, equals, version = word.partition("=")
        if not equals or not version:
            raise BadInput(f"--to {word} names no version", fix="--to PIN=VERSION")
        to[find_pin(name, pins).variable] = version
    hurried = {find_pin(name, pins).variable for name in options.now}
    accepted = {find_pin(name, pins).variable for name in options.accept}
    if hurried and not (options.reason or "").strip():
        raise BadInput("--now passes over the cool-down", fix='give a reason: --reason "…"')
    if options.reason and not hurried:
        raise BadInput("--reason belongs to --now", fix="--now PIN --reason …")
    if options.allow_downgrade and not to:
        raise BadInput("--allow-downgrade belongs to --to", fix="--to PIN=VERSION")
    return {
        variable: PinRequest(
            to=to.get(variable, ""),
            allow_downgrade=options.allow_downgrade,
            reason=options.reason if variable in hurried else "",
            accept_risks=variable in accepted,
        )
        for variable in {*to, *hurried, *accepted}
    }


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s bump_versions --",
        description=__doc__,
        allow_abbrev=False,
        epilog="PIN is a variable, its short form (claude-code) or the package. With --to, --now or"
        " --accept the other pins stay as they are. Exit status: 0 when the pins are up to date"
        " afterwards, 1 for --check when something is out of date, 2 when something could not be"
        " determined.",
    )
    modes = parser.add_mutually_exclusive_group()
    for flag, text in {
        "--dry-run": "show everything, write nothing",
        "--check": "write nothing; end with status 1 when something is out of date",
        "--verify": "keep the bump only if the image can be built and starts",
    }.items():
        modes.add_argument(
            flag, dest="mode", action="store_const", const=flag.strip("-"), help=text
        )
    parser.set_defaults(mode="write")
    for flag, metavar, text in (
        ("--only", "PIN", "bump this pin only"),
        ("--to", "PIN=VERSION", "move to exactly this version"),
        ("--now", "PIN", "do not wait for the cool-down"),
        ("--accept", "PIN", "take it although maintainers, provenance or install scripts changed"),
    ):
        parser.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
    parser.add_argument(
        "--allow-downgrade", action="store_true", help="--to may name an older version"
    )
    parser.add_argument("--reason", metavar="TEXT", help="why --now, for the record")
    add_json(parser)
    parser.add_argument(
        "--markdown", metavar="FILE", help="write the text of a pull request to this file"
    )
    options = parser.parse_args(arguments)
    target = Path(options.markdown or "body.md")
    if target.is_dir() or not os.access(target if target.exists() else target.parent, os.W_OK):
        raise BadInput(f"--markdown {target} cannot be written", fix="name a file")
    return options
