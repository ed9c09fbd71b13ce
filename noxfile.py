"""Sessions, one line each in `nox -l`. What they do lives in tasks/; see CONTRIBUTING.md."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys

import nox
from nox.command import CommandFailed

# Paths, branches and messages are UTF-8, whatever the locale is.
os.environ.setdefault("PYTHONUTF8", "1")
# `python -m tasks` finds the folder in which nox starts it.
os.environ.pop("PYTHONSAFEPATH", None)

#: What follows `--`, for the sessions.
POSARGS = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
#: Help needs no packages: it comes from nox's own Python, before any environment is made.
HELP = not {"-h", "--help", "--list"}.isdisjoint(POSARGS)
#: Steps of the workflows that need packages; the other ones run in nox's own Python.
ASKS_GITHUB = not {"bump-pull-request", "github-check", "github-comment"}.isdisjoint(POSARGS[:1])

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "none" if HELP else "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "unit"]

# Seconds a child has to clean up after Ctrl-C before nox sends SIGTERM, then SIGKILL.
AFTER_INTERRUPT = 5.0
AFTER_TERMINATE = 30.0


def check_command_line() -> None:
    """End with one line that names the right command where nox would only say "not found"."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    spellings = ("-s", "-e", "--session", "--sessions")
    parser.add_argument(*spellings, dest="sessions", nargs="*", action="extend", default=[])
    parser.add_argument("-k", "--keywords", dest="keywords")
    words = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    line, _ = parser.parse_known_args(words)
    sessions = [*nox.registry.get()]
    requested = line.sessions + (["-k", line.keywords] if line.sessions and line.keywords else [])
    if not set(requested) <= set(sessions):
        command = [sys.executable, "-m", "tasks", "suggest-session"]
        listed = [f"--session={name}" for name in sessions]
        sys.exit(subprocess.run([*command, *listed, "--", *requested], check=False).returncode)


def need(session: nox.Session, group: str, *check: str) -> None:
    """Install a requirement file; before that, run a command that looks for what is missing."""
    if HELP:
        return
    if check:
        task(session, *check, python=sys.executable, log=False)
    session.install("--require-hashes", "-r", f"requirements/{group}.txt")


def task(session: nox.Session, *words: str, python: str = "", log: bool = True) -> None:
    """Run one of tasks/commands/, in the session's environment or, without one, in nox's own.

    nox answers 1 for every failed session. A status that says more (2: bad input, 75: try again,
    124: out of time) ends nox with that status, at once.
    """
    bare = session.virtualenv.venv_backend == "none"
    try:
        session.run(
            *(python or (sys.executable if bare else "python"), "-m", "tasks", *words),
            external=True,
            log=log,
            stderr=None,  # apart from stdout, which is for --json alone: nox would join them
            interrupt_timeout=AFTER_INTERRUPT,
            terminate_timeout=AFTER_TERMINATE,
        )
    except CommandFailed as failure:
        code = re.fullmatch(r"Returned code (-?\d+)", str(failure))
        status = int(code[1]) if code else 1
        if status == 1:
            raise
        sys.exit(status if status > 0 else 128 - status)  # -15: ended by signal 15


def declared(package: str) -> str:
    """A package of the group of its name, within the range that pyproject.toml allows."""
    group = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), package)
    return next(line for line in group if re.split(r"[^\w.-]", line)[0] == package)


@nox.session(venv_backend="none", tags=["setup"])
def setup(session: nox.Session) -> None:
    """Get what is missing: engine, base image, browser, registry."""
    task(session, "setup", *session.posargs)


@nox.session(venv_backend="none", tags=["setup"])
def doctor(session: nox.Session) -> None:
    """Show every prerequisite: found, needed, how to fix."""
    task(session, "doctor", *session.posargs)


@nox.session(venv_backend="none", tags=["sandbox"])
def snapshot_local(session: nox.Session) -> None:
    """Build iterate-sandbox:local from the working tree."""
    task(session, "snapshot-local", *session.posargs)


@nox.session(tags=["sandbox"])
def local_test(session: nox.Session) -> None:
    """Test a running sandbox, black-box, on Docker."""
    need(session, "test", "require-engine")
    task(session, "local-test", *session.posargs)


@nox.session(tags=["daytona"])
def snapshot_daytona(session: nox.Session) -> None:
    """Publish a git ref as a snapshot at Daytona."""
    # An image is tested before it is pushed.
    need(session, "test" if any("push" in word for word in session.posargs) else "daytona")
    task(session, "snapshot-daytona", *session.posargs)


@nox.session(tags=["daytona"])
def daytona_test(session: nox.Session) -> None:
    """Test a running sandbox, black-box, at Daytona."""
    need(session, "test")
    task(session, "daytona-test", *session.posargs)


@nox.session(tags=["daytona"])
def snapshots(session: nox.Session) -> None:
    """List, show, promote, roll back, clean up snapshots."""
    need(session, "daytona")
    task(session, "snapshots", *session.posargs)


@nox.session(tags=["daytona"])
def stand_in(session: nox.Session) -> None:
    """Run a local Daytona on loopback until Ctrl-C."""
    if not HELP:
        session.install("--require-hashes", "-r", "apps/daytona-standin/requirements.txt")
    task(session, "stand-in", *session.posargs)


@nox.session(tags=["pins"])
def bump_versions(session: nox.Session) -> None:
    """Move the image's pinned versions, safely."""
    need(session, "test")
    task(session, "bump-versions", *session.posargs)


@nox.session(tags=["pins"])
def deps(session: nox.Session) -> None:
    """Compile the hash-pinned requirement files, or `-- --check` them."""
    need(session, "nox")  # the pinned uv: another may word the same pins differently
    task(session, "deps", *session.posargs)


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style and workflows: ruff, shellcheck, actionlint, zizmor."""
    need(session, "lint")
    task(session, "lint", *session.posargs)


@nox.session(tags=["check"])
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    need(session, "lint")
    task(session, "types", *session.posargs)


@nox.session(tags=["check"])
def unit(session: nox.Session) -> None:
    """Test what needs no engine."""
    need(session, "test")
    task(session, "unit", *session.posargs)


@nox.session(tags=["check"])
def tests(session: nox.Session) -> None:
    """Run every check and test, or areas of them: `-- image web`."""
    need(session, "lint", "tests", "--prerequisites", *session.posargs)
    if "--newest-sdk" in session.posargs and not HELP:
        session.install("--upgrade", declared("daytona"))
    task(session, "tests", *session.posargs)


@nox.session(venv_backend=None if ASKS_GITHUB else "none", tags=["ci"])
def ci(session: nox.Session) -> None:
    """Run a step of the workflows: `-- COMMAND`, see `-- --help`."""
    if ASKS_GITHUB:
        need(session, "daytona")
    task(session, "ci", *session.posargs)


check_command_line()
