"""Whether a machine or a person is watching: git, the log and several commands ask."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_github_job(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs in a job of GitHub Actions.

    https://docs.github.com/actions/reference/workflows-and-actions/variables
    """
    return environment.get("GITHUB_ACTIONS") == "true"
