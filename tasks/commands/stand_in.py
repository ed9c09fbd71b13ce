"""Run a local Daytona on loopback, on this machine's engine, until Ctrl-C."""

from __future__ import annotations

import shlex

from tasks.base import console
from tasks.base.errors import Interrupted
from tasks.base.options import Parser
from tasks.sandbox import stand_in


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s stand_in --", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--json", action="store_true", help="print the environment as JSON")
    options = parser.parse_args(arguments)
    with stand_in.running(port=options.port) as local_daytona:
        if options.json:
            console.emit_json(dict(local_daytona.environment))
        else:
            for name, value in local_daytona.environment.items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
        url = local_daytona.environment["DAYTONA_API_URL"]
        console.good(f"the stand-in listens at {url}; Ctrl-C ends it and deletes all it has made")
        try:
            local_daytona.wait()
        except (KeyboardInterrupt, Interrupted):
            console.say()
    console.good("the stand-in has ended; nothing of it is left")
