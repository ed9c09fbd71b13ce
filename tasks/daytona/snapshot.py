"""One snapshot as Daytona describes it, of this or an older server, and the states it can be in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tasks.daytona.answers import JsonAnswer

State = str
#: On its way to active, or to an error.
UNDER_WAY: Final = frozenset({"pending", "building", "pulling", "snapshotting"})
FAILED_STATES: Final = frozenset({"error", "build_failed"})
KNOWN_STATES: Final = UNDER_WAY | FAILED_STATES | {"active", "inactive", "removing"}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """`bytes` is its size; `created_at` and `used_at` are times in ISO 8601, "" where Daytona names
    none. `regions` are those in which it can be used, empty where the server does not say. A
    sandbox of it has so many CPUs and GB of memory and disk.
    """

    id: str
    name: str
    state: State
    general: bool = False
    reason: str = ""
    bytes: float | None = None
    created_at: str = ""
    used_at: str = ""
    image: str = ""
    dockerfile: str = ""
    contexts: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    cpu: float | None = None
    memory: float | None = None
    disk: float | None = None

    @classmethod
    def from_answer(cls, answer: JsonAnswer) -> Snapshot:
        """Only the id and the name must be there: servers differ in the rest."""
        build = answer.child("buildInfo")
        size = answer.number("size")
        return cls(
            id=answer.text("id"),
            name=answer.text("name"),
            state=answer.optional_text("state") or "unknown",
            general=answer.flag("general"),
            reason=answer.optional_text("errorReason"),
            # The server counts in GB (2^30).
            bytes=None if size is None else size * 2**30,
            created_at=answer.optional_text("createdAt"),
            used_at=answer.optional_text("lastUsedAt"),
            image=answer.optional_text("imageName"),
            dockerfile=build.optional_text("dockerfileContent"),
            contexts=build.texts("contextHashes"),
            entrypoint=answer.texts("entrypoint"),
            regions=answer.texts("regionIds"),
            cpu=answer.number("cpu"),
            memory=answer.number("mem"),
            disk=answer.number("disk"),
        )
