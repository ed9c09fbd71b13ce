"""One blob into a registry, in pieces. After a failure the registry says how far it has come, and
the upload goes on from there, or is begun anew.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from tasks.base import console, retry
from tasks.base.retry import RemoteFailed
from tasks.daytona.registry.open_pushes import FORGOTTEN_STATUSES, open_push

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.daytona.registry.client import ImageRegistryClient
    from tasks.daytona.registry.layers import ImageBlob

CHUNK: Final = 16 * 1024 * 1024
#: A layer is begun anew when a registry has lost track of it, so often.
_BEGINNINGS: Final = 3


class UploadForgotten(RemoteFailed):
    """The registry does not know how far an upload has come."""


class BlobUpload:
    def __init__(
        self,
        client: ImageRegistryClient,
        blob: ImageBlob,
        notes: Path,
        *,
        progress: Callable[[int], None],
    ) -> None:
        self._client = client
        self._blob = blob
        self._push = open_push(client, notes)
        self._progress = progress
        self._connection_broke = False

    def run(self) -> None:
        for attempts_left in reversed(range(_BEGINNINGS)):
            reply = self._client.ask(
                "POST", "blobs/uploads/", "pushing a layer", ok={202}, body=b""
            )
            self._push.continues_at(self._client.location(reply))
            self._connection_broke = False
            try:
                self._send_pieces()
            except BaseException as error:
                answered = isinstance(error, RemoteFailed) and error.status != 0
                self._push.take_back(answered=answered)
                if isinstance(error, UploadForgotten) and attempts_left:
                    console.warn(f"{error.what}; this layer is sent again from its beginning")
                    continue
                raise
            self._push.forget()
            return

    def _send_pieces(self) -> None:
        position = 0
        while position < self._blob.bytes:
            with self._blob.path.open("rb") as file:
                file.seek(position)
                piece = file.read(CHUNK)
            place, new_position = retry.call(
                partial(self._send_piece, position, piece), policy=self._client.policy
            )
            self._push.continues_at(place)
            self._progress(new_position - position)
            position = new_position
        self._complete()

    def _complete(self) -> None:
        place = self._push.place
        query = urlencode({"digest": self._blob.digest})
        try:
            self._client.ask(
                "PUT",
                f"{place}{'&' if '?' in place else '?'}{query}",
                "pushing a layer",
                ok={201},
                body=b"",
            )
        except RemoteFailed as error:
            # A reply was lost: the first attempt had completed it, and its place is gone.
            if error.kind == "not-found" and self._client.has(self._blob):
                return
            if self._connection_broke and error.status in FORGOTTEN_STATUSES:
                raise self._forgotten_error(error.status) from error
            raise

    def _send_piece(self, start: int, piece: bytes) -> tuple[str, int]:
        """Send one; after a failure go on from where the registry stands, be it within it."""
        try:
            reply = self._client.ask_once(
                "PATCH",
                self._push.place,
                "pushing a layer",
                body=piece,
                ok={202},
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Range": f"{start}-{start + len(piece) - 1}",
                },
            )
        except RemoteFailed as error:
            if self._connection_broke and error.status in FORGOTTEN_STATUSES:
                raise self._forgotten_error(error.status) from error
            if error.kind != "network" and error.status != 416:
                raise
            self._connection_broke = True
            return self._resume(start, error)
        return self._client.location(reply), start + len(piece)

    def _resume(self, start: int, error: RemoteFailed) -> tuple[str, int]:
        """Where the registry stands. Raises `error` when nothing of the piece has arrived."""
        reply = self._client.ask_once(
            "GET",
            self._push.place,
            "asking how far a layer has come",
            ok={204, *FORGOTTEN_STATUSES},
        )
        if reply.status in FORGOTTEN_STATUSES:
            raise self._forgotten_error(reply.status) from error
        end = reply.headers.get("Range", "0-0").rpartition("-")[2]
        # The specification has no range for nothing: "0-0" is what registries answer then.
        is_number = re.fullmatch(r"[0-9]{1,18}", end) is not None
        new_position = int(end) + 1 if is_number and end != "0" else 0
        if new_position == start:
            raise error
        return self._client.location(reply), new_position

    def _forgotten_error(self, status: int) -> UploadForgotten:
        return UploadForgotten(
            f"{self._client.target.registry} does not know how far a layer has come",
            kind="rejected",
            status=status,
        )
