"""A second BuildKit on loopback, with a registry beside it, for buildx's `remote` driver.

No package of Debian, PyPI or npm brings `buildkitd` (looked for 2026-11), but a Docker Engine with
the containerd image store has all of BuildKit in it: workers, exporters, cache exporters. Its
gRPC is behind an HTTP upgrade at /grpc; `Bridge` opens that door, so that buildx finds at a TCP
address of this machine what it would find at any BuildKit's.

The engine runs in a privileged container of its own: other network, other images, other cache, no
trace on this machine. `python -m tests.support.buildkit` starts one until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from tasks.base import project, waiting
from tests.support import loopback

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.sandbox.run import Run

NAME: Final = "second"
#: As the second BuildKit sees it, on its own loopback.
REGISTRY: Final = "127.0.0.1:5000"
_API: Final = 2375
_UPGRADE: Final = b"POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
_CONFIG: Final = {
    "features": {"containerd-snapshotter": True},
    "hosts": [f"tcp://0.0.0.0:{_API}"],
    "tls": False,
    "bip": "172.31.255.1/24",  # not what the engine around it uses
}
_REGISTRY: Final = {
    "version": "0.1",
    "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
    "http": {"addr": REGISTRY},
}
_DOCKERFILE: Final = f"""\
FROM {project.BASE_IMAGE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
      ca-certificates docker-registry docker.io iptables procps zstd \\
 && rm -rf /var/lib/apt/lists/* \\
 && echo '{json.dumps(_CONFIG)}' > /etc/docker/daemon.json \\
 && echo '{json.dumps(_REGISTRY)}' > /etc/docker/registry.json
VOLUME /var/lib/docker
CMD ["sleep", "infinity"]
"""


class BuildKit:
    """All it makes is the run's: killed, the run's reaper deletes the container and its data."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._folder = folder
        labels = [f"--label={key}={value}" for key, value in run.labels("buildkit").items()]
        image = f"{project.IMAGE}-test:{run.id}-buildkit"
        _docker("build", "--tag", image, *labels, "-", stdin=_DOCKERFILE)
        publish = f"--publish=127.0.0.1::{_API}"
        self.container = _docker(
            "run", "--detach", "--privileged", "--init", publish, *labels,
            f"--name={run.name('buildkit')}", image,
        ).strip()  # fmt: skip
        port = int(_docker("port", self.container, str(_API)).strip().rpartition(":")[2])
        self._bridge = Bridge(port)
        self.start_builder()
        #: Lays buildx's list of builders beside the user's, which stays as it is.
        self.environment = {"BUILDX_CONFIG": str(folder / "buildx")}
        self.buildx("create", "--name", NAME, "--driver", "remote", self._bridge.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._bridge.close()
        _docker("rm", "--force", "--volumes", self.container)

    def buildx(self, *arguments: str) -> str:
        return _docker("buildx", *arguments, environment=self.environment)

    def sh(self, script: str, *, check: bool = True) -> str:
        """The output of a shell script in the container."""
        return _docker("exec", self.container, "sh", "-c", script, check=check)

    def start_builder(self) -> None:
        self._background("dockerd", "/var/log/dockerd.log")
        waiting.until(
            self._bridge.answers, what="the second BuildKit", timeout=60,
            state=lambda: self.sh("tail -3 /var/log/dockerd.log", check=False),
        )  # fmt: skip

    def wipe(self) -> None:
        """Another machine, as far as builds can tell: nothing of what was built is left."""
        self._end("dockerd", "containerd")
        self.sh("rm -rf /var/lib/docker/* /var/run/docker*")
        self.start_builder()

    def start_registry(self) -> None:
        self._background("docker-registry serve /etc/docker/registry.json", "/var/log/registry.log")
        waiting.until(
            lambda: self.sh("grep -l ' 0100007F:1388 .* 0A ' /proc/net/tcp", check=False) != "",
            what="the registry", timeout=30,
        )  # fmt: skip

    def stop_registry(self) -> None:
        self._end("docker-registry")

    def pushed_texts(self, *texts: str) -> set[str]:
        """Which of `texts` stand in what was pushed to the registry, layers unpacked."""
        unpack = "for f in $(find /var/lib/registry -name data); do zstd -dcfq $f; done"
        return {t for t in texts if int(self.sh(f"({unpack}) | grep -acF '{t}' || true"))}

    def processes(self, of: str) -> bool:
        return self.sh(f"pgrep -f '^{of}'", check=False) != ""

    def _background(self, command: str, log: str) -> None:
        script = f"exec {command} >>{log} 2>&1"
        _docker("exec", "--detach", self.container, "sh", "-c", script)

    def _end(self, program: str, *helpers: str) -> None:
        self.sh(f"pkill -x {program}")
        alive = f"pgrep -x '{'|'.join((program, *helpers))}'"
        waiting.until(
            lambda: not self.sh(alive, check=False), what=f"the end of {program}", timeout=30
        )


class Bridge:
    """A TCP address where BuildKit's gRPC is spoken, of an engine's API on port `to`."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def answers(self) -> bool:
        try:
            self._open().close()
        except OSError:
            return False
        return True

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._open()
            except OSError:
                client.close()
                continue
            threading.Thread(target=_relay, args=(client, server), daemon=True).start()

    def _open(self) -> socket.socket:
        server = socket.create_connection(("127.0.0.1", self._to), timeout=10)
        try:
            _upgrade(server)
        except BaseException:
            server.close()
            raise
        return server


def _upgrade(server: socket.socket) -> None:
    server.sendall(_UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = server.recv(1)
        if not byte:
            raise ConnectionError("the engine closed the connection")
        head += byte
    if b" 101 " not in head.splitlines()[0]:
        raise ConnectionError(head.decode(errors="replace"))
    server.settimeout(None)


def _relay(client: socket.socket, server: socket.socket) -> None:
    with client, server:
        loopback.relay(client, server)


def _docker(
    *arguments: str,
    stdin: str = "",
    environment: dict[str, str] | None = None,
    check: bool = True,
) -> str:
    result = subprocess.run(
        ["docker", *arguments], check=False, capture_output=True, text=True, input=stdin,
        timeout=600, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if check and result.returncode:
        raise AssertionError(f"docker {arguments}: {result.stderr[-2000:]}")
    return result.stdout


def main() -> None:
    from tasks.sandbox.providers.docker import DockerProvider
    from tasks.sandbox.run import Run

    with (
        DockerProvider.connect() as provider,
        Run(provider) as run,
        BuildKit(run, run.folder) as second,
    ):
        second.start_registry()
        for name, value in {**second.environment, "SANDBOX_BUILDER": NAME}.items():
            print(f"export {name}={value}", flush=True)
        print(f"export SANDBOX_BUILD_CACHE=registry:{REGISTRY}/sandbox/layers", flush=True)
        print(f"# docker exec -it {second.container[:12]} bash", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(86400)


if __name__ == "__main__":
    main()
