"""Judge the jobs of a CI run by the variable NEEDS, which is GitHub's `toJSON(needs)`."""

from __future__ import annotations

import os

from tasks.base import console, markdown
from tasks.base.options import Parser
from tasks.github import gate, job
from tasks.github.gate import GateClosed


def main(arguments: list[str]) -> None:
    Parser(prog="nox -s ci -- gate", description=__doc__).parse_args(arguments)
    verdicts = gate.judge(gate.read(os.environ.get("NEEDS", "")))
    for verdict in verdicts:
        (console.good if verdict.passes else console.fail)(f"{verdict.job}: {verdict.reason}")
    rows = [
        ["✓" if verdict.passes else "✗", markdown.code(verdict.job), markdown.plain(verdict.reason)]
        for verdict in verdicts
    ]
    job.write_summary("### Gate\n\n" + markdown.table(["", "job", ""], rows))
    failures = [verdict.job for verdict in verdicts if not verdict.passes]
    if failures:
        raise GateClosed(
            f"the gate is closed: {', '.join(map(console.printable, failures))}",
            fix="look at the log of each, and run the failed jobs again once it is mended",
        )
    console.good("the gate is open")
