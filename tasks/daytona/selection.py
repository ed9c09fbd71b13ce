"""Which name a publication goes by, among the snapshots that are there. Pure: it asks nobody.

A snapshot of the same source is not always what is asked for: it is available in some regions
only, and its sandboxes have certain resources. Names are unique in an organisation, whatever the
region. So a snapshot that differs in one of these has a name of its own, which says them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.daytona import content
from tasks.daytona.naming import SnapshotName
from tasks.daytona.resources import describe_resources
from tasks.daytona.snapshot import FAILED_STATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.daytona.resources import Resources
    from tasks.daytona.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a snapshot is to be available, and what its sandboxes get. `region` is None for the
    organisation's default, `resources` where any will do.
    """

    region: str | None = None
    resources: Resources | None = None

    @property
    def variant(self) -> str:
        """What a name says of it. Regions may be named otherwise than a name allows."""
        region = re.sub(r"[^A-Za-z0-9_-]", "-", self.region or "default")[:40]
        if self.region and region != self.region:
            region += "-" + hashlib.sha256(self.region.encode()).hexdigest()[:8]
        return f"{region}-{self.resources.slug}" if self.resources else region

    def obstacle(self, snapshot: Snapshot) -> str:
        """Why that snapshot is not this, "" where it is; what the server does not say is fine."""
        if self.region and snapshot.regions and self.region not in snapshot.regions:
            return f"is in region {', '.join(snapshot.regions)}, not in {self.region}"
        sizes = (snapshot.cpu, snapshot.memory, snapshot.disk)
        known_sizes = [size for size in sizes if size is not None]
        if self.resources is None or len(known_sizes) < len(sizes):
            return ""
        if known_sizes != list(self.resources.options().values()):
            return f"has {describe_resources(*known_sizes)}, not {self.resources}"
        return ""


def choose_name(
    snapshots: Iterable[Snapshot],
    generated: SnapshotName,
    *,
    identity: str,
    placement: Placement,
    is_rebuild: bool,
) -> str:
    """The generated name; that of a forced build of the same source, where one is active and none
    is asked for; or a variant's, where the generated one belongs to another placement.
    """
    candidates = [s for s in snapshots if _is_same_source(s, generated, identity)]
    if not is_rebuild:
        forced_builds = [
            s
            for s in candidates
            if content.rebuild_of(s) and s.state == "active" and not placement.obstacle(s)
        ]
        if forced_builds:
            return max(forced_builds, key=lambda snapshot: snapshot.created_at).name
    for snapshot in candidates:
        is_misplaced = snapshot.state not in FAILED_STATES and placement.obstacle(snapshot)
        if snapshot.name == str(generated) and is_misplaced:
            return str(generated.with_variant(placement.variant))
    return str(generated)


def _is_same_source(snapshot: Snapshot, generated: SnapshotName, identity: str) -> bool:
    name = SnapshotName.parse(snapshot.name)
    return (
        name is not None
        and (name.stage, name.identity) == (generated.stage, generated.identity)
        and content.identity_of(snapshot) == identity
    )
