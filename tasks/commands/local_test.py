"""Test a running sandbox, black-box: boot, git, home, services, faults, local mode, agents."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING

from tasks.base import ci, console, project
from tasks.base.errors import CommandFailed, Interrupted, TaskError
from tasks.base.options import Parser, add_faults, add_keep, add_selection, selection
from tasks.build import image
from tasks.engine import discovery
from tasks.github import job
from tasks.github.tally import Tally
from tasks.sandbox import providers, tested

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TESTS = "tests/sandbox"
#: Most of a test's time is waiting, so two at a time also suit a machine with few cores.
WORKERS = 2


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="nox -s local_test --", description=__doc__, allow_abbrev=False)
    parser.add_argument("--image", default=project.LOCAL_IMAGE, help="default: %(default)s")
    add_keep(parser)
    add_selection(parser)
    add_workers(parser)
    add_faults(parser)
    return parser.parse_args(arguments)


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help=f"tests at a time ({WORKERS}, and one at a time with -k or --soak)",
    )


def _workers(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 16:
        raise argparse.ArgumentTypeError("not between 1 and 16")
    return value


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    provider = providers.connect("docker")
    try:
        provider.check(options.image)
    finally:
        provider.close()
    engine = discovery.require()
    tested_image = image.find(engine, options.image)
    judge(run_pytest(pytest_arguments(options, root=project.ROOT), subject=options.image))
    # Of the whole suite, and of an image that nobody replaced meanwhile.
    if options.k is None and tested_image and tested_image == image.find(engine, options.image):
        tested.record(tested_image.id)


def pytest_arguments(
    options: argparse.Namespace, *, root: Path, provider: str = "docker"
) -> list[str]:
    """The suite's, for any provider: the tests do not know which one it is."""
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    arguments = [
        *(str(root / TESTS), "--rootdir", str(root), "-c", str(root / "pyproject.toml")),
        *("-v", "--durations=10", f"--provider={provider}", f"--image={options.image}"),
        f"--seed={seed}",
    ]
    workers = options.workers or (1 if options.k is not None or options.soak else WORKERS)
    if workers > 1:
        # Neighbours share what a module's tests start together; who is done takes from the other.
        arguments += ["--numprocesses", str(workers), "--dist", "worksteal"]
    if options.keep:
        arguments.append("--keep")
    if options.soak:
        arguments.append("--soak")
    return [*arguments, *selection(options)]


def run_pytest(arguments: list[str], *, subject: str, quiet: bool = False) -> int:
    """`quiet` keeps stdout clean: the report goes to stderr."""
    # In this process: whoever ends it ends the tests, and nobody can outlive the other.
    import pytest  # noqa: PLC0415 - not there in the sessions that only import this module

    os.chdir(project.ROOT)
    tally = Tally()
    # In a job both streams are one log, in which nothing but stderr has its order.
    elsewhere = quiet or ci.is_github_job()
    try:
        with (
            job.log_group(f"Tests of {subject}"),
            _stdout_on_stderr() if elsewhere else contextlib.nullcontext(),
        ):
            return int(pytest.main(arguments, plugins=[tally]))
    finally:
        tally.report(subject, diagnostics=_diagnostics())


@contextlib.contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def judge(status: int) -> None:
    """Turn pytest's exit status into this command's."""
    if status == 0:
        console.good("the sandbox passed every test")
    elif status == 1:
        raise CommandFailed(
            "tests failed on the sandbox",
            status=status,
            fix=f"the summary above names each and its folder below {_diagnostics()}",
        )
    elif status == 5:
        raise TaskError("no test matches", fix="leave out -k, or pytest --collect-only")
    elif status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    elif status > 128:
        raise Interrupted(status - 128)
    else:
        raise CommandFailed(f"pytest ended with status {status}", status=status)


def _diagnostics() -> str:
    return str((project.state_dir() / "diagnostics").relative_to(project.ROOT))
