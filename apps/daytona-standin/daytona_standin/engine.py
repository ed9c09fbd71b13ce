"""The Docker Engine, and what of it is the stand-in's own: all that carries its label."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import docker
import docker.errors
import requests.exceptions

from daytona_standin.errors import StandInError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: On every container and image; its value is the stand-in's identity.
LABEL: Final = "daytona-standin.instance"
_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
#: Seconds for a request to the engine: a build or a stop may take minutes.
_TIMEOUT: Final = 600


class LocalEngine:
    """The engine that DOCKER_HOST and its companions name, else the one at the usual socket."""

    def __init__(
        self, identity: str, *, extra_labels: Mapping[str, str] | None = None, connections: int = 10
    ) -> None:
        self.identity = identity
        self.labels = {**(extra_labels or {}), LABEL: identity}
        try:
            self._client = docker.DockerClient.from_env(timeout=_TIMEOUT, max_pool_size=connections)
            #: Of the engine: `amd64`, `arm64`, …
            self.architecture = str(self._client.version().get("Arch", ""))
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise StandInError(
                f"no Docker Engine answers: {error}; start it, or set DOCKER_HOST"
            ) from error
        self.api: Any = self._client.api

    def close(self) -> None:
        self._client.close()

    @property
    def cli_environment(self) -> dict[str, str]:
        """With it the docker CLI, too, uses this engine, whatever the user's docker context is."""
        host = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
        return {**os.environ, "DOCKER_HOST": host}

    @property
    def _filter(self) -> dict[str, str]:
        return {"label": f"{LABEL}={self.identity}"}

    def containers(self) -> dict[str, str]:
        """Id → name of each container of this stand-in."""
        listed = self.api.containers(all=True, filters=self._filter)
        return {c["Id"]: c["Names"][0].lstrip("/") if c["Names"] else c["Id"] for c in listed}

    def images(self) -> dict[str, list[str]]:
        """Id → tags of each image of this stand-in."""
        listed = self.api.images(filters=self._filter)
        return {image["Id"]: list(image["RepoTags"] or []) for image in listed}

    def remove_container(self, identity: str) -> None:
        with suppress(docker.errors.NotFound):
            self.api.remove_container(identity, force=True, v=True)

    def remove_all(self, *, quiet_seconds: float = 0.0, patience: float = 120.0) -> None:
        """Remove all containers and images of this stand-in.

        It looks again until nothing new has appeared for `quiet_seconds`: after a violent end, a
        request that the engine accepted before may still be under way.
        """
        deadline = time.monotonic() + patience
        quiet_since = time.monotonic()
        while time.monotonic() < deadline:
            containers, images = self.containers(), self.images()
            for container in containers:
                self._remove(self.remove_container, container)
            for image in images:
                self._remove(self._remove_image, image)
            if containers or images:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= quiet_seconds:
                return
            else:
                time.sleep(0.25)
        names = [*self.containers().values(), *self.images()]
        raise StandInError(f"the engine does not remove {', '.join(names)}")

    def _remove_image(self, identity: str) -> None:
        self.api.remove_image(identity, force=True)

    @staticmethod
    def _remove(remove: Any, identity: str) -> None:
        # It may vanish, or somebody else may remove it, at this very moment.
        with suppress(docker.errors.APIError):
            remove(identity)
