"""Who made a sandbox: the run's id, in the names and labels of all that it creates."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from tasks.base import liveness, project
from tasks.sandbox.values import Belonging

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_LABEL: Final = f"{project.LABEL}.run"
OWNER_LABEL: Final = f"{project.LABEL}.owner"
CREATED_LABEL: Final = f"{project.LABEL}.created"
PURPOSE_LABEL: Final = f"{project.LABEL}.test"
KEEP_LABEL: Final = f"{project.LABEL}.keep"
#: Characters of a name: what a DNS label can hold, and how many of them are the project's.
_NAME: Final = 63
_SLUG: Final = 20


class Ownership:
    """Gives what a run creates its name and its labels. `keep` means: delete it only by name."""

    def __init__(self, provider_name: str, *, keep: bool = False) -> None:
        self.provider_name = provider_name
        self.keep = keep
        self.id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self._owner = liveness.current()
        self._numbers = itertools.count(1)

    def labels(self, purpose: str) -> dict[str, str]:
        return {
            RUN_LABEL: self.id,
            OWNER_LABEL: self._owner.to_label(),
            CREATED_LABEL: str(int(time.time())),
            PURPOSE_LABEL: purpose,
            **({KEEP_LABEL: "1"} if self.keep else {}),
        }

    def name(self, purpose: str) -> str:
        """Unique, and as much of `purpose` as a name can hold."""
        head = f"{project.SLUG[:_SLUG].strip('-')}-{self.id}-{next(self._numbers)}-"
        slug = re.sub(r"[^a-z0-9]+", "-", purpose.lower()).strip("-")
        return head + (slug[: _NAME - len(head)].strip("-") or "sandbox")


def belonging_from_labels(
    kind: str, identity: str, name: str, labels: Mapping[str, str] | None
) -> Belonging:
    """What `Ownership.labels` wrote, read back."""
    labels = labels or {}
    try:
        created_at = float(labels.get(CREATED_LABEL, ""))
    except ValueError:
        created_at = time.time()  # of an unknown age: never too old
    return Belonging(
        kind=kind,
        id=identity,
        name=name,
        run=labels.get(RUN_LABEL, ""),
        owner=labels.get(OWNER_LABEL, ""),
        created_at=created_at,
        keep=labels.get(KEEP_LABEL) == "1",
    )
