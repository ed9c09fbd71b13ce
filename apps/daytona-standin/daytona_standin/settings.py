"""How fast and how generous the stand-in is. The control interface changes it at run time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from daytona_standin.errors import ApiRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class StandInSettings:
    """Each field is a name of `PATCH /_stand-in/settings`. The comments give Daytona's figures."""

    #: Seconds that a snapshot stays pending, and at least stays pulling.
    transition_seconds: float = 0.3
    #: Seconds until the name of a deleted snapshot is free (Daytona: up to 10).
    removal_seconds: float = 2.0
    #: Seconds between two checks of what is due to be stopped or deleted (Daytona: 10).
    clock_interval_seconds: float = 1.0
    #: Seconds in one minute of auto-stop, auto-delete and time to live (Daytona: 60).
    minute_seconds: float = 60.0
    max_snapshots: int = 30
    max_snapshot_gb: float = 20.0
    max_cpu: int = 4
    max_memory_gb: int = 8
    max_disk_gb: int = 10
    #: Seconds that a request to create a sandbox waits before it answers with the current state.
    creation_wait_seconds: float = 30.0
    #: Refuse sandboxes that are created without an auto-stop, an auto-delete and a time to live.
    require_sandbox_end: bool = False
    #: 401 is what the SDK documents; server v0.190.0 answers 307, to a login page.
    preview_refusal_status: int = 401

    def change(self, values: Mapping[str, Any]) -> None:
        """Set all of `values` or none. Raises `ApiRefusal` for an unknown name or a wrong type."""
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self)}
        for name, value in values.items():
            if name not in defaults:
                raise ApiRefusal(400, f"`{name}` is not a setting; one of {', '.join(defaults)}")
            expected: Any = type(defaults[name])
            if expected is float:
                expected = (float, int)
            if not isinstance(value, expected) or isinstance(value, bool) is not (expected is bool):
                raise ApiRefusal(400, f"the setting `{name}` has the wrong type: {value!r}")
            if value < 0:
                raise ApiRefusal(400, f"the setting `{name}` must not be negative: {value!r}")
        for name, value in values.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
