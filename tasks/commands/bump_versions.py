"""Move the pinned versions of apps/os/sandbox/Dockerfile to what may safely be taken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.base import ci, console, project
from tasks.base.errors import BadInput, TaskError
from tasks.base.options import Parser, add_json
from tasks.bump import edit, pins, proposal, report
from tasks.bump.edit import VerificationFailed
from tasks.bump.policy import Wish
from tasks.bump.registries.model import Unknown
from tasks.bump.survey import Survey, survey
from tasks.github import job

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tasks.bump.pins import Pin

_UNVERIFIED = "bump-unverified.json"


class OutOfDate(TaskError):
    code = "out-of-date"


class Refused(TaskError):
    code = "refused"


def main(arguments: list[str]) -> None:
    options = _parse(arguments)
    root = project.ROOT
    state = project.state_dir()
    if options.dry_run or options.check:
        _run(options, root, state)
        return
    with edit.alone(state):
        _warn_of_unverified(state)
        _run(options, root, state)


def _run(options: argparse.Namespace, root: Path, state: Path) -> None:
    rows = pins.with_overrides((root / "pyproject.toml").read_text())
    wishes = _wishes(options, rows)
    old = edit.read(root)
    versions = pins.current(old.text, rows)
    write = not (options.dry_run or options.check)
    if write:
        edit.tidy(root, [(pin, versions[pin.variable]) for pin in rows])
    named = {pins.find(word, rows).variable for word in options.only} | set(wishes)
    found = survey(
        rows,
        versions,
        root=root,
        wishes=wishes,
        chosen=frozenset(named or versions),
        write=write,
        cache=state / "bump-trees.json",
    )
    _show(found)
    change = edit.plan(root, old, found.changes)
    report.show_diff(old.text, change.new_text)
    verified: bool | None = None
    failure: TaskError | None = None
    if write and found.changes:
        try:
            verified = _write(change, found, verify_it=options.verify, state=state)
        except VerificationFailed as error:
            verified, failure = False, error
    written = write and bool(found.changes) and failure is None
    text = report.markdown(found, verified=verified)
    if options.markdown:
        Path(options.markdown).write_text(text)
    if ci.is_github_job():
        (state / proposal.TEXT_FILE).write_text(text)
    pins_moved = ", ".join(f"{o.pin.name} {o.target}" for o in found.changes)
    job.write_outputs(changed=written, verified=verified, moved=pins_moved if written else "")
    job.write_summary(f"### Pinned versions\n\n{text}")
    if options.json:
        console.emit_json(report.record(found, written=written, verified=verified))
    if failure:
        raise failure
    _judge(found, options, wishes)


def _show(found: Survey) -> None:
    console.say(console.printable_lines(report.table(found)))
    for text, loud in report.notes(found):
        console.warn(text) if loud else console.say(f"  {text}", "dim")
    console.say(f"  {found.now:%Y-%m-%d %H:%M} UTC by {found.clock}", "dim")


def _write(change: edit.Edit, found: Survey, *, verify_it: bool, state: Path) -> bool | None:
    moved = ", ".join(f"{o.pin.name} {o.target}" for o in found.changes)
    if not verify_it:
        change.apply()
        console.good(f"written: {moved}")
        return None
    note = state / _UNVERIFIED
    from tasks.bump import verify  # noqa: PLC0415 - brings the engine's SDK

    note.write_text(json.dumps({o.pin.variable: [o.version, o.target] for o in found.changes}))
    try:
        verify.verify(change)
    finally:
        note.unlink()
    console.good(f"written, built and started: {moved}")
    return True


def _warn_of_unverified(state: Path) -> None:
    note = state / _UNVERIFIED
    if note.exists():
        console.warn(
            "an earlier run was killed while it verified its bump: look at `git diff`, and let "
            "nox -s tests judge what it left"
        )
        note.unlink()


def _judge(found: Survey, options: argparse.Namespace, wishes: dict[str, Wish]) -> None:
    """The exit status: 2 when something could not be found out, 1 for --check with work to do."""
    for outcome in found.errors:
        console.fail(f"{outcome.pin.name}: {console.printable(outcome.error)}")
    if found.errors:
        names = ", ".join(outcome.pin.name for outcome in found.errors)
        raise Unknown(f"could not find out about {names}", fix="the lines above say what to do")
    for outcome in found.outcomes:
        wish = wishes.get(outcome.pin.variable, Wish())
        if wish.to and wish.to != outcome.target:
            why = outcome.held[0].why if outcome.held else "it may not be taken"
            raise Refused(f"{outcome.pin.name} {wish.to} is refused: {why}")
    if not found.changes:
        console.good("nothing to do: every pin is as new as it may be")
    elif options.check:
        names = ", ".join(outcome.pin.name for outcome in found.changes)
        raise OutOfDate(f"out of date: {names}", fix="nox -s bump_versions")
    elif options.dry_run:
        console.good("dry run: nothing was written")


def _wishes(options: argparse.Namespace, rows: Sequence[Pin]) -> dict[str, Wish]:
    """What was asked for single pins, by variable."""
    to: dict[str, str] = {}
    for word in options.to:
        name, equals, version = word.partition("=")
        if not equals or not version:
            raise BadInput(f"--to {word} names no version", fix="--to PIN=VERSION")
        to[pins.find(name, rows).variable] = version
    now = {pins.find(name, rows).variable for name in options.now}
    accepted = {pins.find(name, rows).variable for name in options.accept}
    if now and not (options.reason or "").strip():
        raise BadInput("--now passes over the cool-down", fix='say why: --reason "…"')
    if options.reason and not now:
        raise BadInput("--reason belongs to --now", fix="--now PIN --reason …")
    if options.allow_downgrade and not to:
        raise BadInput("--allow-downgrade belongs to --to", fix="--to PIN=VERSION")
    return {
        variable: Wish(
            to=to.get(variable, ""),
            allow_downgrade=options.allow_downgrade,
            now=options.reason if variable in now else "",
            accept=variable in accepted,
        )
        for variable in {*to, *now, *accepted}
    }


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s bump_versions --",
        description=__doc__,
        allow_abbrev=False,
        epilog="PIN is a variable, its short form (claude-code) or the package. --to, --now and "
        "--accept leave the other pins alone. Exit status: 0 done or fresh, 1 for --check when "
        "something is out of date, 2 when something could not be found out.",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--dry-run", action="store_true", help="show everything, write nothing")
    way.add_argument("--check", action="store_true", help="write nothing; exit 1 when out of date")
    way.add_argument(
        "--verify", action="store_true", help="keep the bump only if the image builds and starts"
    )
    parser.add_argument("--only", action="append", default=[], metavar="PIN", help="just this pin")
    parser.add_argument(
        "--to", action="append", default=[], metavar="PIN=VERSION", help="to this very version"
    )
    parser.add_argument(
        "--allow-downgrade", action="store_true", help="--to may name an older version"
    )
    parser.add_argument(
        "--now", action="append", default=[], metavar="PIN", help="without the cool-down"
    )
    parser.add_argument("--reason", metavar="TEXT", help="why --now, for the record")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="PIN",
        help="although maintainers, provenance or install scripts changed",
    )  # fmt: skip
    add_json(parser)
    parser.add_argument("--markdown", metavar="FILE", help="write a pull request's text there")
    options = parser.parse_args(arguments)
    target = Path(options.markdown or "body.md")
    if target.is_dir() or not os.access(target if target.exists() else target.parent, os.W_OK):
        raise BadInput(f"--markdown {target} cannot be written", fix="name a file")
    return options
