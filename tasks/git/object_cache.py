"""What making contexts has cost once: packs of history, and what was found in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from tasks.base import files
from tasks.base.parsing import parse_json
from tasks.base.project import cache_dir

if TYPE_CHECKING:
    from pathlib import Path

_KEPT_SECONDS: Final = 14 * 86400.0


def folder() -> Path:
    """The folder of this cache, where nothing speaks for another."""
    path = cache_dir() / "contexts"
    path.mkdir(parents=True, exist_ok=True)
    return path


def load(path: Path) -> Any:
    """The value that `save` has put there, which is kept for longer now; None for none."""
    try:
        value = parse_json(path.read_text())
        os.utime(path)
    except (OSError, ValueError):
        return None
    return value


def save(path: Path, value: Any) -> None:
    files.write(path, json.dumps(value))


def forget_old(into: Path) -> None:
    """Delete what nothing has used for two weeks, leftovers of killed runs too."""
    files.remove_unused(into, seconds=_KEPT_SECONDS)
