"""Sessions, one line each in `nox -l`. What they do lives in tasks/; see CONTRIBUTING.md."""

from __future__ import annotations

import sys

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "unit"]

#: Seconds a child has to clean up after Ctrl-C before nox sends SIGTERM, then SIGKILL.
PATIENCE = {"interrupt_timeout": 5.0, "terminate_timeout": 30.0}


def need(session: nox.Session, group: str) -> None:
    session.install("--require-hashes", "-r", f"requirements/{group}.txt")


def task(session: nox.Session, command: str) -> None:
    session.run("python", "-m", "tasks", command, *session.posargs, **PATIENCE)


def bare_task(session: nox.Session, command: str) -> None:
    """For what must run before anything is installed: the standard library is enough."""
    arguments = ["-m", "tasks", command, *session.posargs]
    session.run(sys.executable, *arguments, external=True, **PATIENCE)


@nox.session(venv_backend="none", tags=["setup"])
def setup(session: nox.Session) -> None:
    """Get what is missing: engine, base image, browser"""
    bare_task(session, "setup")


@nox.session(venv_backend="none", tags=["setup"])
def doctor(session: nox.Session) -> None:
    """Show every prerequisite: found, needed, how to fix"""
    bare_task(session, "doctor")


@nox.session(venv_backend="none", tags=["build"])
def snapshot_local(session: nox.Session) -> None:
    """Build the image from the working tree"""
    bare_task(session, "snapshot-local")


@nox.session(tags=["test"])
def local_test(session: nox.Session) -> None:
    """Test a running sandbox, black-box, on Docker"""
    need(session, "test")
    task(session, "local-test")


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style: ruff, shellcheck"""
    need(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    scripts = session.run("git", "ls-files", "*.sh", "apps/os/sandbox/s6-daemons/*", external=True, silent=True)
    session.run("shellcheck", "-x", *[s for s in str(scripts).split() if s.endswith((".sh", "run", "finish"))])


@nox.session(tags=["check"])
def types(session: nox.Session) -> None:
    """Check types strictly"""
    need(session, "lint")
    session.run("mypy")


@nox.session(tags=["check", "test"])
def unit(session: nox.Session) -> None:
    """Test what needs no engine"""
    need(session, "test")
    session.run("pytest", "tests/unit", *session.posargs, **PATIENCE)


@nox.session(venv_backend="none", tags=["deps"])
def deps_compile(session: nox.Session) -> None:
    """Recompile requirements/*.txt from pyproject.toml"""
    bare_task(session, "deps")
