"""Run a local Daytona until a signal comes; its address and key are printed as one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from daytona_standin.errors import StandInError
from daytona_standin.server import StandInOptions, running

#: Debian's name of the registry program, and upstream's.
_REGISTRY_PROGRAMS = ("docker-registry", "registry")


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    # A pipe, not a threading.Event: a signal that comes while the main thread begins to wait would
    # find the event's lock taken by that thread, and wait for it for ever.
    end, ending = os.pipe()
    if options.leash:
        threading.Thread(target=_wait_for_end_of_input, args=(ending,), daemon=True).start()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_details: os.write(ending, b"\n"))
    try:
        with running(_stand_in_options(options)) as server:
            print(json.dumps(server.description), flush=True)
            os.read(end, 1)
    except StandInError as error:
        sys.stderr.write(f"daytona_standin: {error}\n")
        return 1
    except BrokenPipeError:
        return 1  # nobody reads our line any more
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m daytona_standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE",
        help="set on every container and image as well; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, help="for its files, removed at the end; default: a temporary one"
    )
    parser.add_argument(
        "--registry-program", type=Path, metavar="PATH",
        help="the distribution's registry; default: docker-registry or registry on PATH",
    )  # fmt: skip
    parser.add_argument(
        "--ca-bundle", type=Path, metavar="FILE",
        help="certificate authorities (PEM) that builds and sandboxes need behind a proxy",
    )  # fmt: skip
    parser.add_argument(
        "--leash", action="store_true", help="end when standard input is closed, too"
    )
    return parser.parse_args(arguments)


def _stand_in_options(options: argparse.Namespace) -> StandInOptions:
    docker_program = shutil.which("docker")
    if docker_program is None:
        raise StandInError("there is no `docker` command on this machine; builds need it")
    registry_program = options.registry_program or next(
        (Path(path) for name in _REGISTRY_PROGRAMS if (path := shutil.which(name))), None
    )
    if registry_program is None:
        raise StandInError(
            "there is no `docker-registry` command on this machine; install Debian's package of"
            " that name, or give --registry-program"
        )
    labels = {}
    for label in options.label:
        name, separator, value = label.partition("=")
        if not name or not separator:
            raise StandInError(f"--label needs NAME=VALUE, not `{label}`")
        labels[name] = value
    return StandInOptions(
        registry_program=registry_program,
        docker_program=docker_program,
        folder=options.folder.resolve() if options.folder else None,
        port=options.port,
        labels=labels,
        ca_bundle=options.ca_bundle,
    )


def _wait_for_end_of_input(ending: int) -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock would outlive the interpreter
        pass
    os.write(ending, b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
