"""`nox -s doctor`: every prerequisite, what there is of it, and how to get what is missing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.base.options import Parser, add_json
from tasks.setup import machine_checks

if TYPE_CHECKING:
    from tasks.setup.prerequisite import Prerequisite, PrerequisiteState

MARKS: Final[dict[PrerequisiteState, str]] = {
    "ok": "✓", "missing": "✗", "attention": "!", "absent": "-",
}  # fmt: skip
COLOURS: Final[dict[PrerequisiteState, console.Colour]] = {
    "ok": "green", "missing": "red", "attention": "yellow", "absent": "dim",
}  # fmt: skip


class PrerequisiteMissing(TaskError):
    code = "prerequisite-missing"


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s doctor --", description=__doc__)
    add_json(parser)
    options = parser.parse_args(arguments)
    rows = machine_checks.examine()
    missing = [row.name for row in rows if row.stops_work]
    if options.json:
        checks = [row.to_json() for row in rows]
        console.emit_json({"schema": 1, "ok": not missing, "checks": checks})
    else:
        _show(rows)
    if missing:
        raise PrerequisiteMissing(
            f"missing: {', '.join(missing)}",
            fix="nox -s setup gets what it can; the table names the rest",
        )
    if not options.json:
        console.good("everything that is required is present")


def _show(rows: list[Prerequisite]) -> None:
    """A table, or blocks where the terminal is too narrow for one."""
    cells = [[MARKS[row.state], row.name, console.printable(row.actual), row.requirement]
             for row in rows]  # fmt: skip
    table = console.table(cells, ["", "prerequisite", "found", "needed"]).splitlines()
    is_narrow = max(map(len, table)) > shutil.get_terminal_size((200, 50)).columns
    blocks = [f"{mark} {name}: {actual}" for mark, name, actual, _ in cells]
    if not is_narrow:
        console.say("\n".join(table[:2]))
    for row, line in zip(rows, blocks if is_narrow else table[2:], strict=True):
        console.say(line, COLOURS[row.state])
    for row in rows:
        if row.state in {"missing", "attention"} and row.fix:
            console.say(f"→ {row.name}: {row.fix}")
