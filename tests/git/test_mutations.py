"""Whatever changes the image changes the identity: random changes of every kind.

`python -m tests.support.mutations --count 10000` makes more of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support import mutations, repos

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_random_changes_never_pass_as_nothing_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for environment in (os.environ, repos.GIT_ENV):
        monkeypatch.setitem(environment, "HOME", str(tmp_path))
        monkeypatch.setitem(environment, "XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delitem(environment, "XDG_CONFIG_HOME", raising=False)
    tally = mutations.run(120, seed=2, folder=tmp_path / "work")
    assert tally["states"] > 30
    assert {mutation.__name__ for mutation in mutations.MUTATIONS} <= set(tally)
