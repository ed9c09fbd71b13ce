"""The snapshots at Daytona and which stage uses which: list, show, promote, go back, clean up."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tasks import git
from tasks.base import console, markdown, stages
from tasks.base.errors import TaskError
from tasks.base.project import ROOT, state_dir
from tasks.daytona import api as daytona_api
from tasks.daytona import cleanup, content, existing, gc, moves, naming, retire, waking
from tasks.daytona.cleanup import Cleanup
from tasks.daytona.credentials import is_local, read_credentials
from tasks.daytona.ledger import open_ledger
from tasks.daytona.ledger_store import VARIABLE as LEDGER_VARIABLE
from tasks.daytona.retirement import Retirement
from tasks.daytona.snapshots_parser import make_parser
from tasks.github import job
from tasks.sandbox import release_checks

if TYPE_CHECKING:
    import argparse

    from tasks.daytona.api import Daytona
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.moves import StageMove
    from tasks.daytona.snapshot import Snapshot

_VERBS: Final = {"gc": "deleted", "retire": "deleted", "wake": "woken"}


def main(arguments: list[str]) -> None:
    options = make_parser(__doc__).parse_args(arguments)
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
            f"{len(failures)} snapshots could not be {_VERBS[options.command]}:"
            f" {', '.join(failures)}",
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
            _state(s),
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
    for s in listed:
        if s.state == "inactive" and s.name in points_at:
            console.warn(
                f"{', '.join(points_at[s.name])} uses {s.name}, which sleeps: no sandbox starts of"
                " it → nox -s snapshots -- wake"
            )
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


def _state(existing_snapshot: Snapshot) -> str:
    """Daytona's word, and what it means for one that was put aside."""
    state = console.printable(existing_snapshot.state)
    return f"{state} (sleeps)" if state == "inactive" else state


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

    move = moves.promote(
        api,
        ledger,
        stage=options.stage,
        name=options.name,
        repo=git.open_repo(ROOT),
        commit_in=commit_in,
    )
    return _tell_move(move, ledger)


def _rollback(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    return _tell_move(moves.rollback(api, ledger, stage=options.stage), ledger)


def _tell_move(move: StageMove, ledger: Ledger) -> dict[str, Any]:
    name, replaced_entry = move.entry.snapshot, move.replaced_entry
    addition = f"; it was {replaced_entry.describe()}" if replaced_entry and move.is_change else ""
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
    judge = partial(
        cleanup.judge,
        api,
        ledger,
        newest=options.keep,
        only_stages=None if options.stage is None else {options.stage},
    )
    outcome = Cleanup(verdicts=judge())
    rows = [
        [
            v.verdict,
            v.snapshot.name,
            console.printable(v.snapshot.state),
            _size(v.snapshot),
            v.reason,
        ]
        for v in outcome.verdicts
    ]
    console.say(console.table(rows, ["", "snapshot", "state", "bytes", "reason"]))
    unknown_stages = _tell_unknown_stages(ledger, outcome)
    size = sum(doomed.bytes or 0 for doomed in outcome.doomed)
    if not outcome.doomed:
        console.good("no snapshot can go")
    elif not options.yes:
        console.say(
            f"{len(outcome.doomed)} could go, {console.size(size)}; nothing was deleted:"
            " gc --yes deletes them"
        )
    else:
        outcome = cleanup.delete_doomed(api, outcome.verdicts, judge_again=judge)
        console.good(f"deleted {len(outcome.deleted_names)} of {len(outcome.doomed)}")
    _report_cleanup("Clean-up", outcome, dry_run=not options.yes)
    return {
        "dry_run": not options.yes,
        "bytes": int(size),
        "stages_without_entry": unknown_stages,
        **outcome.record(),
    }


def _tell_unknown_stages(ledger: Ledger, outcome: Cleanup) -> list[str]:
    """Name the stages whose snapshots stay since this ledger does not know them."""
    counts = Counter(gc.stage_of(v.snapshot) for v in outcome.verdicts)
    stages_without_entry = sorted(counts.keys() - ledger.published_in().keys())
    for stage in stages_without_entry:
        advice = f"if its ledger is another one, name that in {LEDGER_VARIABLE}"
        if stage.startswith("dev-"):
            advice = f"if nobody uses it: nox -s snapshots -- retire --stage {stage}; {advice}"
        console.warn(
            f"{stage} has {counts[stage]} snapshots and no entry in the ledger at {ledger.place}:"
            f" they are kept → {advice}"
        )
    return stages_without_entry


def _wake(api: Daytona, ledger: Ledger, options: argparse.Namespace) -> Any:
    def use(idle_snapshot: Snapshot) -> str:
        return release_checks.commit_in(api, idle_snapshot)

    only_stages = None if options.stage is None else {options.stage}
    results = waking.wake(api, ledger, only_stages=only_stages, use=use)
    rows = [[result.stage, markdown.code(result.snapshot), result.outcome] for result in results]
    job.write_summary(
        "### What the stages use\n\n" + markdown.table(["stage", "snapshot", ""], rows)
    )
    if not results:
        console.good("no stage uses a snapshot")
    problems = [result for result in results if result.problem]
    return {
        "results": [result.record() for result in results],
        "failed": {result.snapshot: result.problem for result in problems},
    }


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
    "wake": _wake,
    "retire": _retire,
}
