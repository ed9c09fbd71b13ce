"""A local image into an OCI registry: `docker push`, with retries that one can rely on.

`docker push` gives up at the first 429, waits 5, 10, 15 seconds between tries of anything else,
and does not say what it read of `Retry-After`. Here each request follows `tasks.base.retry`, and an
upload that broke goes on where the registry says it stands. The config, and with it the image's
id, is sent as it is: what was tried here is what arrives.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from tasks.base import addresses, console, process, retry
from tasks.base.errors import TaskError
from tasks.base.project import cache_dir, state_dir
from tasks.base.retry import RemoteFailed
from tasks.build.base_layout import PACKED
from tasks.daytona.upload import Uploaded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.engine.engine import Engine

CHUNK: Final = 16 * 1024 * 1024
#: Seconds to connect; seconds without a byte. No limit on the whole: a slow line is no fault.
TIMEOUT: Final = (10.0, 60.0)
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
#: Days that a layer stays in the cache after its last use.
_KEPT_DAYS: Final = 14
#: A layer is begun anew when a registry has lost track of it, so often.
_BEGINNINGS: Final = 3
#: What a registry says of an upload that it does not know, or holds half a piece of: CNCF's
#: distribution lets no client reach such a one any more, and sweeps it itself.
_GONE: Final = frozenset({400, 404, 416})
#: Seconds for taking a layer back, when the user wants to go or the registry is silent anyway.
_LAST_WORD: Final = 5.0
#: Registries take back by themselves what was begun a week ago.
_SWEPT_DAYS: Final = 7
_CHALLENGE: Final = re.compile(r'\b(\w+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Target:
    """`registry` is host[:port]; plain HTTP is spoken to this machine only."""

    registry: str
    repository: str
    username: str
    secret: str = field(repr=False)

    @property
    def origin(self) -> str:
        local = addresses.is_loopback(addresses.host_of(self.registry))
        return f"{'http' if local else 'https'}://{self.registry}"


@dataclass(frozen=True, kw_only=True)
class Blob:
    digest: str
    bytes: int
    path: Path
    media: str


@dataclass(frozen=True, kw_only=True)
class Pushed:
    digest: str
    uploaded: Uploaded


def push(
    engine: Engine, image: str, target: Target, *, tag: str, policy: retry.Policy = retry.DEFAULT
) -> Pushed:
    """Send `image` (an id or name on `engine`); blobs that are there are not sent."""
    with tempfile.TemporaryDirectory(prefix="iterate-push-") as folder:
        config, layers = unpack(engine, image, Path(folder))
        return send(config, layers, target, tag=tag, policy=policy)


# ── the image as blobs ──────────────────────────────────────────────────────────────────────


def unpack(engine: Engine, image: str, folder: Path) -> tuple[Blob, list[Blob]]:
    """The image's config and its layers, compressed. Layers stay in a cache, by their content."""
    archive = folder / "image.tar"
    console.step("taking the image's layers out of the engine")
    process.capture(
        engine.command("image", "save", "--output", str(archive), image),
        env=engine.environment,
        timeout=900,
    )
    with tarfile.open(archive) as tar:
        listed = json.loads(_read(tar, "manifest.json"))[0]
        content = _read(tar, listed["Config"])
        config = folder / "config.json"
        config.write_bytes(content)
        ids = json.loads(content)["rootfs"]["diff_ids"]
        layers = [
            _layer(tar, name, identity)
            for name, identity in zip(listed["Layers"], ids, strict=True)
        ]
    archive.unlink()
    _sweep(cache_dir() / "layers")
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Blob(digest=digest, bytes=len(content), path=config, media=_CONFIG), layers


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise TaskError(f"the engine's archive of the image lacks {name}")
    return file.read()


def _layer(tar: tarfile.TarFile, name: str, identity: str) -> Blob:
    """One layer: as the engine keeps it packed, else gzipped without a time of day in it, so that
    it has the same bytes on every machine.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", identity):
        raise TaskError(f"the image names a layer {console.printable(identity)[:80]}")
    cached = cache_dir() / "layers" / f"{identity.removeprefix('sha256:')}.packed"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(name)
        if source is None:
            raise TaskError(f"the engine's archive of the image lacks layer {name}")
        with tempfile.NamedTemporaryFile(dir=cached.parent, suffix=".part") as part:
            _compress(source, part)
            part.flush()
            Path(part.name).rename(cached)
            Path(part.name).touch()  # what the context manager deletes
    cached.touch()
    with cached.open("rb") as packed:
        kind = PACKED[packed.read(2)]
    return Blob(
        digest=f"sha256:{_digest(cached)}",
        bytes=cached.stat().st_size,
        path=cached,
        media=f"application/vnd.oci.image.layer.v1{kind}",
    )


def _sweep(folder: Path) -> None:
    """What nobody has pushed for two weeks goes; a layer that is used is touched."""
    for file in folder.glob("*"):
        if time.time() - file.stat().st_mtime > _KEPT_DAYS * 86400:
            file.unlink(missing_ok=True)


def _compress(source: IO[bytes], into: IO[bytes]) -> None:
    magic = source.read(2)
    if magic in PACKED:  # by an engine with the containerd store
        into.write(magic)
        shutil.copyfileobj(source, into, CHUNK)
        return
    with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=into, mtime=0) as packed:
        packed.write(magic)
        shutil.copyfileobj(source, packed, CHUNK)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ── the registry ────────────────────────────────────────────────────────────────────────────


def send(
    config: Blob,
    layers: list[Blob],
    target: Target,
    *,
    tag: str,
    policy: retry.Policy = retry.DEFAULT,
    timeout: tuple[float, float] = TIMEOUT,
    notes: Path | None = None,
) -> Pushed:
    """Blobs, then the manifest that names them; its digest names the image.

    `notes` is a folder that remembers what is under way: what a killed run had begun, the next
    takes back.
    """
    begun = time.monotonic()
    client = _Client(target, policy=policy, timeout=timeout, notes=notes or state_dir() / "pushes")
    client.sweep()
    distinct = list({blob.digest: blob for blob in [*layers, config]}.values())
    missing = [blob for blob in distinct if not client.has(blob)]
    total = sum(blob.bytes for blob in distinct)
    to_send = sum(blob.bytes for blob in missing)
    console.step(
        f"pushing {console.size(to_send)} of {console.size(total)};"
        f" {len(distinct) - len(missing)} of {len(distinct)} blobs are there already"
    )
    for number, blob in enumerate(missing, 1):
        client.upload(blob)
        console.say(f"  {number} of {len(missing)} blobs, {console.size(blob.bytes)}", "dim")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _described(config),
            "layers": [_described(layer) for layer in layers],
        }
    ).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    client.ask(
        "PUT", f"manifests/{tag}", "naming the image", body=manifest, ok={201},
        headers={"Content-Type": _MANIFEST},
    )  # fmt: skip
    uploaded = Uploaded(
        parts=len(distinct),
        reused=len(distinct) - len(missing),
        sent=to_send,
        total=total,
        seconds=time.monotonic() - begun,
    )
    console.step(f"pushed: {uploaded}")
    return Pushed(digest=digest, uploaded=uploaded)


def _described(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media, "digest": blob.digest, "size": blob.bytes}


class _Forgotten(RemoteFailed):
    """The registry does not know how far an upload has come."""


@dataclass(frozen=True, kw_only=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Client:
    def __init__(
        self,
        target: Target,
        *,
        policy: retry.Policy,
        timeout: tuple[float, float],
        notes: Path,
    ) -> None:
        import urllib3  # noqa: PLC0415 - comes with the SDK

        self._target = target
        self._policy = policy
        self._notes = notes
        self._timeout = urllib3.Timeout(connect=timeout[0], read=timeout[1])
        self._http = urllib3.PoolManager(retries=False)
        #: Where the layer that is under way goes on, and the note of that.
        self._at = ""
        self._note = notes
        self._broke = False
        self._errors = urllib3.exceptions.HTTPError
        pair = f"{target.username}:{target.secret}".encode()
        self._basic = "Basic " + base64.b64encode(pair).decode()
        self._authorization = self._basic

    def has(self, blob: Blob) -> bool:
        reply = self.ask("HEAD", f"blobs/{blob.digest}", "looking for a layer", ok={200, 404})
        return reply.status == 200

    def upload(self, blob: Blob) -> None:
        """In pieces; after a failure the registry says how far it has come, or it is begun anew."""
        self._note = self._notes / f"{secrets.token_hex(8)}.json"
        for left in reversed(range(_BEGINNINGS)):
            reply = self.ask("POST", "blobs/uploads/", "pushing a layer", ok={202}, body=b"")
            self._goes_on_at(self._place(reply))
            self._broke = False
            try:
                self._pieces(blob)
            except BaseException as error:
                answered = isinstance(error, RemoteFailed) and error.status != 0
                self._take_back(self._note, answered=answered)
                if isinstance(error, _Forgotten) and left:
                    console.warn(f"{error.what}; this layer is sent anew")
                    continue
                raise
            self._note.unlink(missing_ok=True)
            return

    def _pieces(self, blob: Blob) -> None:
        done = 0
        while done < blob.bytes:
            with blob.path.open("rb") as file:
                file.seek(done)
                piece = file.read(CHUNK)
            place, done = retry.call(
                partial(self._piece, self._at, done, piece), policy=self._policy
            )
            self._goes_on_at(place)
        query = urlencode({"digest": blob.digest})
        try:
            self.ask("PUT", f"{self._at}{'&' if '?' in self._at else '?'}{query}",
                     "pushing a layer", ok={201}, body=b"")  # fmt: skip
        except RemoteFailed as error:
            # A lost reply: the first attempt had completed it, and its place is gone.
            if error.kind == "not-found" and self.has(blob):
                return
            if self._broke and error.status in _GONE:
                raise self._forgotten(error.status) from error
            raise

    def _forgotten(self, status: int) -> _Forgotten:
        return _Forgotten(
            f"{self._target.registry} does not know how far a layer has come",
            kind="rejected",
            status=status,
        )

    def _goes_on_at(self, place: str) -> None:
        """A registry names another place after each piece; the note of it outlives this run."""
        self._at = place
        self._notes.mkdir(parents=True, exist_ok=True)
        self._note.write_text(json.dumps({"place": place, "pid": os.getpid()}))

    def _take_back(self, note: Path, *, answered: bool = False) -> None:
        """What was begun is not left there. If it cannot be done now, the next run does it.

        A registry that `answered` gets its usual time, and a second try: who refuses a layer often
        closes the connection, which shows only when that is used again.
        """
        place = json.loads(note.read_text())["place"]
        note.write_text(json.dumps({"place": place, "pid": None}))
        take_back = partial(
            self._once, "DELETE", place, "taking a layer back", ok={204, *_GONE},
            timeout=None if answered else _LAST_WORD,
        )  # fmt: skip
        with contextlib.suppress(TaskError):
            try:
                take_back()
            except RemoteFailed as error:
                if not answered or error.kind != "network":
                    raise
                take_back()
            note.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Take back what runs that are no more had begun at this registry."""
        for note in self._notes.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                said = json.loads(note.read_text())
                if urlsplit(said["place"]).netloc != self._target.registry:
                    if time.time() - note.stat().st_mtime > _SWEPT_DAYS * 86400:
                        note.unlink(missing_ok=True)
                elif said["pid"] is None or not process.lives(int(said["pid"])):
                    self._take_back(note)

    def _piece(self, place: str, done: int, piece: bytes) -> tuple[str, int]:
        """Send one; after a failure go on from where the registry stands, be it within it."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{done}-{done + len(piece) - 1}",
        }
        try:
            reply = self._once("PATCH", place, "pushing a layer", body=piece, ok={202},
                               headers=headers)  # fmt: skip
        except RemoteFailed as error:
            if self._broke and error.status in _GONE:
                raise self._forgotten(error.status) from error
            if error.kind != "network" and error.status != 416:
                raise
            self._broke = True
            status = self._once("GET", place, "asking how far a layer has come", ok={204, *_GONE})
            if status.status in _GONE:
                raise self._forgotten(status.status) from error
            reached = int(status.headers.get("Range", "0-0").rpartition("-")[2]) + 1
            reached = 0 if status.headers.get("Range", "0-0") == "0-0" else reached
            if reached == done:
                raise
            return self._place(status), reached
        return self._place(reply), done + len(piece)

    def _place(self, reply: _Reply) -> str:
        """Where the upload goes on: a registry may move it with each piece, within itself."""
        place = urljoin(self._target.origin, reply.headers.get("Location", ""))
        if urlsplit(place).netloc != self._target.registry:
            raise TaskError("the registry sends the upload to another host: it gets no credentials")
        return self._target.origin + place.removeprefix(
            f"{urlsplit(place).scheme}://{self._target.registry}"
        )

    def ask(self, method: str, path: str, doing: str, **options: Any) -> _Reply:
        return retry.call(lambda: self._once(method, path, doing, **options), policy=self._policy)

    def _once(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        ok: set[int],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> _Reply:
        url = path
        if "://" not in path:
            url = f"{self._target.origin}/v2/{self._target.repository}/{path}"
        ask = partial(self._send, method, url, doing, body, headers or {}, timeout=timeout)
        reply = ask()
        if reply.status == 401 and self._log_in(reply):
            reply = ask()
        if reply.status in ok:
            return reply
        said = reply.body.decode(errors="replace").replace(self._target.secret, "[redacted]")
        raise retry.failure(
            f"{doing} at {self._target.registry}", reply.status, message=said,
            headers=reply.headers,
        )  # fmt: skip

    def _send(
        self,
        method: str,
        url: str,
        doing: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        timeout: float | None = None,
    ) -> _Reply:
        given = {**headers, "Authorization": self._authorization}
        if body is not None:
            given["Content-Length"] = str(len(body))
        try:
            reply = self._http.request(
                method,
                url,
                # As a file it goes in blocks, each within the time-out; bytes would have to go
                # whole within it, which is a limit on how slow a line may be.
                body=io.BytesIO(body) if body else body,
                headers=given,
                redirect=False,
                timeout=timeout or self._timeout,
            )
        except self._errors as error:
            raise RemoteFailed(
                f"{doing} at {self._target.registry}: no reply ({type(error).__name__})",
                kind="network",
            ) from error
        return _Reply(status=reply.status, headers=reply.headers, body=reply.data)

    def _log_in(self, reply: _Reply) -> bool:
        """Get the token that a registry like Harbor wants; False when it wants none."""
        challenge = reply.headers.get("WWW-Authenticate", "")
        fields = dict(_CHALLENGE.findall(challenge))
        if not challenge.lower().startswith("bearer ") or "realm" not in fields:
            return False
        realm = urlsplit(fields["realm"])
        if realm.hostname != urlsplit(f"//{self._target.registry}").hostname or (
            realm.scheme != urlsplit(self._target.origin).scheme
        ):
            raise TaskError("the registry wants its login at another host: it gets no credentials")
        query = {k: fields[k] for k in ("service", "scope") if k in fields}
        self._authorization = self._basic
        said = self._send("GET", f"{fields['realm']}?{urlencode(query)}", "logging in", None, {})
        if said.status != 200:
            return False
        token = json.loads(said.body)
        self._authorization = f"Bearer {token.get('token') or token.get('access_token')}"
        return True
