"""Where to upload to: short-lived access to Daytona's object storage and to its registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.daytona.connection import Connection


@dataclass(frozen=True, kw_only=True)
class StorageAccess:
    """For build contexts."""

    access_key: str
    secret: str = field(repr=False)
    session_token: str = field(repr=False)
    url: str
    organization: str
    bucket: str
    region: str


@dataclass(frozen=True, kw_only=True)
class RegistryAccess:
    """For images. `registry` is host[:port]."""

    username: str
    secret: str = field(repr=False)
    registry: str
    project: str


class UploadAccessClient:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._storage = connection.sdk.ObjectStorageApi(connection.client)
        self._registries = connection.sdk.DockerRegistryApi(connection.client)

    def storage_access(self) -> StorageAccess:
        answer = self._connection.ask(
            "asking for access to the object storage",
            self._storage.get_push_access_without_preload_content,
            scope="write:snapshots",
        )
        return StorageAccess(
            access_key=answer.text("accessKey"),
            secret=answer.text("secret"),
            session_token=answer.text("sessionToken"),
            url=answer.text("storageUrl").rstrip("/"),
            organization=answer.text("organizationId"),
            bucket=answer.text("bucket"),
            region=answer.optional_text("region") or "us-east-1",
        )

    def registry_access(self) -> RegistryAccess:
        answer = self._connection.ask(
            "asking for access to the registry",
            self._registries.get_transient_push_access_without_preload_content,
            region_id=self._connection.credentials.target,
            scope="write:snapshots",
        )
        return RegistryAccess(
            username=answer.text("username"),
            secret=answer.text("secret"),
            # Without a scheme at 0.226, but the field is called an address.
            registry=answer.text("registryUrl").rpartition("://")[2].rstrip("/"),
            project=answer.text("project"),
        )
