"""How fast and how generous the stand-in is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a test may want otherwise. The hosted service's own figures stand beside ours."""

    port: int = 0
    #: Seconds a snapshot is pending, and pulling or removing at least.
    pace: float = 0.3
    #: Seconds until a deleted snapshot's name is free (Daytona: up to 10).
    removal: float = 2.0
    #: Seconds between two looks at what is due to be stopped or deleted (Daytona: 10).
    check_every: float = 1.0
    #: Seconds in a minute of auto-stop, auto-delete and time to live.
    minute: float = 60.0
    max_snapshots: int = 30
    max_snapshot_gb: float = 20
    max_cpu: int = 4
    max_memory_gb: int = 8
    max_disk_gb: int = 10
    #: Seconds that creating a sandbox waits before it answers with what there is.
    patience: float = 30.0
    #: Refuse sandboxes that are not given an auto-stop, an auto-delete and a time to live.
    mortal: bool = False
    #: 307 to a login page is what server v0.190.0 does; the SDK's own words are 401.
    preview_refusal: int = 401
