"""What can go wrong with a running sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base.errors import TaskError, TimedOut

if TYPE_CHECKING:
    from tasks.sandbox.values import ExecResult


class SandboxEnded(TaskError):
    """The sandbox stopped running while it was in use."""

    code = "sandbox-ended"


class ServiceFailed(TaskError):
    """A service has given up for good: waiting any longer is of no use."""

    code = "service-failed"


class NotOffered(TaskError):
    """The provider of this sandbox does not offer a capability."""

    code = "not-offered"


class ExecFailed(TaskError):
    """A command inside the sandbox failed although it had to succeed."""

    code = "exec-failed"

    def __init__(self, what: str, result: ExecResult) -> None:
        super().__init__(what)
        self.result = result


class ExecTimedOut(TimedOut):
    """A command inside the sandbox was ended at its deadline; `result` has what it wrote."""

    def __init__(self, what: str, result: ExecResult) -> None:
        super().__init__(what)
        self.result = result
