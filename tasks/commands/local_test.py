"""Test a running sandbox, black-box: boot, git, home, services, faults, local mode, agents."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING

from tasks import console, github, settings
from tasks.errors import CommandFailed, Interrupted, TaskError
from tasks.sandbox import providers
from tasks.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

TESTS = "tests/sandbox"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nox -s local_test --", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--image", default=settings.LOCAL_IMAGE, help="default: %(default)s")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the sandboxes; says how to reach and delete them",
    )
    parser.add_argument("-k", metavar="EXPR", help="only tests that match, as pytest's -k")
    parser.add_argument("-x", action="store_true", help="end at the first failure")
    parser.add_argument("--soak", action="store_true", help="fault tests at full count: hours")
    parser.add_argument("--seed", type=int, metavar="N", help="replay the faults of an earlier run")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    provider = providers.connect("docker")
    try:
        provider.check(options.image)
    finally:
        provider.close()
    judge(run_pytest(pytest_arguments(options, root=settings.ROOT), subject=options.image))


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
    if options.keep:
        arguments.append("--keep")
    if options.soak:
        arguments.append("--soak")
    if options.x:
        arguments.append("-x")
    if options.k is not None:
        arguments += ["-k", options.k]
    return arguments


def run_pytest(arguments: list[str], *, subject: str) -> int:
    # In this process: whoever ends it ends the tests, and nobody can outlive the other.
    import pytest  # noqa: PLC0415 - not there in the sessions that only import this module

    os.chdir(settings.ROOT)
    tally = Tally()
    try:
        # People read it, and stdout is for --json alone.
        with github.group(f"Tests of {subject}"), contextlib.redirect_stdout(sys.stderr):
            return int(pytest.main(arguments, plugins=[tally]))
    finally:
        tally.tell(subject, diagnostics=_diagnostics())


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
    return str((settings.state_dir() / "diagnostics").relative_to(settings.ROOT))
