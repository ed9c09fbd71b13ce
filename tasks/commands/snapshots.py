"""The snapshots at Daytona and which stage uses which: list, show, promote, go back, clean up."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tasks.base import console, markdown
from tasks.base.errors import TaskError
from tasks.base.options import Once, Parser
from tasks.base.project import ROOT, state_dir
from tasks.commands.daytona_test import use
from tasks.commands.retiring import Retirement, in_use
from tasks.daytona import adapter, gc, ledger, retire, snapshot
from tasks.daytona.publish import delete
from tasks.github import job
from tasks.sandbox import verify

if TYPE_CHECKING:
    from tasks.daytona.adapter import Daytona
    from tasks.daytona.ledger import Entry, Ledger
    from tasks.daytona.snapshot import Snapshot


#: Seconds after which a snapshot goes that nobody uses, of a stage that the ledger does not know.
#: Long: somebody may publish with a ledger elsewhere, at a fork.
_ABANDONED = 14 * 86400.0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="nox -s snapshots --", description=__doc__, allow_abbrev=False)
    shared = Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> Parser:
        return commands.add_parser(
            name, help=text, description=text, parents=[shared], allow_abbrev=False
        )

    listed = add("list", "what there is, and which stage uses what")
    listed.add_argument("--all", action="store_true", help="those that are not ours, too")
    shown = add("show", "all about one snapshot, and its history")
    shown.add_argument("name", metavar="NAME")
    promoted = add("promote", "let a stage use a snapshot; it is verified first")
    promoted.add_argument("name", metavar="NAME")
    promoted.add_argument("--stage", action=Once, required=True)
    back = add("rollback", "let a stage use the snapshot it used before")
    back.add_argument("--stage", action=Once, required=True)
    cleaned = add("gc", "delete old and failed snapshots; without --yes only say which")
    cleaned.add_argument("--yes", action="store_true", help="delete them")
    cleaned.add_argument("--stage", action=Once, help="only of this stage")
    cleaned.add_argument(
        "--keep", type=_count, default=gc.NEWEST, metavar="N", action=Once,
        help="the newest of each stage that stay (%(default)s)",
    )  # fmt: skip
    now = add("current", "which snapshot a stage uses, by the ledger alone: Daytona is not asked")
    now.add_argument("--stage", action=Once, required=True)
    retired = add(
        "retire",
        "delete the sandbox of a branch that goes: its snapshots and its stage; without --yes only"
        " say which",
    )
    which = retired.add_mutually_exclusive_group(required=True)
    which.add_argument("--stage", action=Once, help="dev-NAME, as a whole")
    which.add_argument(
        "--branch", "--for-branch", dest="branch", action=Once,
        help="the branch's own stage, and any other that uses its snapshot now; never prd",
    )  # fmt: skip
    retired.add_argument("--yes", action="store_true", help="delete them")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("not a count")
    return value


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if getattr(options, "stage", None) is not None:
        snapshot.check_stage(options.stage)
    if getattr(options, "name", None) is not None:
        snapshot.check_name(options.name)
    if options.command == "retire":
        # What cannot be retired is refused before anybody is asked.
        if options.stage is not None:
            retire.check_stage(options.stage)
        else:
            snapshot.stage_for_branch(options.branch)
    if options.command == "current":
        book = ledger.open_ledger(ROOT, state_dir(), local=adapter.is_local())
        book.refresh()
        result = _current(book, options)
    else:
        given = adapter.credentials()
        with closing(adapter.connect()) as api:
            book = ledger.open_ledger(ROOT, state_dir(), local=given.is_local)
            book.refresh()
            result = _COMMANDS[options.command](api, book, options)
    if options.json:
        console.emit_json(result)


# ── looking ─────────────────────────────────────────────────────────────────────────────────


def _list(api: Daytona, book: Ledger, options: argparse.Namespace) -> Any:
    points_at = book.points_at()
    found = [s for s in api.snapshots() if options.all or snapshot.is_ours(s)]
    found.sort(key=lambda s: s.created, reverse=True)
    rows = [
        [s.name, console.printable(s.state), _size(s), s.created[:16], _used(points_at, s)]
        for s in found
    ]
    console.say(console.table(rows, ["snapshot", "state", "bytes", "made", "used by"]))
    there = {s.name for s in found}
    for name, stages in points_at.items():
        if name not in there:
            console.warn(f"{', '.join(stages)} points at {name}, which is not there")
    return [{**_record(s), "stages": points_at.get(s.name, [])} for s in found]


def _show(api: Daytona, book: Ledger, options: argparse.Namespace) -> Any:
    found = _existing(api, options.name)
    moves = [
        (stage, move)
        for stage in book.stages()
        for move in book.history(stage)
        if move.snapshot == found.name
    ]
    record = _record(found)
    for key, value in record.items():
        console.say(f"{key:12} {console.printable(str(value))}")
    for stage, move in moves:
        console.say(f"{move.when}  {move.why} to {stage} by {move.who}, commit {move.sha[:12]}")
    return {**record, "moves": [{"stage": stage, **asdict(move)} for stage, move in moves]}


def _record(found: Snapshot) -> dict[str, Any]:
    return {
        "snapshot_name": found.name,
        "id": found.id,
        "state": found.state,
        "reason": found.reason,
        "identity": snapshot.identity_of(found),
        "ours": snapshot.is_ours(found),
        "bytes": None if found.bytes is None else int(found.bytes),
        "created": found.created,
        "last_used": found.used,
        "image": found.image,
        "contexts": len(found.contexts),
        "entrypoint": list(found.entrypoint),
    }


def _existing(api: Daytona, name: str) -> Snapshot:
    found = api.snapshot(name)
    if found is None:
        raise TaskError(
            f"there is no snapshot {console.printable(name)}", fix="nox -s snapshots -- list"
        )
    return found


def _size(found: Snapshot) -> str:
    return "-" if found.bytes is None else console.size(found.bytes)


def _used(points_at: dict[str, list[str]], found: Snapshot) -> str:
    return ", ".join(points_at.get(found.name, []))


def _current(book: Ledger, options: argparse.Namespace) -> Any:
    now = book.current(options.stage)
    if now is None:
        console.good(f"{options.stage} has no snapshot; the ledger is at {book.place}")
    else:
        console.good(
            f"{options.stage} is {console.printable(now.snapshot)}, since {now.when}"
            f" by {now.who}, commit {now.sha[:12]}"
        )
    entry = asdict(now) if now else {}
    told = {
        "stage": options.stage,
        "snapshot_name": entry.pop("snapshot", None),
        "sha": entry.pop("sha", None),
        "identity": entry.pop("identity", None),
    }
    job.write_outputs(**told)
    said = f"is {markdown.code(now.snapshot)}" if now else "has no snapshot"
    job.write_summary(f"{markdown.code(options.stage)} {said}")
    return {**told, **entry}


# ── moving ──────────────────────────────────────────────────────────────────────────────────


def _promote(api: Daytona, book: Ledger, options: argparse.Namespace) -> Any:
    found = _existing(api, options.name)
    if not snapshot.is_ours(found):
        raise TaskError(
            f"snapshot {found.name} is not of this project's making",
            fix="promote one that nox -s snapshots -- list shows",
        )
    now = book.current(options.stage)
    use(api, found.name)
    known = book.knows(found.name)
    sha = known.sha if known else _verified(api, found)
    return _moved(
        book,
        options.stage,
        ledger.entry(
            snapshot=found.name,
            sha=sha,
            identity=snapshot.identity_of(found) or "",
            why="promote",
        ),
        now,
    )


def _verified(api: Daytona, found: Snapshot) -> str:
    """Boot it and compare what it is with what its identity says; the commit it holds."""
    from tasks.sandbox.providers.daytona import DaytonaProvider  # noqa: PLC0415 - heavy

    return verify.look(DaytonaProvider(api), found.name, identity=snapshot.identity_of(found))


def _rollback(api: Daytona, book: Ledger, options: argparse.Namespace) -> Any:
    now, before = book.current(options.stage), book.previous(options.stage)
    if now is None or before is None:
        raise TaskError(
            f"{options.stage} has no earlier snapshot to go back to",
            fix="nox -s snapshots -- list shows what could be promoted",
        )
    use(api, before.snapshot)
    back = ledger.entry(
        snapshot=before.snapshot, sha=before.sha, identity=before.identity, why="rollback"
    )
    return _moved(book, options.stage, back, now)


def _moved(book: Ledger, stage: str, wanted: Entry, now: Entry | None) -> Any:
    moved = book.move(stage, wanted, expected=now)
    was = f" (was {now.snapshot})" if now and moved else ""
    verb = "is" if moved else "was already"
    console.good(f"{stage} {verb} {wanted.snapshot}{was}; the ledger is at {book.place}")
    result = {
        "stage": stage,
        "snapshot_name": wanted.snapshot,
        "sha": wanted.sha,
        "previous": now.snapshot if now else None,
        "moved": moved,
    }
    job.write_outputs(**result)
    job.write_summary(
        f"### {markdown.code(stage)} {verb} {markdown.code(wanted.snapshot)}\n\n"
        + markdown.facts({"commit": wanted.sha, "before": result["previous"]}.items())
    )
    return result


# ── cleaning up ─────────────────────────────────────────────────────────────────────────────


def _gc(api: Daytona, book: Ledger, options: argparse.Namespace) -> Any:
    judged = _judged(api, book, options)
    rows = [
        [j.verdict, j.snapshot.name, j.snapshot.state, _size(j.snapshot), j.reason] for j in judged
    ]
    console.say(console.table(rows, ["", "snapshot", "state", "bytes", "reason"]))
    doomed = [j for j in judged if j.verdict == "delete"]
    freed = sum(j.snapshot.bytes or 0 for j in doomed)
    deleted: list[str] = []
    failed: dict[str, str] = {}
    if not doomed:
        console.good("nothing can go")
    elif not options.yes:
        console.say(
            f"{len(doomed)} could go, {console.size(freed)}; nothing was deleted:"
            " -- gc --yes does it"
        )
    else:
        for one in doomed:
            if error := _delete_one(api, book, options, one.snapshot):
                failed[one.snapshot.name] = error
            elif api.snapshot(one.snapshot.id) is None:
                deleted.append(one.snapshot.name)
        console.good(f"deleted {len(deleted)} of {len(doomed)}")
    result = {
        "dry_run": not options.yes,
        "deleted": deleted,
        "failed": failed,
        "bytes": int(freed),
        "snapshots": _verdicts(judged),
    }
    _report_deletions("Clean-up", judged, deleted, failed, dry_run=not options.yes)
    _raise_failed(result, options)
    return result


def _verdicts(judged: list[gc.Judged]) -> list[dict[str, str]]:
    return [{"name": j.snapshot.name, "verdict": j.verdict, "reason": j.reason} for j in judged]


def _report_deletions(
    title: str,
    judged: list[gc.Judged],
    deleted: list[str],
    failed: dict[str, str],
    *,
    dry_run: bool,
) -> None:
    """Into the step's outputs and summary."""
    kept = [j for j in judged if j.verdict == "keep"]
    job.write_outputs(deleted=len(deleted), kept=len(kept), failed=len(failed), dry_run=dry_run)
    rows = []
    for one in judged:
        name = one.snapshot.name
        became = "deleted" if name in deleted else "**failed**" if name in failed else "left alone"
        if one.verdict == "keep":
            became = "kept"
        elif dry_run:
            became = "could go"
        why = failed.get(name) or one.reason
        rows.append([markdown.code(name), became, markdown.plain(why)])
    text = markdown.table(["snapshot", "", "why"], rows) if rows else "There was nothing to delete."
    job.write_summary(f"### {title}{' (dry run)' if dry_run else ''}\n\n{text}")


def _raise_failed(result: dict[str, Any], options: argparse.Namespace) -> None:
    failed = result["failed"]
    if not failed:
        return
    if options.json:
        console.emit_json(result)
    raise TaskError(
        f"{len(failed)} snapshots could not be deleted: {', '.join(failed)}",
        fix="run it again later",
    )


def _judged(api: Daytona, book: Ledger, options: argparse.Namespace) -> list[gc.Judged]:
    return gc.judge(
        api.snapshots(),
        points_at=book.points_at(),
        in_use=in_use(api),
        newest=options.keep,
        # A ledger on this machine alone does not know what others publish.
        stages=None if book.remote is None else book.stages(),
        abandoned=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - _ABANDONED)),
        only=None if options.stage is None else {options.stage},
    )


def _delete_one(
    api: Daytona, book: Ledger, options: argparse.Namespace, one: Snapshot
) -> str | None:
    """Why it could not be deleted. Judged again right before: a stage or a sandbox may have come
    to it meanwhile.
    """
    book.refresh()
    return _delete_if(api, one, _judged(api, book, options))


def _delete_if(api: Daytona, one: Snapshot, judged: list[gc.Judged]) -> str | None:
    if one.id not in {j.snapshot.id for j in judged if j.verdict == "delete"}:
        console.warn(f"{one.name} is wanted again, or gone: left alone")
        return None
    try:
        delete(api, one)
    except TaskError as error:
        console.fail(str(error))
        return error.what
    console.step(f"deleted {one.name}")
    return None


# ── a branch goes ───────────────────────────────────────────────────────────────────────────


def _retire(api: Daytona, book: Ledger, options: argparse.Namespace) -> Any:
    work = Retirement(api, book, stage=options.stage, branch=options.branch)
    judged = work.judge()
    for one in judged:
        console.say(f"{one.verdict:6}  {one.snapshot.name}  {one.reason}")
    deleted: list[str] = []
    failed: dict[str, str] = {}
    dropped: list[str] = []
    if not judged and not work.tips:
        console.good(f"{work.whose} has no sandbox: nothing to do")
    elif not options.yes:
        console.say("nothing was deleted: -- retire --yes does it")
    else:
        for one in [j for j in judged if j.verdict == "delete"]:
            if error := _delete_if(api, one.snapshot, work.judge_again()):
                failed[one.snapshot.name] = error
            elif api.snapshot(one.snapshot.id) is None:
                deleted.append(one.snapshot.name)
        # A stage whose snapshots could not be deleted stays, for another try.
        dropped = [] if failed else work.drop()
        kept = sum(j.verdict == "keep" for j in judged)
        stay = f"; {kept} stay, for the reasons above" if kept else ""
        console.good(f"deleted {len(deleted)} snapshots of {work.whose}{stay}")
    _report_deletions(
        f"The sandbox of {markdown.code(work.whose)} goes", judged, deleted, failed,
        dry_run=not options.yes,
    )  # fmt: skip
    result = {
        "branch": options.branch,
        "stages": work.stages,
        "dropped": dropped,
        "dry_run": not options.yes,
        "deleted": deleted,
        "failed": failed,
        "snapshots": _verdicts(judged),
    }
    _raise_failed(result, options)
    return result


_COMMANDS = {
    "list": _list,
    "show": _show,
    "promote": _promote,
    "rollback": _rollback,
    "gc": _gc,
    "retire": _retire,
}
