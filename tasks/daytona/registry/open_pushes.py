"""What layers are under way to a registry, in a folder, so that nothing stays half-sent there.

A run notes where each layer goes on. The next run takes back what a killed one had begun.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tasks.base import files, liveness
from tasks.base.errors import TaskError
from tasks.base.parsing import parse_json
from tasks.base.retry import RemoteFailed

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.daytona.registry.client import ImageRegistryClient

#: What a registry says of an upload that it does not know, or holds half a piece of: CNCF's
#: distribution lets no client reach such a one any more, and sweeps it itself.
FORGOTTEN_STATUSES: Final = frozenset({400, 404, 416})
#: Seconds for taking a layer back, when the user wants to go or the registry is silent anyway.
_LAST_WORD: Final = 5.0
#: Seconds after which registries take back by themselves what was begun.
_EXPIRY: Final = 7 * 86400


class OpenPush:
    """One layer that is under way; `place` is the address at which it goes on."""

    def __init__(self, client: ImageRegistryClient, note: Path) -> None:
        self._client = client
        self._note = note
        self.place = ""

    def continues_at(self, place: str) -> None:
        """A registry names another place after each piece; the note of it outlives this run."""
        self.place = place
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._write(liveness.current().to_label())

    def forget(self) -> None:
        self._note.unlink(missing_ok=True)

    def take_back(self, *, answered: bool = False) -> None:
        """What was begun is not left there. If it cannot be done now, the next run does it.

        A registry that `answered` gets its usual time, and a second try: who refuses a layer often
        closes the connection, which shows only when that is used again.
        """
        self._write("")
        delete = partial(
            self._client.ask_once,
            "DELETE",
            self.place,
            "taking a layer back",
            ok={204, *FORGOTTEN_STATUSES},
            timeout=None if answered else _LAST_WORD,
        )
        with contextlib.suppress(TaskError):
            try:
                delete()
            except RemoteFailed as error:
                if not answered or error.kind != "network":
                    raise
                delete()
            self.forget()

    def _write(self, owner: str) -> None:
        files.write(self._note, json.dumps({"place": self.place, "owner": owner}))


def open_push(client: ImageRegistryClient, folder: Path) -> OpenPush:
    return OpenPush(client, folder / f"{secrets.token_hex(8)}.json")


def sweep(client: ImageRegistryClient, folder: Path) -> None:
    """Take back what runs that surely live no more had begun at this registry."""
    for note in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if time.time() - note.stat().st_mtime > _EXPIRY:
                note.unlink(missing_ok=True)
                continue
            fields = parse_json(note.read_text())
            if urlsplit(fields["place"]).netloc != client.target.registry:
                continue
            owner = liveness.Owner.from_label(fields["owner"])
            # Without an owner it was given up by a run that could not take it back.
            if not fields["owner"] or liveness.life(owner) == "dead":
                push = OpenPush(client, note)
                push.place = str(fields["place"])
                push.take_back()
