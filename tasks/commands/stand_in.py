"""Run a local Daytona on loopback, on this machine's engine, until Ctrl-C."""

from __future__ import annotations

import shlex
import signal

from tasks.base import console
from tasks.base.errors import Interrupted
from tasks.base.options import Parser


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s stand_in --", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--json", action="store_true", help="print the environment as JSON")
    options = parser.parse_args(arguments)

    from tasks import standin  # noqa: PLC0415 - heavy: the SDK's models, the engine's client

    with standin.running(standin.Settings(port=options.port)) as s:
        if options.json:
            console.emit_json(s.environment)
        else:
            for name, value in s.environment.items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
        console.good(f"the stand-in listens at {s.url}; Ctrl-C ends it and deletes all it made")
        try:
            signal.pause()
        except (KeyboardInterrupt, Interrupted):
            console.say()
    console.good("the stand-in has ended; nothing of it is left")
