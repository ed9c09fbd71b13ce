"""What is in a snapshot of ours, and how a snapshot shows that it is ours.

Daytona's snapshots carry no labels. What was built of a context says its identity in its
Dockerfile, what was pushed says it in the tag of its image.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tasks.base import project
from tasks.daytona.naming import SnapshotName

if TYPE_CHECKING:
    from tasks.daytona.snapshot import Snapshot

_MARK: Final = f"# {project.SLUG} identity "
_IDENTITY: Final = re.compile(rf"^{re.escape(_MARK)}([0-9a-f]{{64}})$", re.MULTILINE)
_REBUILD: Final = re.compile(r"^# rebuild ([0-9a-z]+)$", re.MULTILINE)
#: With "-" for ":", a repository of its own for each identity, as they were made once.
_PUSHED_IMAGE: Final = re.compile(
    rf"/{re.escape(project.IMAGE)}[:-]([0-9a-f]{{64}})(?:-([0-9a-z]+))?@sha256:"
)


def mark_dockerfile(dockerfile: str, identity: str, *, rebuild: str = "") -> str:
    """The Dockerfile as it is sent: it says what it builds, and a `rebuild` makes it another text,
    since Daytona builds no text twice.
    """
    mark = _MARK + identity + "\n" + (f"# rebuild {rebuild}\n" if rebuild else "")
    return dockerfile.rstrip("\n") + "\n" + mark


def tag_of(identity: str, *, rebuild: str = "") -> str:
    """The tag of a pushed image. All images of the project share one repository, since a registry
    looks for layers that are there already within a repository alone.
    """
    return f"{identity}-{rebuild}" if rebuild else identity


def identity_of(snapshot: Snapshot) -> str | None:
    """The identity of what it was made from; None when this project did not make it."""
    match = _PUSHED_IMAGE.search(snapshot.image) or _IDENTITY.search(snapshot.dockerfile)
    return match[1] if match else None


def rebuild_of(snapshot: Snapshot) -> str:
    """The id of the forced build that made it, "" for any other build."""
    if image := _PUSHED_IMAGE.search(snapshot.image):
        return image[2] or ""
    match = _REBUILD.search(snapshot.dockerfile)
    return match[1] if match else ""


def describe(snapshot: Snapshot) -> str:
    """Something to tell two contents apart by, for messages."""
    return identity_of(snapshot) or snapshot.image or ", ".join(snapshot.contexts) or "unknown"


def is_ours(snapshot: Snapshot) -> bool:
    """By its name and by what is in it: anybody can give a snapshot such a name."""
    name = SnapshotName.parse(snapshot.name)
    identity = identity_of(snapshot)
    return bool(not snapshot.general and name and identity and identity.startswith(name.identity))


def record(snapshot: Snapshot) -> dict[str, Any]:
    """What `--json` says of it."""
    size = snapshot.bytes
    return {
        "snapshot_name": snapshot.name,
        "id": snapshot.id,
        "state": snapshot.state,
        "asleep": snapshot.state == "inactive",
        "regions": list(snapshot.regions),
        "reason": snapshot.reason,
        "identity": identity_of(snapshot),
        "ours": is_ours(snapshot),
        "bytes": None if size is None else int(size),
        "created": snapshot.created_at,
        "last_used": snapshot.used_at,
        "image": snapshot.image,
        "contexts": len(snapshot.contexts),
        "entrypoint": list(snapshot.entrypoint),
    }
