"""npm's answers about whole dependency trees, kept for some hours beside the logs."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from tasks.bump import documents
from tasks.bump.lock_files import NotInstallable
from tasks.bump.registries.model import mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Seconds for which an answer is believed.
FRESH: Final = 6 * 3600


@dataclass
class TreeCache:
    """A file that may be lost, or be written by several processes: then npm is asked again."""

    file: Path
    work: Path
    _guard: Lock = field(default_factory=Lock)

    def lock_for(self, key: str, make: Callable[[], str]) -> str:
        """The lock that `make` returned for `key`, or the `NotInstallable` that it raised."""
        name = hashlib.sha256(key.encode()).hexdigest()
        answer = self._fresh_answers().get(name)
        if answer is not None:
            if "lock" in answer:
                return str(answer["lock"])
            raise NotInstallable(str(answer["reason"]))
        try:
            lock = make()
        except NotInstallable as error:
            self._keep(name, {"reason": error.what})
            raise
        self._keep(name, {"lock": lock})
        return lock

    def _fresh_answers(self) -> dict[str, dict[str, Any]]:
        try:
            entries = mapping(json.loads(self.file.read_text()))
        except (OSError, ValueError, RecursionError):
            return {}
        current_time = time.time()
        return {
            name: entry
            for name, entry in entries.items()
            if isinstance(entry, dict)
            and isinstance(entry.get("at"), int | float)
            and 0 <= current_time - entry["at"] < FRESH
            and ("lock" in entry or "reason" in entry)
        }

    def _keep(self, name: str, answer: dict[str, str]) -> None:
        with self._guard:
            answers = self._fresh_answers() | {name: {"at": time.time(), **answer}}
            documents.write(self.file, json.dumps(answers), work=self.work)
