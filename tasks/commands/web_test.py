"""Test the daemon's page in a browser, on a running sandbox."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tasks.base import console, programs, project
from tasks.base.errors import CommandFailed, TaskError
from tasks.base.options import Parser, add_selection, selection
from tasks.sandbox import providers
from tasks.sandbox.run import Run
from tasks.sandbox.sandbox import Spec

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tasks.sandbox.sandbox import Provider, Sandbox

TESTS = "tests/web"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="nox -s web_test --", description=__doc__, allow_abbrev=False)
    parser.add_argument("--image", default=project.LOCAL_IMAGE, help="default: %(default)s")
    parser.add_argument(
        "--keep", action="store_true", help="leave the sandbox, and say how to reach and delete it"
    )
    add_selection(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    programs.require_browser()
    provider = providers.connect("docker")
    try:
        provider.check(options.image)
        status = _run_pytest(options, provider)
    finally:
        provider.close()
    _judge(status)


def _run_pytest(options: argparse.Namespace, provider: Provider) -> int:
    import pytest  # noqa: PLC0415 - not there in the sessions that only import this module

    class OneSandbox:
        """The fixture that the tests start from."""

        @pytest.fixture(scope="session")
        @classmethod
        def sandbox(cls) -> Iterator[Sandbox]:
            spec = Spec(image=options.image, purpose="web")
            with Run(provider, keep=options.keep) as run, provider.create(spec, run) as sandbox:
                sandbox.start()
                sandbox.wait_until_ready()
                yield sandbox
                if options.keep:
                    console.say(f"kept {sandbox.name}: {sandbox.how_to_reach()}")
                    console.say(f"to delete it: {sandbox.how_to_delete()}")

    # pytest tidies up after Ctrl-C, so every end comes as one.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)
    os.chdir(project.ROOT)
    arguments = [TESTS, "-v", "--durations=8", *selection(options)]
    return int(pytest.main(arguments, plugins=[OneSandbox()]))


def _judge(status: int) -> None:
    if status == 0:
        console.good("the page passed every test")
    elif status == 2:
        raise KeyboardInterrupt
    elif status == 5:
        raise TaskError("no test matches", fix="leave out -k, or pytest --collect-only")
    else:
        where = (project.state_dir() / "web").relative_to(project.ROOT)
        raise CommandFailed(
            "tests of the page failed",
            status=status,
            fix=f"the summary above names each; their last pictures are in {where}/",
        )
