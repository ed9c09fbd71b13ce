"""The snapshots at Daytona and which stage uses which: list, show, promote, go back, clean up."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console, markdown, stages
from tasks.base.errors import TaskError
from tasks.base.options import Once, Parser, add_json
from tasks.base.project import ROOT, state_dir
from tasks.daytona import api as daytona_api
from tasks.daytona import cleanup, content, existing, gc, moves, naming, retire
from tasks.daytona.cleanup import Cleanup
from tasks.daytona.credentials import is_local, read_credentials
from tasks.daytona.ledger import open_ledger
from tasks.daytona.retirement import Retirement, count_sandboxes
from tasks.github import job
from tasks.sandbox import release_checks

if TYPE_CHECKING:
    from tasks.daytona.api import Daytona
    from tasks.daytona.gc import SnapshotVerdict
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.moves import StageMove
    from tasks.daytona.snapshot import Snapshot

#: Seconds after which a snapshot goes that nobody uses, of a stage that the ledger does not know.
#: Long: somebody may publish with a ledger elsewhere, at a fork.
_ABANDONED: Final = 14 * 86400.0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="nox -s snapshots --", description=__doc__, allow_abbrev=False)
    shared = Parser(add_help=False)
    add_json(shared)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> Parser:
        return commands.add_parser(
            name, help=text, description=text, parents=[shared], allow_abbrev=False
        )

    list_parser = add("list", "show what there is, and which stage uses what")
    list_parser.add_argument("--all", action="store_true", help="show those that are not ours, too")
    add("show", "show all about one snapshot, and its history").add_argument("name", metavar="NAME")
    promote = add("promote", "let a stage use a snapshot; it is verified first")
    promote.add_argument("name", metavar="NAME")
    promote.add_argument("--stage", action=Once, required=True)
    rollback = add("rollback", "let a stage use the snapshot that it used before")
    rollback.add_argument("--stage", action=Once, required=True)
    current = add("current", "show which snapshot a stage uses; only the ledger is asked")
    current.add_argument("--stage", action=Once, required=True)
    _add_gc_options(add("gc", "show which old and failed snapshots can go, or delete them"))
    _add_retire_options(
        add("retire", "show what goes with a branch (its snapshots and its stage), or delete it")
    )
    return parser.parse_args(arguments)


def _add_gc_options(parser: Parser) -> None:
    parser.add_argument("--yes", action="store_true", help="delete them")
    parser.add_argument("--stage", action=Once, help="only of this stage")
    parser.add_argument(
        "--keep",
        type=_count,
        default=gc.NEWEST,
        metavar="N",
        action=Once,
        help="keep the newest N of each stage (%(default)s)",
    )


def _add_retire_options(parser: Parser) -> None:
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--stage", action=Once, help="dev-NAME, as a whole")
    subject.add_argument(
        "--branch",
        "--for-branch",
        dest="branch",
        action=Once,
        help="the branch's own stage, and any other that uses its snapshot now; never prd",
    )
    parser.add_argument("--yes", action="store_true", help="delete it")


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("not a count")
    return value


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    _check(options)
    if options.command == "current":
        ledger = open_ledger(ROOT, state_dir(), local=is_local())
        ledger.refresh()
        result = _current(ledger, options)
    else:
        credentials = read_credentials()
        with closing(daytona_api.connect()) as api:
            ledger = open_ledger(ROOT, state_dir(), local=credentials.is_local)
            ledger.refresh()
            result = _COMMANDS[options.command](api, ledger, options)
    if options.json:
        console.emit_json(result)
    failures = result.get("failed") if isinstance(result, dict) else None
    if failures:
        raise TaskError(
            f"{len(failures)} snapshots could not be deleted: {', '.join(failures)}",
            fix="run it again later",
        )


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be meant before anybody is asked."""
    if getattr(options, "stage", None) is not None:
        stages.check_stage(options.stage)
    if getattr(options, "name", None) is not None:
        naming.check_name(options.name)
    if options.command == "retire":
        if options.stage is not None:
            retire.check_retirable(options.stage)
        else:
            stages.stage_for_branch(options.branch)


# ── looking ─────────────────────────────────────────────────────────────────────────────────


def _list(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    points_at = ledger.points_at()
    listed = [s for s in api.snapshots.list_all() if options.all or content.is_ours(s)]
    listed.sort(key=lambda s: s.created_at, reverse=True)
    rows = [
        [
            s.name,
            console.printable(s.state),
            _size(s),
            s.created_at[:16],
            ", ".join(points_at.get(s.name, [])),
        ]
        for s in listed
    ]
    console.say(console.table(rows, ["snapshot", "state", "bytes", "made", "used by"]))
    names = {s.name for s in listed}
    for name, pointers in points_at.items():
        if name not in names:
            console.warn(f"{', '.join(pointers)} points at {name}, which is not there")
    return [{**content.record(s), "stages": points_at.get(s.name, [])} for s in listed]


def _show(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    existing_snapshot = existing.find(api, options.name)
    moves = [
        (stage, entry)
        for stage in ledger.stages()
        for entry in ledger.history(stage)
        if entry.snapshot == existing_snapshot.name
    ]
    record = content.record(existing_snapshot)
    for key, value in record.items():
        console.say(f"{key:12} {console.printable(str(value))}")
    for stage, entry in moves:
        console.say(
            f"{entry.date}  {entry.reason} to {stage} by {entry.author}, commit {entry.sha[:12]}"
        )
    return {**record, "moves": [{"stage": stage, **entry.record()} for stage, entry in moves]}


def _size(existing_snapshot: Snapshot) -> str:
    return "-" if existing_snapshot.bytes is None else console.size(existing_snapshot.bytes)


def _current(ledger: Ledger, options: argparse.Namespace) -> Any:
    entry = ledger.current(options.stage)
    if entry is None:
        console.good(f"{options.stage} has no snapshot; the ledger is at {ledger.place}")
    else:
        console.good(
            f"{options.stage} is {console.printable(entry.snapshot)}, since {entry.date}"
            f" by {entry.author}, commit {entry.sha[:12]}"
        )
    fields: dict[str, Any] = dict(entry.record()) if entry else {}
    outputs = {
        "stage": options.stage,
        "snapshot_name": fields.pop("snapshot", None),
        "sha": fields.pop("sha", None),
        "identity": fields.pop("identity", None),
    }
    job.write_outputs(**outputs)
    state = f"is {markdown.code(entry.snapshot)}" if entry else "has no snapshot"
    job.write_summary(f"{markdown.code(options.stage)} {state}")
    return {**outputs, **fields}


# ── moving ──────────────────────────────────────────────────────────────────────────────────


def _promote(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    def commit_in(promoted: Snapshot) -> str:
        return release_checks.commit_in(api, promoted)

    move = moves.promote(api, ledger, stage=options.stage, name=options.name, commit_in=commit_in)
    return _tell_move(move, ledger)


def _rollback(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    return _tell_move(moves.rollback(api, ledger, stage=options.stage), ledger)


def _tell_move(move: StageMove, ledger: Ledger) -> dict[str, Any]:
    name, replaced_entry = move.entry.snapshot, move.replaced_entry
    addition = f" (was {replaced_entry.snapshot})" if replaced_entry and move.is_change else ""
    verb = "is" if move.is_change else "was already"
    console.good(f"{move.stage} {verb} {name}{addition}; the ledger is at {ledger.place}")
    result = move.record()
    job.write_outputs(**result)
    job.write_summary(
        f"### {markdown.code(move.stage)} {verb} {markdown.code(name)}\n\n"
        + markdown.facts({"commit": move.entry.sha, "before": result["previous"]}.items())
    )
    return result


# ── cleaning up ─────────────────────────────────────────────────────────────────────────────


def _gc(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    def judge() -> list[SnapshotVerdict]:
        return gc.judge(
            api.snapshots.list_all(),
            points_at=ledger.points_at(),
            in_use=count_sandboxes(api),
            newest=options.keep,
            # A ledger on this machine alone does not know what others publish.
            stages=None if ledger.remote is None else ledger.stages(),
            abandoned_before=time.strftime(
                "%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - _ABANDONED)
            ),
            only_stages=None if options.stage is None else {options.stage},
        )

    def judge_again() -> list[SnapshotVerdict]:
        ledger.refresh()
        return judge()

    outcome = Cleanup(verdicts=judge())
    rows = [
        [v.verdict, v.snapshot.name, v.snapshot.state, _size(v.snapshot), v.reason]
        for v in outcome.verdicts
    ]
    console.say(console.table(rows, ["", "snapshot", "state", "bytes", "reason"]))
    freed = sum(doomed.bytes or 0 for doomed in outcome.doomed)
    if not outcome.doomed:
        console.good("no snapshot can go")
    elif not options.yes:
        console.say(
            f"{len(outcome.doomed)} could go, {console.size(freed)}; nothing was deleted:"
            " gc --yes deletes them"
        )
    else:
        outcome = cleanup.delete_doomed(api, outcome.verdicts, judge_again=judge_again)
        console.good(f"deleted {len(outcome.deleted_names)} of {len(outcome.doomed)}")
    _report_cleanup("Clean-up", outcome, dry_run=not options.yes)
    return {"dry_run": not options.yes, "bytes": int(freed), **outcome.record()}


def _retire(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    retirement = Retirement(api, ledger, stage=options.stage, branch=options.branch)
    subject = retirement.subject
    outcome = Cleanup(verdicts=retirement.judge())
    for v in outcome.verdicts:
        console.say(f"{v.verdict:6}  {v.snapshot.name}  {v.reason}")
    dropped: list[str] = []
    if not outcome.verdicts and not retirement.tips:
        console.good(f"{subject} has no sandbox: nothing to do")
    elif not options.yes:
        console.say("nothing was deleted: retire --yes deletes it")
    else:
        outcome = cleanup.delete_doomed(api, outcome.verdicts, judge_again=retirement.judge_again)
        # A stage whose snapshots could not be deleted stays, for another try.
        dropped = [] if outcome.failures else retirement.drop_stages()
        remaining = (
            f"; {outcome.kept_count} stay, for the reasons above" if outcome.kept_count else ""
        )
        console.good(f"deleted {len(outcome.deleted_names)} snapshots of {subject}{remaining}")
    title = f"The sandbox of {markdown.code(subject)} goes"
    _report_cleanup(title, outcome, dry_run=not options.yes)
    return {
        "branch": options.branch,
        "stages": retirement.stages,
        "dropped": dropped,
        "dry_run": not options.yes,
        **outcome.record(),
    }


def _report_cleanup(title: str, outcome: Cleanup, *, dry_run: bool) -> None:
    """Into the outputs and the summary of a GitHub job."""
    job.write_outputs(
        deleted=len(outcome.deleted_names),
        kept=outcome.kept_count,
        failed=len(outcome.failures),
        dry_run=dry_run,
    )
    rows = []
    for v in outcome.verdicts:
        name = v.snapshot.name
        if v.verdict == "keep":
            cell = "kept"
        elif dry_run:
            cell = "could go"
        elif name in outcome.deleted_names:
            cell = "deleted"
        else:
            cell = "**failed**" if name in outcome.failures else "left alone"
        reason = outcome.failures.get(name) or v.reason
        rows.append([markdown.code(name), cell, markdown.plain(reason)])
    head = ["snapshot", "", "why"]
    table = markdown.table(head, rows) if rows else "There was nothing to delete."
    job.write_summary(f"### {title}{' (dry run)' if dry_run else ''}\n\n{table}")


_COMMANDS: Final = {
    "list": _list,
    "show": _show,
    "promote": _promote,
    "rollback": _rollback,
    "gc": _gc,
    "retire": _retire,
}
