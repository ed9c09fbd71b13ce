"""Daytona's API as this project uses it. `connect` gives a `Daytona`; each of its parts asks about
one kind of thing, and each method asks one question.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks.base import retry
from tasks.base.errors import TaskError
from tasks.daytona.connection import Connection
from tasks.daytona.credentials import Credentials, read_credentials
from tasks.daytona.sandbox_client import SandboxClient
from tasks.daytona.snapshot_client import SnapshotClient
from tasks.daytona.upload_client import UploadAccessClient

if TYPE_CHECKING:
    from collections.abc import Mapping


class Daytona:
    """One account. Thread-safe."""

    def __init__(self, credentials: Credentials, *, policy: retry.Policy = retry.DEFAULT) -> None:
        self.credentials = credentials
        self._connection = Connection(credentials, policy=policy)
        self.snapshots = SnapshotClient(self._connection)
        self.sandboxes = SandboxClient(self._connection)
        self.uploads = UploadAccessClient(self._connection)

    def close(self) -> None:
        self._connection.close()


def connect(environment: Mapping[str, str] = os.environ) -> Daytona:
    """The account of the environment. Nothing is asked yet."""
    credentials = read_credentials(environment)
    try:
        return Daytona(credentials)
    except ImportError as error:
        raise TaskError(
            f"the Daytona SDK is not installed ({error})",
            fix="run this through nox, or install requirements/daytona.txt",
        ) from error
