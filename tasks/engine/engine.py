"""A Docker Engine that answers, and the least version of it that this project can use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tasks.engine import transport
from tasks.engine.advice import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.engine.endpoint import Endpoint
    from tasks.engine.transport import EngineReply

MIN_ENGINE: Final = (23, 0)  # the first whose `docker build` is BuildKit
MIN_API: Final = (1, 41)  # what docker-py 7 speaks
#: Seconds for a reply of an engine that is known to live, but may be busy.
BUSY_TIMEOUT: Final = 15.0


@dataclass(frozen=True)
class Engine:
    cli: str
    endpoint: Endpoint
    version: str
    api: str
    os: str
    arch: str
    #: "Docker Engine - Community", "Docker Desktop 4.30.0 (…)"; empty for Debian's.
    platform: str = ""
    buildx: str | None = None
    #: What the docker CLI needs in its environment to reach the same engine.
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.endpoint.host

    @property
    def is_local(self) -> bool:
        """Whether the files and ports of this machine are also the engine's."""
        desktop = "desktop" in self.platform.lower() or "/.colima/" in self.host
        return self.endpoint.scheme == "unix" and not desktop

    def command(self, *args: str) -> list[str]:
        """`docker …` on this engine; run it with `env=engine.environment`."""
        return [self.cli, *args]

    def get(self, path: str, *, timeout: float = BUSY_TIMEOUT) -> EngineReply:
        """GET `path` of the engine's API, without the SDK. Raises `EngineError`."""
        try:
            return transport.get(self.endpoint, path, timeout=timeout)
        except OSError as error:
            raise explain(self.endpoint, error) from error

    def sdk_arguments(self) -> dict[str, Any]:
        """`docker.DockerClient(**engine.sdk_arguments(), timeout=…)` reaches the same engine."""
        arguments: dict[str, Any] = {"base_url": self.host}
        if self.endpoint.scheme == "ssh":
            arguments["use_ssh_client"] = True
        if tls := self.endpoint.tls:
            from docker.tls import TLSConfig  # noqa: PLC0415  # only in sessions that install it

            pair = (str(tls.cert), str(tls.key)) if tls.cert and tls.key else None
            ca = str(tls.ca) if tls.ca else None
            arguments["tls"] = TLSConfig(client_cert=pair, ca_cert=ca, verify=tls.verify)
        return arguments


def version_numbers(version: str) -> tuple[int, ...]:
    """`26.1.5+dfsg1` → (26, 1, 5); (0,) for a text that does not start with a number."""
    match = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", version, re.ASCII)
    return tuple(int(part) for part in match[1].split(".")) if match else (0,)
