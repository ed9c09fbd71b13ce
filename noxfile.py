"""Sessions, one line each in `nox -l`. What they do lives in tasks/; see CONTRIBUTING.md."""

from __future__ import annotations

import os
import re
import sys

import nox

# Paths, branches and messages are UTF-8, whatever the locale is.
os.environ.setdefault("PYTHONUTF8", "1")
# `python -m tasks` finds the folder in which nox starts it.
os.environ.pop("PYTHONSAFEPATH", None)

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "unit"]

# Seconds a child has to clean up after Ctrl-C before nox sends SIGTERM, then SIGKILL.
AFTER_INTERRUPT = 5.0
AFTER_TERMINATE = 30.0
NEWEST = "--newest-sdk"


def need(session: nox.Session, group: str, *, engine: bool = False) -> None:
    """Install a requirement file; without an engine that is needed, say so before that."""
    if engine:
        session.run(sys.executable, "-m", "tasks", "require-engine", external=True, log=False)
    session.install("--require-hashes", "-r", f"requirements/{group}.txt")


def task(session: nox.Session, command: str, *arguments: str) -> None:
    """Run one of tasks/commands/, in the session's environment or, without one, in nox's own."""
    session.run(
        sys.executable if session.virtualenv.venv_backend == "none" else "python",
        *("-m", "tasks", command, *arguments),
        external=True,
        stderr=None,  # apart from stdout, which is for --json alone: nox would join them
        interrupt_timeout=AFTER_INTERRUPT,
        terminate_timeout=AFTER_TERMINATE,
    )


def declared(package: str) -> str:
    """A package of the group of its name, within the range that pyproject.toml allows."""
    group = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), package)
    return next(one for one in group if re.split(r"[^\w.-]", one)[0] == package)


@nox.session(venv_backend="none", tags=["setup"])
def setup(session: nox.Session) -> None:
    """Get what is missing: engine, base image, browser, registry."""
    task(session, "setup", *session.posargs)


@nox.session(venv_backend="none", tags=["github"])
def plan(session: nox.Session) -> None:
    """Say whether the image of a ref is another one than its base's."""
    task(session, "plan", *session.posargs)


@nox.session(tags=["github"])
def github_comment(session: nox.Session) -> None:
    """Keep one comment of ours on a pull request up to date."""
    need(session, "daytona")
    task(session, "github-comment", *session.posargs)


@nox.session(tags=["github"])
def github_check(session: nox.Session) -> None:
    """Check what a person sets up on GitHub once."""
    need(session, "daytona")
    task(session, "github-check", *session.posargs)


@nox.session(tags=["github"])
def bump_pull_request(session: nox.Session) -> None:
    """Put what bump_versions changed into one pull request."""
    need(session, "daytona")
    task(session, "bump-pull-request", *session.posargs)


@nox.session(venv_backend="none", tags=["setup"])
def doctor(session: nox.Session) -> None:
    """Show every prerequisite: found, needed, how to fix."""
    task(session, "doctor", *session.posargs)


@nox.session(venv_backend="none", tags=["build"])
def snapshot_local(session: nox.Session) -> None:
    """Build iterate-sandbox:local from the working tree."""
    task(session, "snapshot-local", *session.posargs)


@nox.session(tags=["build"])
def snapshot_daytona(session: nox.Session) -> None:
    """Publish a git ref as a snapshot at Daytona."""
    # An image is tested before it is pushed.
    need(session, "test" if any("push" in given for given in session.posargs) else "daytona")
    task(session, "snapshot-daytona", *session.posargs)


@nox.session(tags=["build"])
def snapshots(session: nox.Session) -> None:
    """List, show, promote, roll back, clean up snapshots."""
    need(session, "daytona")
    task(session, "snapshots", *session.posargs)


@nox.session(tags=["test"])
def local_test(session: nox.Session) -> None:
    """Test a running sandbox, black-box, on Docker."""
    need(session, "test", engine=True)
    task(session, "local-test", *session.posargs)


@nox.session(tags=["test"])
def daytona_test(session: nox.Session) -> None:
    """Test a running sandbox, black-box, at Daytona."""
    need(session, "test")
    task(session, "daytona-test", *session.posargs)


@nox.session
def stand_in(session: nox.Session) -> None:
    """Run a local Daytona on loopback until Ctrl-C."""
    need(session, "test")
    task(session, "stand-in", *session.posargs)


@nox.session(tags=["test"])
def stand_in_test(session: nox.Session) -> None:
    """Test the local Daytona with the real SDK; --newest-sdk: of 0.x."""
    need(session, "test")
    arguments = [one for one in session.posargs if one != NEWEST]
    if arguments != session.posargs:
        session.install("--upgrade", declared("daytona"))
    task(session, "stand-in-test", *arguments)


@nox.session(tags=["test"])
def daytona_faults(session: nox.Session) -> None:
    """Test publishing under faults, on a stand-in of Daytona."""
    need(session, "test")
    roads = ["--ignore=tests/daytona/test_roads.py", "--ignore=tests/daytona/test_suite.py"]
    places = ["tests/daytona", *roads, "tests/unit/daytona", "tests/unit/commands", "tests/git"]
    shared = ["--numprocesses", "2", "--dist", "loadfile", "-p", "no:anyio"]
    session.run("pytest", *places, "--cases", *shared, *session.posargs)


@nox.session(tags=["test"])
def daytona_roads(session: nox.Session) -> None:
    """Test both roads to Daytona, and daytona_test itself."""
    need(session, "test", engine=True)
    roads = ["tests/daytona/test_roads.py", "tests/daytona/test_suite.py"]
    session.run("pytest", *roads, "-p", "no:anyio", *session.posargs)


@nox.session(tags=["test"])
def image_test(session: nox.Session) -> None:
    """Test how the image is built, with real builds."""
    need(session, "test", engine=True)
    task(session, "image-test", *session.posargs)


@nox.session(tags=["test"])
def web_test(session: nox.Session) -> None:
    """Test the daemon's page in a real browser."""
    need(session, "test", engine=True)
    task(session, "web-test", *session.posargs)


@nox.session(tags=["test"])
def workflow_test(session: nox.Session) -> None:
    """Rehearse the workflows here, and break each of their rules."""
    need(session, "lint", engine=True)
    two = ("--numprocesses", "2", "--dist", "loadfile")  # one rehearses, one breaks rules
    session.run("pytest", "tests/workflows", "-p", "no:anyio", *two, *session.posargs)


@nox.session(venv_backend="none", tags=["ci"])
def sandbox_plan(session: nox.Session) -> None:
    """Say what GitHub's event asks for at Daytona."""
    task(session, "sandbox-plan", *session.posargs)


@nox.session(venv_backend="none", tags=["ci"])
def gate(session: nox.Session) -> None:
    """Judge the jobs of a CI run."""
    task(session, "gate", *session.posargs)


@nox.session(
    venv_backend="none",
    requires=["lint", "types", "unit", "git_test", "bump_test", "deps_check", "snapshot_local",
              "local_test", "web_test", "image_test", "stand_in_test", "daytona_faults",
              "daytona_roads", "workflow_test"],
)  # fmt: skip
def tests(session: nox.Session) -> None:
    """Run every check and test."""
    session.log("every check and test has passed")


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style and workflows: ruff, shellcheck, actionlint, zizmor."""
    need(session, "lint")
    task(session, "lint", *session.posargs)


@nox.session(tags=["check"])
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    need(session, "lint")
    session.run("mypy")


@nox.session(tags=["check", "test"])
def unit(session: nox.Session) -> None:
    """Test what needs no engine."""
    need(session, "test")
    session.run("pytest", "tests/unit", "--numprocesses", "auto", *session.posargs)


@nox.session(tags=["test"])
def bump_test(session: nox.Session) -> None:
    """Test the bumper as a command, on a registry of its own."""
    need(session, "test")
    session.run("pytest", "tests/bump", "--numprocesses", "auto", *session.posargs)


@nox.session(tags=["check", "test"])
def git_test(session: nox.Session) -> None:
    """Test contexts, refs and local mode's sync on real repositories."""
    need(session, "test")
    session.run("pytest", "tests/git", "--numprocesses", "auto", *session.posargs)


@nox.session(tags=["deps"])
def bump_versions(session: nox.Session) -> None:
    """Move the image's pinned versions, safely."""
    need(session, "test")
    task(session, "bump-versions", *session.posargs)


@nox.session(tags=["deps"])
def deps_compile(session: nox.Session) -> None:
    """Recompile the hash-pinned requirement files."""
    need(session, "nox")  # the pinned uv: another may word the same pins differently
    task(session, "deps", *session.posargs)


@nox.session(tags=["deps"])
def deps_check(session: nox.Session) -> None:
    """Check that the requirement files are up to date."""
    need(session, "nox")
    task(session, "deps", "--check")
