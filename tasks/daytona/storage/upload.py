"""Sending a context's parts: what is there already is not sent again.

Parts are named by their content (SHA-256), so a HEAD tells whether one has to be sent, and a run
that broke off goes on at the first missing one. Large parts go as S3 multipart uploads whose
pieces are retried one by one. When a run ends early, its unfinished uploads are taken back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tasks.base import retry
from tasks.base.retry import RemoteFailed
from tasks.daytona.storage.client import ContextStorage
from tasks.daytona.storage.open_uploads import OpenUploads
from tasks.daytona.storage.parallel import for_each
from tasks.daytona.transfer import TransferProgress, TransferReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tasks.build.archive import Part
    from tasks.daytona.upload_client import StorageAccess

#: S3 takes no smaller pieces, but for the last one.
PIECE: Final = 8 * 1024 * 1024
_WORKERS: Final = 4
_LOOKERS: Final = 8


def upload(
    parts: Sequence[Part],
    access: Callable[[], StorageAccess],
    *,
    unfinished: Path,
    policy: retry.Policy = retry.DEFAULT,
) -> TransferReport:
    """Send the parts that are not there. `unfinished` is a folder that remembers what is open."""
    start = time.monotonic()
    storage = ContextStorage(access, policy=policy)
    open_uploads = OpenUploads(unfinished, storage)
    open_uploads.sweep()
    distinct = list({part.digest: part for part in parts}.values())
    present = for_each(distinct, storage.has, workers=_LOOKERS)
    missing = [part for part, is_there in zip(distinct, present, strict=True) if not is_there]
    progress = TransferProgress(
        to_send=sum(part.bytes for part in missing),
        reused=len(distinct) - len(missing),
        parts=len(distinct),
    )
    try:
        with progress:
            # The largest first: none of them is to be left alone at the end.
            for_each(
                sorted(missing, key=lambda part: -part.bytes),
                lambda part: _send(storage, open_uploads, part, progress),
                workers=_WORKERS,
            )
    except BaseException:
        open_uploads.abort_all()
        raise
    return TransferReport(
        parts=len(distinct),
        reused=len(distinct) - len(missing),
        bytes_sent=progress.bytes_sent,
        total=sum(part.bytes for part in distinct),
        seconds=time.monotonic() - start,
    )


def _send(
    storage: ContextStorage, open_uploads: OpenUploads, part: Part, progress: TransferProgress
) -> None:
    key = storage.key(part.digest)
    doing = "uploading the context"
    if part.bytes <= PIECE:
        storage.call(doing, "put_object", Key=key, Body=part.path.read_bytes())
        progress.add(part.bytes)
        return
    identity = storage.call(doing, "create_multipart_upload", Key=key)["UploadId"]
    open_uploads.add(key, identity)
    pieces: list[dict[str, Any]] = []
    with part.path.open("rb") as file:
        while piece := file.read(PIECE):
            number = len(pieces) + 1
            reply = storage.call(
                doing, "upload_part", Key=key, UploadId=identity, PartNumber=number, Body=piece
            )
            pieces.append({"ETag": reply["ETag"], "PartNumber": number})
            progress.add(len(piece))
    try:
        storage.call(
            doing,
            "complete_multipart_upload",
            Key=key,
            UploadId=identity,
            MultipartUpload={"Parts": pieces},
        )
    except RemoteFailed as error:
        # A reply was lost: the first attempt had completed it.
        if "NoSuchUpload" not in error.message or not storage.has(part):
            raise
    open_uploads.remove(identity)
