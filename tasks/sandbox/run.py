"""A run: one process's ownership of all it creates, ended with the process however that ends."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from typing import TYPE_CHECKING, Final, Self

from tasks.base import console, liveness, project
from tasks.sandbox import reaper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.sandbox.sandbox import Provider

RUN_LABEL: Final = f"{project.LABEL}.run"
OWNER_LABEL: Final = f"{project.LABEL}.owner"
CREATED_LABEL: Final = f"{project.LABEL}.created"
PURPOSE_LABEL: Final = f"{project.LABEL}.test"
KEEP_LABEL: Final = f"{project.LABEL}.keep"


class Run:
    """`with Run(provider) as run:` everything created with `run.labels` is gone afterwards."""

    def __init__(self, provider: Provider, *, keep: bool = False) -> None:
        self.provider = provider
        self.keep = keep
        self.id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self._owner = liveness.current()
        self._numbers = itertools.count(1)
        self._watcher: reaper.Watcher | None = None

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
        slug = re.sub(r"[^a-z0-9]+", "-", purpose.lower()).strip("-")[:28].strip("-")
        return f"iterate-{self.id}-{next(self._numbers)}-{slug or 'sandbox'}"

    @property
    def folder(self) -> Path:
        """For files that are to be gone after the run."""
        return reaper.run_dir(self.id)

    @property
    def reaper_pid(self) -> int | None:
        return self._watcher.pid if self._watcher else None

    def __enter__(self) -> Self:
        for thing in reaper.reap_dead(self.provider):
            console.warn(f"deleted {thing.kind} {thing.name}, left by run {thing.run} that died")
        self.folder.mkdir(parents=True)
        liveness.sign(self.folder)
        if not self.keep:
            self._watcher = reaper.Watcher(run=self.id, provider=self.provider.name)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._watcher is None:
            return
        reaper.reap_run(self.provider, self.id)
        self._watcher.dismiss()
        self._watcher = None


def labels_say_keep(labels: Mapping[str, str]) -> bool:
    return labels.get(KEEP_LABEL) == "1"
