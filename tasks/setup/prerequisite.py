"""One row of `doctor`: a prerequisite, what there is of it, and how to get it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Literal

from tasks.base import console

#: `missing` stops work when the prerequisite is required; `attention` never does.
PrerequisiteState = Literal["ok", "missing", "attention", "absent"]


@dataclass(frozen=True)
class Prerequisite:
    id: str
    name: str
    state: PrerequisiteState
    actual: str
    requirement: str
    fix: str = ""
    required: bool = True

    @property
    def stops_work(self) -> bool:
        return self.required and self.state == "missing"

    def to_json(self) -> dict[str, object]:
        """The form of `doctor --json`, schema 1."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "found": self.actual,
            "needed": self.requirement,
            "fix": "" if self.state == "ok" else self.fix,
            "required": self.required,
        }


def check_disk(id_: str, name: str, folder: str, minimum: int, fix: str) -> Prerequisite:
    """Whether the disk of `folder` has `minimum` bytes free."""
    free = shutil.disk_usage(folder).free
    state: PrerequisiteState = "ok" if free >= minimum else "missing"
    actual = f"{console.size(free)} free at {folder}"
    return Prerequisite(id_, name, state, actual, f"{console.size(minimum)} free", fix)
