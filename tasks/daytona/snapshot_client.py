"""Questions about snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.daytona import naming
from tasks.daytona.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.daytona.connection import Connection


class SnapshotClient:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sdk = connection.sdk
        self._api = connection.sdk.SnapshotsApi(connection.client)

    def find(self, name: str) -> Snapshot | None:
        """By name or id, the organisation's own; None when there is none."""
        answer = self._connection.ask_or_none(
            f"looking for snapshot {name}",
            self._api.get_snapshot_without_preload_content,
            name,
        )
        return None if answer is None else Snapshot.from_answer(answer)

    def list_all(self) -> list[Snapshot]:
        """All of them: pages are small, and `general` ones of Daytona's own are among them."""
        snapshots: dict[str, Snapshot] = {}
        page = 1
        while True:
            answer = self._connection.ask(
                "listing the snapshots",
                self._api.get_all_snapshots_without_preload_content,
                page=page,
                limit=100,
            )
            items = answer.children("items")
            snapshots |= {(snapshot := Snapshot.from_answer(item)).id: snapshot for item in items}
            if not items or page >= (answer.integer("totalPages") or 1):
                return list(snapshots.values())
            page += 1

    def create_from_contexts(
        self, name: str, *, dockerfile: str, contexts: Sequence[str], **resources: int
    ) -> Snapshot:
        """Let Daytona build it. Sent once: the caller finds out what became of a lost reply."""
        build = self._sdk.CreateBuildInfo(
            dockerfile_content=dockerfile, context_hashes=list(contexts)
        )
        return self._create(name, build_info=build, **resources)

    def create_from_image(self, name: str, *, image: str, **resources: int) -> Snapshot:
        """Let Daytona pull it. Sent once, as above."""
        return self._create(name, image_name=naming.check_image(image), **resources)

    def _create(self, name: str, **options: Any) -> Snapshot:
        request = self._sdk.CreateSnapshot(
            name=naming.check_name(name),
            region_id=self._connection.credentials.target,
            **options,
        )
        answer = self._connection.ask(
            f"creating snapshot {name}",
            self._api.create_snapshot_without_preload_content,
            request,
            is_repeatable=False,
            scope="write:snapshots",
        )
        return Snapshot.from_answer(answer)

    def delete(self, snapshot: Snapshot) -> None:
        """Ask for its deletion; the caller waits until it is gone."""
        self._connection.ask_or_none(
            f"deleting snapshot {snapshot.name}",
            self._api.remove_snapshot_without_preload_content,
            snapshot.id,
            scope="delete:snapshots",
        )

    def activate(self, snapshot: Snapshot) -> None:
        self._connection.ask(
            f"activating snapshot {snapshot.name}",
            self._api.activate_snapshot_without_preload_content,
            snapshot.id,
            scope="write:snapshots",
        )

    def build_log_url(self, snapshot: Snapshot) -> str | None:
        answer = self._connection.ask_or_none(
            f"asking for the log of {snapshot.name}",
            self._api.get_snapshot_build_logs_url_without_preload_content,
            snapshot.id,
            is_repeatable=False,
        )
        return (answer and answer.optional_text("url")) or None

    def stream_build_log(self, url: str, *, idle: float) -> Iterator[bytes]:
        """Its bytes as they come, until their end or `idle` seconds without any."""
        followed = url + ("&" if "?" in url else "?") + "follow=true"
        return self._connection.stream("reading the build log", followed, idle=idle)
