"""A local image into an OCI registry: each request follows `tasks.base.retry`, and an upload that
broke goes on where the registry says it stands.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console, retry
from tasks.base.project import state_dir
from tasks.daytona.registry import layers as image_layers
from tasks.daytona.registry import open_pushes
from tasks.daytona.registry.blob_upload import BlobUpload
from tasks.daytona.registry.client import TIMEOUT, ImageRegistryClient
from tasks.daytona.transfer import TransferProgress, TransferReport

if TYPE_CHECKING:
    from tasks.daytona.registry.client import PushTarget
    from tasks.daytona.registry.layers import ImageBlob
    from tasks.engine.engine import Engine

_MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, kw_only=True)
class ImagePush:
    """`digest` is the manifest's, `sha256:…`: it names the image in that registry."""

    digest: str
    report: TransferReport


def push(
    engine: Engine,
    image: str,
    target: PushTarget,
    *,
    tag: str,
    policy: retry.Policy = retry.DEFAULT,
) -> ImagePush:
    """Send `image` (an id or name on `engine`); blobs that are there are not sent."""
    with tempfile.TemporaryDirectory(prefix="iterate-push-") as folder:
        config, layers = image_layers.unpack(engine, image, Path(folder))
        return send(config, layers, target, tag=tag, policy=policy)


def send(
    config: ImageBlob,
    layers: list[ImageBlob],
    target: PushTarget,
    *,
    tag: str,
    policy: retry.Policy = retry.DEFAULT,
    timeout: tuple[float, float] = TIMEOUT,
    notes: Path | None = None,
) -> ImagePush:
    """Blobs, then the manifest that names them. `notes` is the folder of `open_pushes`."""
    start = time.monotonic()
    notes = notes or state_dir() / "pushes"
    client = ImageRegistryClient(target, policy=policy, timeout=timeout)
    open_pushes.sweep(client, notes)
    distinct = list({blob.digest: blob for blob in [*layers, config]}.values())
    missing = [blob for blob in distinct if not client.has(blob)]
    to_send = sum(blob.bytes for blob in missing)
    total = sum(blob.bytes for blob in distinct)
    reused = len(distinct) - len(missing)
    console.step(
        f"pushing {console.size(to_send)} of {console.size(total)};"
        f" {reused} of {len(distinct)} blobs are there already"
    )
    progress = TransferProgress(to_send=to_send, reused=reused, parts=len(distinct))
    with progress:
        for blob in missing:
            BlobUpload(client, blob, notes, progress=progress.add).run()
    digest = _put_manifest(client, config, layers, tag)
    report = TransferReport(
        parts=len(distinct),
        reused=reused,
        bytes_sent=to_send,
        total=total,
        seconds=time.monotonic() - start,
    )
    console.step(f"pushed: {report}")
    return ImagePush(digest=digest, report=report)


def _put_manifest(
    client: ImageRegistryClient, config: ImageBlob, layers: list[ImageBlob], tag: str
) -> str:
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": config.descriptor(),
            "layers": [layer.descriptor() for layer in layers],
        }
    ).encode()
    client.ask(
        "PUT",
        f"manifests/{tag}",
        "naming the image",
        body=manifest,
        ok={201},
        headers={"Content-Type": _MANIFEST_TYPE},
    )
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"
