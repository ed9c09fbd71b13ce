from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks.base import project

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_new_log_has_a_folder_from_which_old_logs_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    log = project.new_log("snapshot-local")
    assert log.parent == tmp_path / ".sandbox/logs"
    assert log.name.startswith("snapshot-local-")
    log.write_text("old")
    os.utime(log, (0, 0))
    (log.parent / "recent.log").touch()
    project.new_log("daytona-test")
    assert [path.name for path in log.parent.iterdir()] == ["recent.log"]


def test_the_cache_is_where_the_user_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert project.cache_dir() == tmp_path / project.SLUG
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert project.cache_dir() == tmp_path / ".cache" / project.SLUG
