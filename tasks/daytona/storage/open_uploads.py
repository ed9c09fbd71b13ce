"""The multipart uploads that are open, in a folder: the next run ends those of a killed run."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Final

from tasks.base import console, files, liveness
from tasks.base.parsing import parse_json
from tasks.base.retry import RemoteFailed

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.daytona.storage.client import ContextStorage

#: Seconds after which a note of another bucket is of no use: S3 has ended the upload by then.
_EXPIRY: Final = 7 * 86400


class OpenUploads:
    def __init__(self, folder: Path, storage: ContextStorage) -> None:
        self._folder = folder
        self._storage = storage
        self._keys: dict[str, str] = {}

    def add(self, key: str, identity: str) -> None:
        self._keys[identity] = key
        self._folder.mkdir(parents=True, exist_ok=True)
        access = self._storage.access
        note = {
            "key": key,
            "upload": identity,
            "bucket": access.bucket,
            "url": access.url,
            "owner": liveness.current().to_label(),
        }
        files.write(self._file(identity), json.dumps(note))

    def remove(self, identity: str) -> None:
        self._keys.pop(identity, None)
        self._file(identity).unlink(missing_ok=True)

    def abort_all(self) -> None:
        for identity, key in list(self._keys.items()):
            self._abort(key, identity)

    def sweep(self) -> None:
        """End what runs that surely live no more left open in that bucket."""
        for file in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                note = parse_json(file.read_text())
                access = self._storage.access
                if (note["url"], note["bucket"]) != (access.url, access.bucket):
                    if time.time() - file.stat().st_mtime > _EXPIRY:
                        file.unlink(missing_ok=True)
                elif liveness.life(liveness.Owner.from_label(note["owner"])) == "dead":
                    self._abort(str(note["key"]), str(note["upload"]))

    def _abort(self, key: str, identity: str) -> None:
        try:
            self._storage.call(
                "taking an unfinished upload back",
                "abort_multipart_upload",
                Key=key,
                UploadId=identity,
            )
        except RemoteFailed as error:
            if error.status != 404:
                console.warn(f"{error.what}; the next run tries again")
                return
        self.remove(identity)

    def _file(self, identity: str) -> Path:
        safe = "".join(c if c.isalnum() else "_" for c in identity)[:100]
        return self._folder / f"{safe}.json"
