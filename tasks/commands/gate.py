"""Judge the jobs of a CI run by NEEDS, which is GitHub's `toJSON(needs)`."""

from __future__ import annotations

import os

from tasks.base import console, markdown
from tasks.base.errors import TaskError
from tasks.base.options import Parser
from tasks.github import gate, job


class Closed(TaskError):
    code = "gate-closed"


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s gate --", description=__doc__)
    parser.parse_args(arguments)
    verdicts = gate.judge(gate.read(os.environ.get("NEEDS", "")))
    for one in verdicts:
        (console.good if one.passes else console.fail)(f"{one.job}: {one.reason}")
    rows = [
        ["✓" if one.passes else "✗", markdown.code(one.job), markdown.plain(one.reason)]
        for one in verdicts
    ]
    job.write_summary("### Gate\n\n" + markdown.table(["", "job", ""], rows))
    closed = [one.job for one in verdicts if not one.passes]
    if closed:
        raise Closed(
            f"the gate is closed: {', '.join(map(console.printable, closed))}",
            fix="look at the log of each, and run the failed jobs again once it is mended",
        )
    console.good("the gate is open")
