"""The OCI registry that `--via push` pushes to: Debian's docker-registry as a child."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tasks.base import programs
from tasks.standin.children import LOOPBACK, Server, free_port

if TYPE_CHECKING:
    from pathlib import Path

PROJECT: Final = "stand-in"
_REPOSITORIES: Final = "docker/registry/v2/repositories"
_MANIFESTS: Final = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)


@dataclass(frozen=True)
class Pushed:
    """An image in the registry; `size` is compressed, as Daytona counts pulled ones."""

    image: str
    digest: str
    size: int


class Registry:
    def __init__(self, folder: Path) -> None:
        program = str(programs.require_registry())
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.username = f"temp-push-robot-{secrets.token_hex(6)}"
        self.password = secrets.token_hex(20)
        data = folder / "registry"
        data.mkdir(parents=True)
        config = folder / "registry.json"  # JSON is YAML
        config.write_text(
            json.dumps(
                {
                    "version": "0.1",
                    "log": {"level": "warn"},
                    "storage": {
                        "filesystem": {"rootdirectory": str(data)},
                        "delete": {"enabled": True},
                    },
                    "http": {"addr": self.address, "secret": secrets.token_hex(16)},
                }
            )
        )
        self._data = data
        server = Server(
            "docker-registry",
            [program, "serve", str(config)],
            log=folder / "registry.log",
            base_url=f"http://{self.address}/v2/",
        )
        self._client = server.client
        self.stop = server.stop

    def push_access(self) -> dict[str, Any]:
        expires = datetime.now(UTC) + timedelta(hours=1)
        return {
            "username": self.username,
            "secret": self.password,
            "registryUrl": self.address,
            "registryId": "stand-in",
            "project": PROJECT,
            "expiresAt": expires.isoformat(),
        }

    def find(self, image: str) -> Pushed | None:
        """What was pushed here under that name, or None; other registries cannot be asked."""
        if not image.startswith(f"{self.address}/"):
            return None
        name, _, wanted = image.removeprefix(f"{self.address}/").partition("@")
        if not wanted:
            name, _, wanted = name.rpartition(":")
        reply = self._client.get(f"{name}/manifests/{wanted}", headers={"Accept": _MANIFESTS})
        if reply.status_code == 404:
            return None
        reply.raise_for_status()
        manifest = reply.json()
        digest = reply.headers["docker-content-digest"]
        layers = manifest.get("layers") or manifest.get("manifests") or []
        size = sum(layer["size"] for layer in layers)
        return Pushed(image=f"{self.address}/{name}@{digest}", digest=digest, size=size)

    def repositories(self) -> dict[str, list[str]]:
        names = self._client.get("_catalog").json()["repositories"] or []
        found = {}
        for name in names:
            reply = self._client.get(f"{name}/tags/list")
            found[name] = (reply.json().get("tags") or []) if reply.is_success else []
        return found

    def unfinished(self) -> list[str]:
        """Pushes of layers that were begun and neither ended nor taken back."""
        begun = (self._data / _REPOSITORIES).glob("**/_uploads/*/startedat")
        return sorted(str(file.parent.relative_to(self._data / _REPOSITORIES)) for file in begun)
