"""Build logs, at the address that the API hands out for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from daytona_standin.strictness import ANY
from daytona_standin.surface import Operation

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.responses import Response

    from daytona_standin.faults import FaultBook
    from daytona_standin.image_builder import ImageBuilder
    from daytona_standin.records import SnapshotRecord
    from daytona_standin.snapshot_service import SnapshotService
    from daytona_standin.store import RecordStore
    from daytona_standin.surface import Call


class BuildLogApi:
    """`ending` is set when the stand-in ends: logs that never end must end then."""

    def __init__(
        self,
        service: SnapshotService,
        store: RecordStore,
        builder: ImageBuilder,
        faults: FaultBook,
        ending: threading.Event,
    ) -> None:
        self._service = service
        self._store = store
        self._builder = builder
        self._faults = faults
        self._ending = ending

    def operations(self) -> list[Operation]:
        return [Operation("GET", "/{id}/build-logs", self._read, query={"follow": ANY})]

    def _read(self, call: Call) -> Response:
        snapshot = self._store.snapshot(call.parameters["id"])
        follow = call.flag("follow")
        ref = self._service.wait_for_log(snapshot)
        names = (snapshot.name, snapshot.id)
        is_stuck = self._faults.strike("log-stuck", *names) is not None
        cut = self._faults.strike("log-cut", *names)
        stream = self._stream(snapshot, self._builder.log(ref), follow=follow, is_stuck=is_stuck)
        return StreamingResponse(
            _cut_off(stream, cut.count) if cut else stream, media_type="application/octet-stream"
        )

    async def _stream(
        self, snapshot: SnapshotRecord, log: Path, *, follow: bool, is_stuck: bool
    ) -> AsyncIterator[bytes]:
        """What the log holds, and with `follow` what is added to it.

        It ends one second after the image exists. After a failed build it never ends, as at
        Daytona.
        """
        offset = 0
        while not self._ending.is_set():
            has_image = snapshot.state in {"active", "inactive"}
            text = b"" if is_stuck else _read_from(log, offset)
            if text:
                offset += len(text)
                yield text
                continue
            if not follow:
                return
            if has_image and not is_stuck:
                await asyncio.sleep(1)
                return
            await asyncio.sleep(0.1)


def _read_from(log: Path, offset: int) -> bytes:
    """The next piece of a log that may not exist yet."""
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(offset)
        return file.read(1 << 16)


async def _cut_off(stream: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """So many bytes, then the connection breaks: uvicorn closes it after an error."""
    async for chunk in stream:
        yield chunk[:count]
        count -= len(chunk)
        if count <= 0:
            raise ConnectionResetError("log-cut")
