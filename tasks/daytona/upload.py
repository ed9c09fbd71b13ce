"""Build contexts into Daytona's object storage: what is there already is not sent again.

Parts are named by their content (SHA-256), so a HEAD tells whether one has to be sent, and a run
that broke off goes on at the first missing one. Large parts go as S3 multipart uploads whose
pieces are retried one by one. When a run ends early, its unfinished uploads are taken back.

botocore signs and speaks S3. The SDK's own obstore would show neither pieces nor retries, refuses
the stand-in's plain HTTP, and waits up to four minutes in silence.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from tasks.base import addresses, console, process, retry
from tasks.base.errors import TaskError
from tasks.base.retry import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tasks.daytona.adapter import StorageAccess

#: S3 takes no smaller pieces, but for the last one.
PIECE: Final = 8 * 1024 * 1024
_WORKERS: Final = 4
#: Seconds without a byte. A slow connection may take as long as it moves.
_IDLE: Final = 60.0
_CONNECT: Final = 10.0
_HEARTBEAT: Final = 10.0
#: S3 says these with a 400, though they pass.
_PASSING_CODES: Final = frozenset({"RequestTimeout", "RequestTimeTooSkewed"})


class Part(Protocol):
    """A file of a context, named by its content."""

    @property
    def digest(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def bytes(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What an upload did: `sent` bytes of `total`, `reused` parts of `parts`."""

    parts: int
    reused: int
    sent: int
    total: int
    seconds: float

    def __str__(self) -> str:
        rate = f", {console.size(self.sent / self.seconds)}/s" if self.seconds > 0.1 else ""
        return (
            f"{console.size(self.sent)} of {console.size(self.total)} sent in"
            f" {console.seconds(self.seconds)}{rate}; {self.reused} of {self.parts} parts were"
            " there already"
        )


class Storage:
    """The organisation's part of the bucket. Renews its access when that runs out."""

    def __init__(self, access: Callable[[], StorageAccess], *, policy: retry.Policy) -> None:
        self._ask = access
        self._policy = policy
        self._lock = threading.Lock()
        self._renew(None)

    def _renew(self, old: Any) -> None:
        with self._lock:
            if getattr(self, "_client", None) is old:
                self.access = self._ask()
                self._client = _client(self.access)

    def key(self, digest: str) -> str:
        """Where Daytona's builder looks for a context of that hash."""
        return f"{self.access.organization}/{digest}/context.tar"

    def call(self, doing: str, operation: str, **arguments: Any) -> Any:
        """One S3 operation, retried where that may help."""

        def ask(client: Any) -> Any:
            given = {"Bucket": self.access.bucket, **arguments}
            if "Body" in given:
                # As a file it goes in blocks, each within the time-out; bytes would have to go
                # whole within it, which is a limit on how slow a line may be.
                given["Body"] = io.BytesIO(given["Body"])
            with _s3(doing):
                return getattr(client, operation)(**given)

        def one() -> Any:
            client = self._client
            try:
                return ask(client)
            except RemoteFailed as error:
                if "ExpiredToken" not in error.message:
                    raise
                self._renew(client)
                return ask(self._client)

        return retry.call(one, policy=self._policy)

    def has(self, part: Part) -> bool:
        try:
            said = self.call(
                "looking for a part of the context", "head_object", Key=self.key(part.digest)
            )
        except RemoteFailed as error:
            # S3 says 403 for what is not there to those who may not list.
            if error.status in {403, 404}:
                return False
            raise
        return int(said["ContentLength"]) == part.bytes


@contextlib.contextmanager
def _s3(doing: str) -> Iterator[None]:
    import botocore.exceptions as errors  # noqa: PLC0415 - heavy

    try:
        yield
    except errors.ClientError as error:
        said = error.response.get("Error", {})
        meta = error.response.get("ResponseMetadata", {})
        status, code = int(meta.get("HTTPStatusCode", 0)), str(said.get("Code", ""))
        if status == 400 and code in _PASSING_CODES:
            status = 503
        message = f"{code} {said.get('Message', '')}".strip()
        raise retry.failure(
            doing, status, message=message, headers=meta.get("HTTPHeaders") or {}
        ) from error
    except (errors.BotoCoreError, OSError) as error:
        raise RemoteFailed(
            f"{doing}: {console.printable(str(error))[:200]}", kind="network"
        ) from error


def _client(access: StorageAccess) -> Any:
    import botocore.session  # noqa: PLC0415 - heavy
    from botocore.config import Config  # noqa: PLC0415

    # Neither ~/.aws nor AWS_* has a say in this: the credentials are Daytona's.
    nothing = (None, None, None, None)
    session = botocore.session.Session(  # type: ignore[no-untyped-call]
        session_vars={
            "profile": nothing,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    local = addresses.is_loopback(addresses.host_of(access.url))
    if urlsplit(access.url).scheme != "https" and not local:
        raise TaskError("the object storage's address is not HTTPS: nothing is sent there")
    return session.create_client(
        "s3",
        endpoint_url=access.url,
        region_name=access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret,
        aws_session_token=access.session_token,
        verify=os.environ.get("SSL_CERT_FILE") or None,
        config=Config(  # type: ignore[no-untyped-call]
            connect_timeout=_CONNECT,
            read_timeout=_IDLE,
            max_pool_connections=2 * _WORKERS,
            retries={"total_max_attempts": 1},  # tasks.base.retry does that, and says so
            s3={"addressing_style": "path"},
            proxies={} if local else None,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def upload(
    parts: Sequence[Part],
    access: Callable[[], StorageAccess],
    *,
    unfinished: Path,
    policy: retry.Policy = retry.DEFAULT,
) -> Uploaded:
    """Send the parts that are not there. `unfinished` is a folder that remembers what is open."""
    begun = time.monotonic()
    storage = Storage(access, policy=policy)
    book = _Book(unfinished, storage)
    book.sweep()
    distinct = list({part.digest: part for part in parts}.values())
    there = dict(
        zip((p.digest for p in distinct), _each(distinct, storage.has, workers=8), strict=True)
    )
    missing = [part for part in distinct if not there[part.digest]]
    total = sum(part.bytes for part in distinct)
    progress = _Progress(
        to_send=sum(part.bytes for part in missing),
        reused=len(distinct) - len(missing),
        parts=len(distinct),
    )
    try:
        with progress:
            # The largest first: none of them is to be left alone at the end.
            _each(
                sorted(missing, key=lambda part: -part.bytes),
                lambda part: _send(storage, book, part, progress),
                workers=_WORKERS,
            )
    except BaseException:
        book.take_back()
        raise
    return Uploaded(
        parts=len(distinct),
        reused=len(distinct) - len(missing),
        sent=progress.sent,
        total=total,
        seconds=time.monotonic() - begun,
    )


def _send(storage: Storage, book: _Book, part: Part, progress: _Progress) -> None:
    key = storage.key(part.digest)
    doing = "uploading the context"
    if part.bytes <= PIECE:
        storage.call(doing, "put_object", Key=key, Body=part.path.read_bytes())
        progress.add(part.bytes)
        return
    identity = storage.call(doing, "create_multipart_upload", Key=key)["UploadId"]
    book.opened(key, identity)
    done = []
    with part.path.open("rb") as file:
        number = 0
        while piece := file.read(PIECE):
            number += 1
            said = storage.call(
                doing, "upload_part", Key=key, UploadId=identity, PartNumber=number, Body=piece
            )
            done.append({"ETag": said["ETag"], "PartNumber": number})
            progress.add(len(piece))
    try:
        storage.call(
            doing,
            "complete_multipart_upload",
            Key=key,
            UploadId=identity,
            MultipartUpload={"Parts": done},
        )
    except RemoteFailed as error:
        # A lost reply: the first attempt had completed it.
        if "NoSuchUpload" not in error.message or not storage.has(part):
            raise
    book.closed(identity)


class _Book:
    """The multipart uploads that are open, in a folder: a killed run's are ended by the next."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self._folder = folder
        self._storage = storage
        self._open: dict[str, str] = {}

    def opened(self, key: str, identity: str) -> None:
        self._open[identity] = key
        self._folder.mkdir(parents=True, exist_ok=True)
        note = {"key": key, "upload": identity, "bucket": self._storage.access.bucket,
                "url": self._storage.access.url, "pid": os.getpid()}  # fmt: skip
        self._file(identity).write_text(json.dumps(note))

    def closed(self, identity: str) -> None:
        self._open.pop(identity, None)
        self._file(identity).unlink(missing_ok=True)

    def take_back(self) -> None:
        for identity, key in list(self._open.items()):
            self._abort(key, identity)

    def sweep(self) -> None:
        """End what runs that are no more left open, here and in that bucket."""
        for file in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                note = json.loads(file.read_text())
                access = self._storage.access
                if (note["url"], note["bucket"]) != (access.url, access.bucket):
                    if time.time() - file.stat().st_mtime > 7 * 86400:
                        file.unlink(missing_ok=True)
                elif not process.lives(int(note["pid"])):
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
        self.closed(identity)

    def _file(self, identity: str) -> Path:
        safe = "".join(c if c.isalnum() else "_" for c in identity)[:100]
        return self._folder / f"{safe}.json"


def _each(items: Sequence[Any], do: Callable[[Any], Any], *, workers: int) -> list[Any]:
    """`do` each item, several at a time, and return the results in order.

    In daemon threads: unlike an executor's they never keep an interrupted program from ending.
    """
    waiting: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
    over = threading.Event()
    for job in enumerate(items):
        waiting.put(job)

    def work() -> None:
        while not over.is_set():
            try:
                number, item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, do(item), None))
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                done.put((number, None, error))

    for _ in range(min(workers, len(items))):
        threading.Thread(target=work, daemon=True).start()
    results: dict[int, Any] = {}
    try:
        while len(results) < len(items):
            number, result, error = done.get()
            if error is not None:
                raise error
            results[number] = result
    finally:
        over.set()
    return [results[number] for number in range(len(items))]


class _Progress:
    """One line that is redrawn on a terminal; elsewhere one every few seconds."""

    def __init__(self, *, to_send: int, reused: int, parts: int) -> None:
        self.sent = 0
        self._to_send = to_send
        self._reused = f"{reused} of {parts} parts reused"
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watch = console.Stopwatch()
        self._live = console.is_terminal()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def add(self, count: int) -> None:
        with self._lock:
            self.sent += count

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        if self._live:
            print("\x1b[2K", end="\r", file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self._over.wait(0.3 if self._live else _HEARTBEAT):
            if self._live:
                print(f"\x1b[2K  {self}", end="\r", file=sys.stderr, flush=True)
            else:
                console.say(f"  {self}", "dim")

    def __str__(self) -> str:
        rate = self.sent / max(self._watch.elapsed, 0.001)
        share = 100 * self.sent // max(self._to_send, 1)
        return (
            f"{console.size(self.sent)} of {console.size(self._to_send)} ({share} %),"
            f" {console.size(rate)}/s, {self._reused}"
        )
