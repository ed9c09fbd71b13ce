"""The OCI registry that images are pushed to: the distribution's registry program as a child."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from daytona_standin.child_processes import LOOPBACK, ChildServer, free_port

if TYPE_CHECKING:
    from pathlib import Path

_PROJECT: Final = "stand-in"
_REPOSITORIES: Final = "docker/registry/v2/repositories"
_MANIFEST_TYPES: Final = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)


@dataclass(frozen=True)
class PushedImage:
    """`image` names it by digest; `size_bytes` is compressed, as Daytona counts pulled images."""

    image: str
    digest: str
    size_bytes: int


class PushRegistry:
    """`program` is Debian's `docker-registry`, which upstream calls `registry`."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._address = f"{LOOPBACK}:{free_port()}"
        self._username = f"temp-push-robot-{secrets.token_hex(6)}"
        self._password = secrets.token_hex(20)
        data = folder / "registry"
        data.mkdir()
        self._repositories = data / _REPOSITORIES
        config = folder / "registry.json"  # every JSON text is a YAML text
        config.write_text(
            json.dumps(
                {
                    "version": "0.1",
                    "log": {"level": "warn"},
                    "storage": {
                        "filesystem": {"rootdirectory": str(data)},
                        "delete": {"enabled": True},
                    },
                    "http": {"addr": self._address, "secret": secrets.token_hex(16)},
                }
            )
        )
        server = ChildServer(
            "the registry",
            [str(program), "serve", str(config)],
            log=folder / "registry.log",
            base_url=f"http://{self._address}/v2/",
            environment=os.environ,
        )
        self._client = server.client
        self.stop = server.stop

    def push_access(self) -> dict[str, Any]:
        """A `RegistryPushAccessDto`."""
        expiry = datetime.now(UTC) + timedelta(hours=1)
        return {
            "username": self._username,
            "secret": self._password,
            "registryUrl": self._address,
            "registryId": "stand-in",
            "project": _PROJECT,
            "expiresAt": expiry.isoformat(),
        }

    def find(self, image: str) -> PushedImage | None:
        """What was pushed under that name, or None. No other registry can be asked. A digest
        takes precedence over a tag, as in Docker.
        """
        if not image.startswith(f"{self._address}/"):
            return None
        tagged_name, _, digest = image.removeprefix(f"{self._address}/").partition("@")
        name, _, tag = tagged_name.partition(":")
        path = f"{name}/manifests/{digest or tag}"
        response = self._client.get(path, headers={"Accept": _MANIFEST_TYPES})
        if response.status_code == 404:
            return None
        response.raise_for_status()
        manifest = response.json()
        digest = response.headers["docker-content-digest"]
        layers = manifest.get("layers") or manifest.get("manifests") or []
        return PushedImage(
            image=f"{self._address}/{name}@{digest}",
            digest=digest,
            size_bytes=sum(layer["size"] for layer in layers),
        )

    def tags(self) -> dict[str, list[str]]:
        """Repository → its tags."""
        names = self._client.get("_catalog").json()["repositories"] or []
        tags = {}
        for name in names:
            response = self._client.get(f"{name}/tags/list")
            tags[name] = (response.json().get("tags") or []) if response.is_success else []
        return tags

    def unfinished_uploads(self) -> list[str]:
        """Uploads of layers that were begun and neither finished nor cancelled."""
        begun_files = self._repositories.glob("**/_uploads/*/startedat")
        return sorted(str(f.parent.relative_to(self._repositories)) for f in begun_files)
