"""A run: one process's ownership of all it creates, ended with the process however that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tasks.base import console, liveness
from tasks.sandbox import reaper
from tasks.sandbox.ownership import Ownership

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.sandbox.provider import Provider


class Run(Ownership):
    """`with Run(provider) as run:` everything created with `run.labels` is gone afterwards."""

    def __init__(self, provider: Provider, *, keep: bool = False) -> None:
        super().__init__(provider.name, keep=keep)
        self.provider = provider
        self._watcher: reaper.Watcher | None = None

    @property
    def folder(self) -> Path:
        """For files that are to be gone after the run."""
        return reaper.run_dir(self.id)

    @property
    def reaper_pid(self) -> int | None:
        return self._watcher.pid if self._watcher else None

    def __enter__(self) -> Self:
        for leftover in reaper.reap_dead(self.provider):
            console.warn(
                f"deleted {leftover.kind} {leftover.name}, left by run {leftover.run}, which died"
            )
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
