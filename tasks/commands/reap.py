"""Delete what runs left behind on an engine. Live runs are never touched without being named."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from tasks.base import console
from tasks.base.options import Parser
from tasks.sandbox import providers, reaper


def main(arguments: list[str]) -> None:
    parser = Parser(prog="python -m tasks reap", description=__doc__)
    parser.add_argument(
        "--run",
        metavar="ID",
        help="all of this run, kept or alive; otherwise of all dead runs",
    )
    parser.add_argument("--provider", choices=providers.PROVIDERS, default=providers.DEFAULT)
    parser.add_argument("--list", action="store_true", help="only show what there is")
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.watch and not options.run:
        parser.error("--watch needs --run")
    with providers.connect(options.provider) as provider:
        if options.list:
            belongings = provider.belongings()
            judged = reaper.verdicts(belongings, current_time=time.time())
            for belonging in belongings:
                console.say(f"{judged[belonging.run]:8} {belonging.kind:10} {belonging.name}")
            return
        if options.watch:
            for signum in (signal.SIGINT, signal.SIGHUP):  # they are for the run, not for us
                signal.signal(signum, signal.SIG_IGN)
            reaped_belongings = reaper.watch(provider, options.run, sys.stdin.buffer)
        elif options.run:
            reaped_belongings = reaper.reap_run(provider, options.run)
        else:
            reaped_belongings = reaper.reap_dead(provider)
    for belonging in reaped_belongings:
        console.say(f"deleted {belonging.kind} {belonging.name} of run {belonging.run}")
    if not reaped_belongings and not options.watch:
        console.good("nothing to delete")
