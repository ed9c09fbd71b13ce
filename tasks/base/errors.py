"""Failures a user can meet: one line saying what failed, then what to do."""

from __future__ import annotations

from typing import ClassVar


class TaskError(Exception):
    """An expected failure. Printed as one line, without a traceback.

    `fix` is the next thing to type or do; `code` is a stable word for machine output.
    """

    code: ClassVar[str] = "failed"
    exit_status: int = 1

    def __init__(self, problem: str, *, fix: str = "") -> None:
        super().__init__(problem)
        self.what = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} → {self.fix}" if self.fix else self.what

    @property
    def notes(self) -> tuple[str, ...]:
        """What is true in spite of the failure, as `add_note` was told: `prd is still …`."""
        return tuple(getattr(self, "__notes__", ()))


class BadInput(TaskError):
    """The user's argument, environment or repository cannot be used; nothing was started."""

    code = "bad-input"
    exit_status = 2


class CommandFailed(TaskError):
    """A child process ended with a failure."""

    code = "command-failed"

    def __init__(self, problem: str, *, status: int, output: str = "", fix: str = "") -> None:
        super().__init__(problem, fix=fix)
        self.status = status
        self.output = output

    @property
    def last_line(self) -> str:
        """The last line of the child's output, "" where there is none."""
        return next(iter(self.output.strip().splitlines()[::-1]), "")


class MissingTool(TaskError):
    code = "missing-tool"


class TimedOut(TaskError):
    code = "timed-out"
    exit_status = 124  # as timeout(1)


class Interrupted(BaseException):
    """SIGTERM, or the death of the parent: handled as Ctrl-C is, so that every `finally` runs."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
