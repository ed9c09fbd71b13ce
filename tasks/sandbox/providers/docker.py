"""Sandboxes as containers of a Docker engine."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
import time
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import docker
import docker.errors
import requests.exceptions
from docker.types import Mount
from docker.utils.socket import frames_iter

from tasks.base import certificates, console, ports, project
from tasks.base.errors import TaskError
from tasks.engine import discovery
from tasks.sandbox.run import CREATED_LABEL, OWNER_LABEL, RUN_LABEL, Run, labels_say_keep
from tasks.sandbox.sandbox import Belonging, ExecResult, Provider, Sandbox, SandboxEnded, Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker.models.containers import Container

    from tasks.sandbox.sandbox import Capability

BUILD: Final = "nox -s snapshot_local"
#: LABEL org.opencontainers.image.title in the Dockerfile.
IMAGE_TITLE: Final = "iterate sandbox"
_CA_MOUNT: Final = "/run/secrets/ca_bundle"
_LOOPBACK: Final = "127.0.0.1"
#: What `uname -m` and Go call the same machine.
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}


class EngineFailed(TaskError):
    code = "engine-failed"


@contextmanager
def _engine(doing: str) -> Iterator[None]:
    """What the engine refuses becomes one line; what a sandbox lacks, `SandboxEnded`."""
    try:
        yield
    except docker.errors.APIError as error:
        said = console.printable(str(error.explanation or error))
        if error.status_code in {404, 409} and (
            "is not running" in said or "No such container" in said or "is paused" in said
        ):
            raise SandboxEnded(f"{doing}: {said}") from error
        raise EngineFailed(f"{doing}: the engine said: {said}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineFailed(
            f"{doing}: the engine does not answer ({console.printable(str(error))[:200]})",
            fix="nox -s doctor",
        ) from error


class DockerProvider(Provider):
    name: ClassVar[str] = "docker"
    #: A container offers all there is.
    not_offered: Mapping[Capability, str] = MappingProxyType({})

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client

    @classmethod
    def connect(cls) -> DockerProvider:
        """On the engine that the docker CLI would use; says what to do when there is none."""
        found = discovery.require()
        if found.endpoint.scheme != "unix":
            raise TaskError(
                f"the engine at {found.endpoint} is on another machine: ports and checkouts of"
                " its sandboxes cannot be reached from here",
                fix="run this where the engine runs, or `docker context use default`",
            )
        with _engine("connecting to the engine"):
            return cls(docker.DockerClient(**found.sdk_arguments(), timeout=60))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()

    def check(self, image: str) -> None:
        try:
            with _engine(f"looking for image {image}"):
                attrs = dict(self.client.images.get(image).attrs)
                machine = str(self.client.info().get("Architecture", ""))
        except EngineFailed as error:
            if isinstance(error.__cause__, docker.errors.ImageNotFound):
                raise TaskError(
                    f"image {image} does not exist on this engine", fix=build_command(image)
                ) from error
            raise
        check_image(image, attrs, machine=machine)

    def create(self, spec: Spec, run: Run) -> Sandbox:
        for port, wanted in spec.ports.items():
            if wanted:
                ports.require_free(
                    wanted,
                    purpose=f"port {port} of the sandbox",
                    find_publisher=self._find_publisher,
                )
        mounts = []
        # Behind a proxy that inspects TLS, what the sandbox fetches goes through it as well.
        if bundle := certificates.find_ca_bundle():
            mounts.append(Mount(_CA_MOUNT, str(bundle.resolve()), type="bind", read_only=True))
        if spec.checkout is not None:
            source = str(spec.checkout.resolve())
            mounts.append(Mount(project.LOCAL_MOUNT, source, type="bind", read_only=True))
        with _engine(f"creating a container of {spec.image}"):
            container = self.client.containers.create(
                spec.image,
                name=run.name(spec.purpose),
                labels=run.labels(spec.purpose),
                environment=dict(spec.env),
                mounts=mounts,
                # Port 0: the engine chooses.
                ports={f"{p}/tcp": (_LOOPBACK, w) for p, w in spec.ports.items()},
                init=spec.under_init or None,
            )
        return DockerSandbox(self, container, spec, run)

    def _find_publisher(self, port: int) -> str:
        for container in self.client.api.containers(filters={"publish": str(port)}):
            return f"container {container['Names'][0].lstrip('/')}"
        return ""

    def belongings(self) -> list[Belonging]:
        with _engine("listing what our runs own"):
            things = {"label": RUN_LABEL}
            api = self.client.api
            return [
                *(
                    _belonging("container", c["Id"], c["Names"][0].lstrip("/"), c["Labels"])
                    for c in api.containers(all=True, filters=things)
                ),
                *(
                    _belonging("volume", v["Name"], v["Name"], v["Labels"])
                    for v in api.volumes(filters=things)["Volumes"] or []
                ),
                *(
                    _belonging("network", n["Id"], n["Name"], n["Labels"])
                    for n in api.networks(filters=things)
                ),
                # After the containers, which use them.
                *(
                    _belonging("image", i["Id"], (i["RepoTags"] or [i["Id"]])[0], i["Labels"])
                    for i in api.images(all=False, filters=things)
                ),
            ]

    def remove(self, belonging: Belonging) -> None:
        api = self.client.api
        with _engine(f"deleting {belonging.kind} {belonging.name}"):
            try:
                if belonging.kind == "container":
                    api.remove_container(belonging.id, force=True, v=True)
                elif belonging.kind == "volume":
                    api.remove_volume(belonging.id, force=True)
                elif belonging.kind == "image":
                    api.remove_image(belonging.id, force=True)
                else:
                    api.remove_network(belonging.id)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                # Somebody else deletes it at this moment.
                if error.status_code != 409 or "in progress" not in str(error.explanation):
                    raise


def _belonging(kind: str, identity: str, name: str, labels: Mapping[str, str] | None) -> Belonging:
    labels = labels or {}
    try:
        created = float(labels.get(CREATED_LABEL, ""))
    except ValueError:
        created = time.time()  # of an unknown age: never too old
    return Belonging(
        kind=kind,
        id=identity,
        name=name,
        run=labels.get(RUN_LABEL, ""),
        owner=labels.get(OWNER_LABEL, ""),
        created=created,
        keep=labels_say_keep(labels),
    )


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


class DockerSandbox(Sandbox):
    def __init__(
        self, provider: DockerProvider, container: Container, spec: Spec, run: Run
    ) -> None:
        self._provider = provider
        self._api = provider.client.api
        self._id = str(container.id)
        self._urls: dict[int, str] = {}
        self.name = str(container.name)
        self.spec = spec
        self.run = run

    # ── life ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._urls = {}
        with _engine(f"starting {self.name}"):
            self._api.start(self._id)

    def stop(self, *, grace: float = 10) -> None:
        self._urls = {}
        with _engine(f"stopping {self.name}"):
            self._api.stop(self._id, timeout=int(grace))

    def kill(self) -> None:
        self._urls = {}
        with _engine(f"killing {self.name}"):
            self._api.kill(self._id, "SIGKILL")
            self._api.wait(self._id)

    def delete(self) -> None:
        with _engine(f"deleting {self.name}"), suppress(docker.errors.NotFound):
            self._api.remove_container(self._id, force=True, v=True)

    def ended(self) -> str | None:
        state = self._state()
        if state["Running"]:
            return None
        if state["Status"] == "created":
            return "was never started"
        memory = " (out of memory)" if state.get("OOMKilled") else ""
        return f"ended with status {state['ExitCode']}{memory}"

    def exit_status(self) -> int:
        state = self._state()
        if state["Running"]:
            raise TaskError(f"{self.name} still runs: it has no exit status yet")
        return int(state["ExitCode"])

    def health(self) -> str:
        health = self._state().get("Health") or {}
        return str(health.get("Status", "none"))

    def _state(self) -> dict[str, Any]:
        return dict(self._inspect()["State"])

    def _inspect(self) -> dict[str, Any]:
        with _engine(f"inspecting {self.name}"):
            return dict(self._api.inspect_container(self._id))

    # ── what goes on inside ─────────────────────────────────────────────────────────────────

    def run_inside(
        self,
        args: Sequence[str],
        *,
        user: str,
        env: Mapping[str, str],
        cwd: str | None,
        stdin: bytes,
        timeout: float,
    ) -> tuple[ExecResult, bool]:
        begun = time.monotonic()
        with _engine(f"running a command in {self.name}"):
            identity = self._api.exec_create(
                self._id,
                list(args),
                user=user,
                environment=dict(env),
                workdir=cwd,
                stdin=bool(stdin),
            )["Id"]
            conversation = _Conversation(self._api.exec_start(identity, socket=True), stdin)
            timed_out = conversation.ended_within(timeout) is False
            status = None if timed_out else self._api.exec_inspect(identity)["ExitCode"]
        result = ExecResult(
            command=" ".join(args),
            exit_code=124 if status is None else int(status),
            stdout_bytes=bytes(conversation.stdout),
            stderr_bytes=bytes(conversation.stderr),
            seconds=time.monotonic() - begun,
        )
        return result, timed_out

    def read(self, path: str) -> bytes:
        """Of a container that has ended, too: that is when its logs matter most."""
        try:
            return super().read(path)
        except SandboxEnded:
            with _engine(f"reading {path} of {self.name}"):
                chunks, _ = self._api.get_archive(self._id, path)
                packed = io.BytesIO(b"".join(chunks))
        with tarfile.open(fileobj=packed) as archive:
            member = archive.extractfile(archive.next() or "")
            return b"" if member is None else member.read()

    # ── from outside ────────────────────────────────────────────────────────────────────────

    def url(self, port: int) -> str:
        # Asked for again after each start: the engine gives another free port each time.
        if port not in self._urls:
            attrs = self._inspect()
            bindings = attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp") or []
            if not bindings:
                if not attrs["State"]["Running"]:
                    raise SandboxEnded(f"{self.name} does not run: port {port} is not published")
                raise TaskError(f"port {port} of {self.name} is not published")
            self._urls[port] = f"http://{bindings[0]['HostIp']}:{bindings[0]['HostPort']}"
        return self._urls[port]

    def headers(self, port: int) -> Mapping[str, str]:  # noqa: ARG002 - other providers need it
        return {}

    def console(self, *, tail: int | None = None) -> str:
        with _engine(f"reading the console of {self.name}"):
            text = self._api.logs(self._id, tail="all" if tail is None else tail)
        return bytes(text).decode(errors="replace")

    def describe(self) -> Mapping[str, Any]:
        attrs = self._inspect()
        config = attrs["Config"]
        config["Env"] = [variable.partition("=")[0] for variable in config.get("Env") or []]
        return attrs

    def how_to_reach(self) -> str:
        return f"docker exec -it {self.name} bash -l"

    def how_to_delete(self) -> str:
        return f"docker rm -f -v {self.name}"


class _Conversation:
    """Feeds and drains one exec in a thread, so that no deadline depends on what it writes."""

    def __init__(self, connection: Any, stdin: bytes) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._connection = connection
        self._threads = [threading.Thread(target=self._drain, daemon=True)]
        if stdin:
            self._threads.append(threading.Thread(target=self._feed, args=(stdin,), daemon=True))
        for thread in self._threads:
            thread.start()

    def ended_within(self, timeout: float) -> bool:
        """Whether the command ended; closes the connection either way."""
        reader = self._threads[0]
        reader.join(timeout)
        ended = not reader.is_alive()
        self._close()
        return ended

    def _raw(self) -> Any:
        """The socket below docker-py's reader: it can also be written to."""
        return getattr(self._connection, "_sock", self._connection)

    def _drain(self) -> None:
        with suppress(OSError, ValueError):  # closed at the deadline
            frames: Any = frames_iter
            for stream, chunk in frames(self._connection, tty=False):
                (self.stdout if stream == 1 else self.stderr).extend(chunk)

    def _feed(self, stdin: bytes) -> None:
        with suppress(OSError, ValueError):
            self._raw().sendall(stdin)
            self._raw().shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        raw = self._raw()
        with suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        # docker-py hands out a reader, over a response, over the socket: each wants its close.
        layers: tuple[Any, ...] = (
            getattr(self._connection, "_response", None),
            self._connection,
            raw,
        )
        for layer in layers:
            with suppress(OSError, ValueError, AttributeError):
                layer.close()
