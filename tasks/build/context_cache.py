"""What making contexts has cost once: packs of history, and what was found in it."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, Final

from tasks.base.project import cache_dir

if TYPE_CHECKING:
    from pathlib import Path

_KEPT_DAYS: Final = 14


def folder() -> Path:
    """The folder of this cache, where nothing speaks for another."""
    path = cache_dir() / "contexts"
    path.mkdir(parents=True, exist_ok=True)
    return path


def load(path: Path) -> Any:
    """The value that `save` has put there, which is kept for longer now; None for none."""
    try:
        value = json.loads(path.read_text())
        os.utime(path)
    except (OSError, ValueError):
        return None
    return value


def save(path: Path, value: Any) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


def forget_old(into: Path) -> None:
    """Delete what nothing has used for two weeks, leftovers of killed runs too."""
    oldest = time.time() - _KEPT_DAYS * 86400
    for path in into.iterdir():
        if path.name.startswith("packs-") and path.stat().st_mtime < oldest:
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
