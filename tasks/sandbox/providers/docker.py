"""Sandboxes as containers of a Docker Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import docker
import docker.errors
from docker.types import Mount

from tasks.base import certificates, ports, project
from tasks.base.errors import TaskError
from tasks.engine import discovery
from tasks.sandbox.ownership import RUN_LABEL, belonging_from_labels
from tasks.sandbox.provider import Provider
from tasks.sandbox.providers.docker_errors import EngineFailed, engine_errors
from tasks.sandbox.providers.docker_sandbox import DockerSandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.sandbox.ownership import Ownership
    from tasks.sandbox.sandbox import Sandbox
    from tasks.sandbox.values import Belonging, Spec

BUILD: Final = "nox -s snapshot_local"
#: LABEL org.opencontainers.image.title in the Dockerfile.
IMAGE_TITLE: Final = project.NAME
_CA_MOUNT: Final = "/run/secrets/ca_bundle"
_LOOPBACK: Final = "127.0.0.1"
#: What `uname -m` and Go call the same machine.
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}


class DockerProvider(Provider):
    """A container offers all there is."""

    name: ClassVar[str] = "docker"

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client

    @classmethod
    def connect(cls) -> DockerProvider:
        """On the engine that the docker CLI would use; says what to do when there is none."""
        engine = discovery.require()
        if engine.endpoint.scheme != "unix":
            raise TaskError(
                f"the engine at {engine.endpoint} is on another machine: ports and checkouts of"
                " its sandboxes cannot be reached from here",
                fix="run this where the engine runs, or `docker context use default`",
            )
        with engine_errors("connecting to the engine"):
            return cls(docker.DockerClient(**engine.sdk_arguments(), timeout=60))

    def close(self) -> None:
        self.client.close()

    def check(self, image: str) -> None:
        try:
            with engine_errors(f"looking for image {image}"):
                attrs = dict(self.client.images.get(image).attrs)
                machine = str(self.client.info().get("Architecture", ""))
        except EngineFailed as error:
            if isinstance(error.__cause__, docker.errors.ImageNotFound):
                raise TaskError(
                    f"image {image} does not exist on this engine", fix=build_command(image)
                ) from error
            raise
        check_image(image, attrs, machine=machine)

    def create_sandbox(self, spec: Spec, run: Ownership) -> Sandbox:
        for port, host_port in spec.ports.items():
            if host_port:
                ports.require_free(
                    host_port,
                    purpose=f"port {port} of the sandbox",
                    find_publisher=self._find_publisher,
                )
        with engine_errors(f"creating a container of {spec.image}"):
            container = self.client.containers.create(
                spec.image,
                name=run.name(spec.purpose),
                labels=run.labels(spec.purpose),
                environment=dict(spec.env),
                mounts=_mounts(spec),
                # Port 0: the engine chooses.
                ports={f"{p}/tcp": (_LOOPBACK, host_port) for p, host_port in spec.ports.items()},
                init=spec.under_init or None,
            )
        return DockerSandbox(self.client.api, container, spec, run)

    def _find_publisher(self, port: int) -> str:
        for container in self.client.api.containers(filters={"publish": str(port)}):
            return f"container {container['Names'][0].lstrip('/')}"
        return ""

    def belongings(self) -> list[Belonging]:
        """Images come last: the containers use them."""
        filters = {"label": RUN_LABEL}
        api = self.client.api
        with engine_errors("listing what our runs own"):
            entries = [
                *(
                    ("container", c["Id"], c["Names"][0].lstrip("/"), c["Labels"])
                    for c in api.containers(all=True, filters=filters)
                ),
                *(
                    ("volume", v["Name"], v["Name"], v["Labels"])
                    for v in api.volumes(filters=filters)["Volumes"] or []
                ),
                *(
                    ("network", n["Id"], n["Name"], n["Labels"])
                    for n in api.networks(filters=filters)
                ),
                *(
                    ("image", i["Id"], (i["RepoTags"] or [i["Id"]])[0], i["Labels"])
                    for i in api.images(all=False, filters=filters)
                ),
            ]
        return [belonging_from_labels(*entry) for entry in entries]

    def remove(self, belonging: Belonging) -> None:
        with engine_errors(f"deleting {belonging.kind} {belonging.name}"):
            try:
                self._remove(belonging.kind, belonging.id)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                # Somebody else deletes it at this moment.
                if error.status_code != 409 or "in progress" not in str(error.explanation):
                    raise

    def _remove(self, kind: str, identity: str) -> None:
        api = self.client.api
        if kind == "container":
            api.remove_container(identity, force=True, v=True)
        elif kind == "volume":
            api.remove_volume(identity, force=True)
        elif kind == "image":
            api.remove_image(identity, force=True)
        else:
            api.remove_network(identity)


def _mounts(spec: Spec) -> list[Mount]:
    mounts = []
    # Behind a proxy that inspects TLS, what the sandbox fetches goes through it as well.
    if bundle := certificates.find_ca_bundle():
        mounts.append(Mount(_CA_MOUNT, str(bundle.resolve()), type="bind", read_only=True))
    if spec.checkout is not None:
        source = str(spec.checkout.resolve())
        mounts.append(Mount(project.LOCAL_MOUNT, source, type="bind", read_only=True))
    return mounts


def build_command(image: str) -> str:
    return BUILD if image == project.LOCAL_IMAGE else f"{BUILD} -- --tag {image}"


def check_image(image: str, attrs: Mapping[str, Any], *, machine: str) -> None:
    """Refuse an image that cannot be a sandbox here; `attrs` is what `docker inspect` shows."""
    built_for = str(attrs.get("Architecture", ""))
    runs = _ARCHITECTURES.get(machine, machine)
    if built_for and runs and built_for != runs:
        raise TaskError(
            f"image {image} is made for {built_for} and this engine runs {runs}",
            fix=build_command(image),
        )
    labels = (attrs.get("Config") or {}).get("Labels") or {}
    # Set by the Dockerfile itself, so by every way of building; our base image has other labels.
    if labels.get("org.opencontainers.image.title") != IMAGE_TITLE:
        raise TaskError(
            f"image {image} is not a sandbox image: its title is not `{IMAGE_TITLE}`",
            fix=build_command(image),
        )
