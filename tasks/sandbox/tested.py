"""Which images have passed the whole sandbox suite on this machine: what was tested is published.

Each image has a small file below .sandbox/tested/, named by the image's id: an image that is built
anew has another id, and has to pass again.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tasks.base import files
from tasks.base.parsing import parse_json
from tasks.base.project import state_dir

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Passed:
    """`image` is the id, `sha256:…`; `when` is UTC, as in 2026-11-23T12:00:00Z."""

    image: str
    when: str


def record(image: str) -> Passed:
    """The image of that id has passed."""
    test_record = Passed(image, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    path = _path(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, json.dumps(asdict(test_record)) + "\n")
    return test_record


def find(image: str) -> Passed | None:
    """When it passed; None for an image that has not, or of which nobody knows."""
    try:
        test_record = Passed(**parse_json(_path(image).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return test_record if test_record.image == image else None


def _path(image: str) -> Path:
    return state_dir() / "tested" / f"{image.removeprefix('sha256:')}.json"
