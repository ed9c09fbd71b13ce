"""Faults on request: what goes wrong, where, and how often."""

from __future__ import annotations

import fnmatch
import itertools
import threading
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from daytona_standin.errors import ApiRefusal

FaultKind = Literal[
    # Of any request, at the front door:
    "status",  # refuse with `status`; `plain`: with a page that is not JSON; `retry_after`
    "lost-reply",  # carry the request out, then answer `status` all the same
    "drop",  # close the connection instead of answering
    "lost-connection",  # carry the request out, then close the connection
    "slow",  # wait `seconds` first
    # Of what the stand-in does:
    "build-fails",  # the build ends with an error at its first step
    "build-failed-state",  # the same, shown as the state `build_failed`
    "pending-forever",  # the snapshot never leaves the state `pending`
    "slow-build",  # building takes `seconds` longer
    "log-stuck",  # the log stream says nothing more and does not end
    "log-cut",  # the log stream breaks off after `count` bytes
    "quota-full",  # no further snapshot is allowed
    "slow-start",  # a sandbox takes `seconds` longer to start
    "failed-start",  # a sandbox does not start
    "delete-ignored",  # a deletion is answered, and does not happen
    # Of the object storage:
    "upload-cut",  # the connection of an upload breaks after `count` bytes
    "upload-status",  # an upload is answered with `status`
]
DOOR_KINDS: Final = frozenset({"status", "lost-reply", "drop", "lost-connection", "slow"})
STORAGE_KINDS: Final = frozenset({"upload-cut", "upload-status"})

_numbers = itertools.count(1)


@dataclass(kw_only=True)
class InjectedFault:
    """`struck` counts how often it has struck; everything else is the request's."""

    kind: FaultKind
    #: `METHOD /path` of a request, or the name or id of a snapshot or sandbox; `*`: anything.
    on: str = "*"
    #: How often it strikes; -1: until it is removed.
    times: int = 1
    #: So many matching occasions pass first.
    skip: int = 0
    status: int = 500
    plain: bool = False
    retry_after: float | None = None
    seconds: float = 0.0
    count: int = 0
    id: int = field(default_factory=lambda: next(_numbers))
    struck: int = 0

    @classmethod
    def from_json(cls, value: Any) -> InjectedFault:
        """Raises `ApiRefusal` for an unknown kind or field and for a value of the wrong type."""
        if not isinstance(value, dict) or value.get("kind") not in get_args(FaultKind):
            raise ApiRefusal(
                400, f"a fault needs a `kind`, one of {', '.join(get_args(FaultKind))}"
            )
        for name, content in value.items():
            expected = _TYPES.get(name)
            if expected is None:
                raise ApiRefusal(
                    400, f"`{name}` is not a field of a fault; {', '.join(_TYPES)} are"
                )
            if not isinstance(content, expected) or isinstance(content, bool) != (expected is bool):
                raise ApiRefusal(400, f"the field `{name}` of a fault has the wrong type")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_NUMBER: Final = (int, float)
_TYPES: Final[dict[str, Any]] = {
    "kind": str, "on": str, "times": int, "skip": int, "status": int, "plain": bool,
    "retry_after": _NUMBER, "seconds": _NUMBER, "count": int,
}  # fmt: skip


class FaultBook:
    """The faults that are still to come, and those that have struck."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[InjectedFault] = []

    def add(self, fault: InjectedFault) -> InjectedFault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def to_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.to_json() for fault in self._faults]

    def strike(self, kind: FaultKind, *names: str) -> InjectedFault | None:
        """The fault of that kind that is due for any of `names`; it counts as struck."""
        return self._take(frozenset({kind}), names)

    def strike_request(self, method: str, path: str) -> InjectedFault | None:
        return self._take(DOOR_KINDS, (f"{method} {path}",))

    def _take(self, kinds: frozenset[str], names: tuple[str, ...]) -> InjectedFault | None:
        with self._lock:
            for fault in self._faults:
                if fault.kind not in kinds or fault.times == 0:
                    continue
                if not any(fnmatch.fnmatchcase(name, fault.on) for name in names):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1 if fault.times > 0 else 0
                fault.struck += 1
                return fault
        return None
