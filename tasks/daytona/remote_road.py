"""The context goes up in parts, and Daytona builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base import console
from tasks.base.project import state_dir
from tasks.build import parts
from tasks.daytona import content
from tasks.daytona.storage import upload
from tasks.git import object_cache

if TYPE_CHECKING:
    from tasks.build.parts import Packed
    from tasks.daytona.api import Daytona
    from tasks.daytona.request import ResolvedRequest
    from tasks.daytona.snapshot import Snapshot
    from tasks.daytona.transfer import TransferReport


def pack(request: ResolvedRequest) -> Packed:
    """The context's parts; people are told what is in them."""
    context = parts.pack(request.source, object_cache.folder())
    console.step(
        f"context: {context.report.files} files, {console.size(context.report.file_bytes)};"
        f" {len(context.parts)} parts, {console.size(context.bytes)}"
    )
    for note in context.report.notes[len(request.source.tree.all_notes()) :]:
        console.warn(note)
    return context


class RemoteRoad:
    digest = ""

    def __init__(self, api: Daytona, request: ResolvedRequest, name: str) -> None:
        self._api = api
        self._request = request
        self._name = name
        self._context: Packed | None = None
        self.report: TransferReport | None = None

    def create(self) -> Snapshot:
        if self._context is None:
            self._context = pack(self._request)
        context = self._context
        report = upload.upload(
            context.parts, self._api.uploads.storage_access, unfinished=state_dir() / "uploads"
        )
        console.step(f"uploaded: {report}")
        self.report = self.report or report
        return self._api.snapshots.create_from_contexts(
            self._name,
            dockerfile=content.mark_dockerfile(
                context.dockerfile, context.identity, rebuild=self._request.request.rebuild
            ),
            contexts=[part.digest for part in context.parts],
            **self._request.request.resources.options(),
        )
