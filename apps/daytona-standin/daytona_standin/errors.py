"""The two ways in which the stand-in says no: to a request, and to whoever started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class StandInError(Exception):
    """The stand-in cannot start or go on. The text is one line for people."""


class ApiRefusal(Exception):
    """A request cannot be carried out; it is answered with this HTTP status and message."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def not_imitated(subject: str) -> ApiRefusal:
    """The server would do something here that the stand-in cannot do: 501."""
    return ApiRefusal(501, f"Not Implemented: the stand-in does not imitate {subject}")
