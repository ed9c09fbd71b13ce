"""From a resolved request to an active snapshot at Daytona, by either of two roads.

remote: the context goes up in parts, Daytona builds. No local engine is needed.
push:   the image is built here and tested here; its very layers go to Daytona's registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tasks.base import console
from tasks.base.project import new_log
from tasks.daytona.ensure import Misplaced, SnapshotOrder, ensure_active
from tasks.daytona.push_road import PushRoad
from tasks.daytona.remote_road import RemoteRoad
from tasks.daytona.selection import Placement, choose_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.build.image import Image
    from tasks.daytona.api import Daytona
    from tasks.daytona.ensure import ActiveSnapshot
    from tasks.daytona.request import ResolvedRequest
    from tasks.daytona.snapshot import Snapshot
    from tasks.daytona.transfer import TransferReport


class Road(Protocol):
    """What happens between "it is not there" and Daytona's making it; `create` may be called
    again. `report` is None as long as nothing had to be uploaded; `digest` names a pushed image.
    """

    @property
    def report(self) -> TransferReport | None: ...
    @property
    def digest(self) -> str: ...
    def create(self) -> Snapshot: ...


@dataclass(frozen=True, kw_only=True)
class Publication:
    """An active snapshot of what was asked for, and how it came to be."""

    request: ResolvedRequest
    active: ActiveSnapshot
    report: TransferReport | None = None
    digest: str = ""
    request_region: str = ""

    @property
    def name(self) -> str:
        return self.active.snapshot.name

    @property
    def region(self) -> str:
        """The one it was made for, "" where the server does not say."""
        return self.request_region or next(iter(self.active.snapshot.regions), "")

    @property
    def is_new(self) -> bool:
        """Whether this run has seen it being made."""
        return self.active.outcome in {"built", "attached"}

    def record(self) -> dict[str, Any]:
        return {
            "snapshot_name": self.name,
            "snapshot_id": self.active.snapshot.id,
            "state": self.active.snapshot.state,
            "reused": not self.is_new,
            "how": self.active.outcome,
            "log": str(self.active.log) if self.active.log else None,
            "upload": None if self.report is None else self.report.record(),
            "digest": self.digest or None,
        }


def publish(
    api: Daytona,
    request: ResolvedRequest,
    *,
    check_image: Callable[[Image], None] | None = None,
    before_creation: Callable[[], None] | None = None,
) -> Publication:
    """The snapshot, active. Whatever is there of it is used.

    `before_creation` is called before anything is built or sent. `check_image` is called with an
    image before it is pushed. Each raises if the snapshot must not be made.
    """
    try:
        return _publish(api, request, check_image, before_creation)
    except Misplaced:
        if request.request.name is not None:
            raise
        # Between the look and the creation somebody has published it for another region.
        return _publish(api, request, check_image, before_creation)


def _publish(
    api: Daytona,
    request: ResolvedRequest,
    check_image: Callable[[Image], None] | None,
    before_creation: Callable[[], None] | None,
) -> Publication:
    placement = Placement(region=api.credentials.target, resources=request.request.resources)
    name = _choose_name(api, request, placement)
    log = new_log("snapshot-daytona")
    road: Road
    if request.request.via == "push":
        road = PushRoad(api, request, name, log, check_image)
    else:
        road = RemoteRoad(api, request, name)

    def create() -> Snapshot:
        if before_creation is not None:
            before_creation()
        return road.create()

    order = SnapshotOrder(
        name=name,
        identity=request.source.identity,
        create=create,
        resume_command=request.resume_command,
        rebuild=request.request.rebuild,
        placement=placement,
    )
    active = ensure_active(api, order, log=log, timeout=request.request.timeout)
    verbs = {"reused": "is there already", "activated": "is active again"}
    verb = verbs.get(active.outcome, "is active")
    console.good(f"snapshot {name} {verb}, {console.seconds(active.seconds)}")
    return Publication(
        request=request,
        active=active,
        report=road.report,
        digest=road.digest,
        request_region=placement.region or "",
    )


def _choose_name(api: Daytona, request: ResolvedRequest, placement: Placement) -> str:
    if request.request.name is not None:
        return request.request.name
    return choose_name(
        api.snapshots.list_all(),
        request.generated_name,
        identity=request.source.identity,
        placement=placement,
        is_rebuild=bool(request.request.rebuild),
    )
