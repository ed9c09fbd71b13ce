"""What a remote refusal means, and trying again: only what may pass, capped, with jitter.

Standard library only, and no clock of its own: tests pass theirs.
"""

from __future__ import annotations

import email.utils
import math
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from tasks.base import console
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

T = TypeVar("T")

Kind = Literal[
    "auth",  # 401: who are you?
    "scope",  # 403: you, but not this
    "quota",  # full
    "conflict",  # 409: taken, or changing at this moment
    "not-found",
    "rejected",  # any other 4xx, a redirect: it will never be accepted
    "rate",  # 429: later
    "transient",  # 5xx, time-outs: perhaps next time
    "network",  # no reply at all
]
#: What is worth another try. Everything else is said once, at once.
PASSING: Final[frozenset[Kind]] = frozenset({"rate", "transient", "network"})

#: Seconds; no server asks for more in earnest.
_LONGEST_WAIT: Final = 1e9
_QUOTA: Final = re.compile(
    r"quota|maximum allowed|limit (?:exceeded|reached|of)|exceeds? .{0,300}limit", re.IGNORECASE
)


class RemoteFailed(TaskError):
    """A remote service refused or did not answer. `after`: it asked us to wait that long."""

    code = "remote-failed"

    def __init__(
        self,
        problem: str,
        *,
        kind: Kind,
        status: int = 0,
        message: str = "",
        after: float | None = None,
        fix: str = "",
    ) -> None:
        super().__init__(f"{problem} ({kind})", fix=fix)
        self.kind = kind
        if kind in PASSING:
            self.exit_status = 75  # EX_TEMPFAIL of sysexits.h: the same may work later
        self.status = status
        self.message = message
        self.after = after

    @property
    def passing(self) -> bool:
        return self.kind in PASSING


def classify(status: int, message: str = "") -> Kind:
    """What an HTTP status means; quota has no status of its own, only words."""
    if status in {400, 402, 403, 409, 413} and _QUOTA.search(message):
        return "quota"
    kinds: dict[int, Kind] = {
        401: "auth",
        403: "scope",
        404: "not-found",
        408: "transient",
        409: "conflict",
        425: "transient",
        429: "rate",
        501: "rejected",  # what is not implemented is not implemented at the next try, either
        505: "rejected",
    }
    # A redirect that nobody follows is the same at the next try, too.
    return kinds.get(status, "transient" if status >= 500 else "rejected")


def failure(
    doing: str,
    status: int,
    *,
    message: str = "",
    headers: Mapping[str, str] | None = None,
    fix: str = "",
) -> RemoteFailed:
    """The failure that an HTTP reply is. Where the server says how long to wait, so does `fix`."""
    kind, after = classify(status, message), asked_to_wait(headers or {})
    if kind in PASSING and after is not None and after >= 1:
        fix = f"wait {console.seconds(after)}, as it asks, then run it again"
    excerpt = console.printable(message.strip())[:300] or "no message"
    return RemoteFailed(
        f"{doing}: {status} {excerpt}",
        kind=kind,
        status=status,
        message=message,
        after=after,
        fix=fix,
    )


def asked_to_wait(headers: Mapping[str, str], *, current_time: float | None = None) -> float | None:
    """Seconds from `Retry-After` and Daytona's `Retry-After-<throttler>`: the longest counts."""
    waits = [
        seconds
        for name, value in headers.items()
        if name.lower() == "retry-after" or name.lower().startswith("retry-after-")
        if (seconds := _seconds(value, current_time)) is not None
    ]
    return max(waits, default=None)


def _seconds(value: str, current_time: float | None) -> float | None:
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        return min(float(value), _LONGEST_WAIT)
    date = parse_date(value)
    if date is None:
        return None
    return max(0.0, date.timestamp() - (time.time() if current_time is None else current_time))


def parse_date(value: str | None) -> datetime | None:
    """A header's date. None for what is not one, or whose zone is unknown (`-0000`)."""
    try:
        date = email.utils.parsedate_to_datetime(value or "")
    except (ValueError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How often, and how long. `longest` is the most that a server may ask us to wait; after
    `total` seconds no further attempt begins.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 15.0
    longest: float = 120.0
    total: float = math.inf

    def pause(self, attempt: int, *, after: float | None, rng: random.Random) -> float:
        """Seconds before try number `attempt` + 1: what was asked for, or half to all of 2^n."""
        growing: float = min(self.cap, self.base * 2.0 ** (attempt - 1))
        jittered = growing * rng.uniform(0.5, 1.0)
        # Not earlier than asked, and not all of us at the same moment.
        return jittered if after is None else min(after, self.longest) + jittered * 0.2


DEFAULT: Final = Policy()


def call(
    do: Callable[[], T],
    *,
    policy: Policy = DEFAULT,
    sleep: Callable[[float], object] = time.sleep,
    rng: random.Random | None = None,
    report: Callable[[str], object] = console.warn,
) -> T:
    """`do()`, again after failures that may pass. The last failure is raised as it came.

    Only for what may be done twice.
    """
    rng = rng or random.Random()  # noqa: S311 - jitter
    end = time.monotonic() + policy.total
    for attempt in range(1, policy.attempts + 1):
        try:
            return do()
        except RemoteFailed as error:
            too_long = error.after is not None and error.after > policy.longest
            if not error.passing or too_long or attempt == policy.attempts:
                raise
            pause = policy.pause(attempt, after=error.after, rng=rng)
            if time.monotonic() + pause > end:
                raise
            report(
                f"{error.what}; again in {console.seconds(pause)}"
                f" ({attempt} of {policy.attempts - 1})"
            )
            sleep(pause)
    raise AssertionError("unreachable: the last attempt returns or raises")
