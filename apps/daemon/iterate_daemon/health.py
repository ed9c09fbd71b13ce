"""Puts together what the daemon knows, for the health, readiness and status answers."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from iterate_daemon import __version__, info, opencode, services
from iterate_daemon.shared_answer import SharedAnswer
from iterate_daemon.versions import Versions

if TYPE_CHECKING:
    import httpx

    from iterate_daemon.config import Config
    from iterate_daemon.info import Problem, SourceInfo, StartInfo
    from iterate_daemon.services import SupervisedService

_log = logging.getLogger("iterate_daemon")

SELF: Final = "iterate-daemon"
OPENCODE: Final = "opencode"
#: Polling faster than this sees the same answer.
_FRESH_SECONDS: Final = 0.5


@dataclass(frozen=True)
class _Services:
    supervised: tuple[SupervisedService, ...]
    opencode: opencode.Opencode


class Health:
    def __init__(self, config: Config, http: httpx.AsyncClient) -> None:
        self._config = config
        self._http = http
        self._image, self._image_problems = info.read_build_info(config.build_info)
        self._services = SharedAnswer(self._ask_services, seconds=_FRESH_SECONDS)
        self._versions = Versions()
        self._last_reason: str | None = "nobody has asked yet"
        self._start = time.monotonic()
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    async def close(self) -> None:
        await self._versions.close()

    async def live(self) -> dict[str, Any]:
        state = await self._state()
        problems = self._problems(state)
        answer: dict[str, Any] = {
            "status": "degraded" if problems else "ok",
            "version": __version__,
            "sha": self._source(state).sha,
        }
        return answer | ({"problems": [asdict(p) for p in problems]} if problems else {})

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        state, current = await asyncio.gather(self._state(), self._services.get())
        ready = current.opencode.ready
        return ready, {
            "ready": ready,
            "sha": self._source(state).sha,
            "identity": self._image.identity,
            "services": {
                SELF: {"ready": True, "version": __version__},
                OPENCODE: {
                    "ready": ready,
                    "version": current.opencode.version,
                    "reason": current.opencode.reason,
                },
            },
            "problems": [asdict(p) for p in self._problems(state)],
        }

    async def status(self) -> dict[str, Any]:
        state, current, tools = await asyncio.gather(
            self._state(), self._services.get(), self._versions.read(self._image.pins)
        )
        return {
            "ready": current.opencode.ready,
            "mode": state.mode,
            "source": asdict(self._source(state)),
            "image": {
                **asdict(self._image.source),
                "identity": self._image.identity,
                "base_image": self._image.base_image,
                "built_at": self._image.built_at,
            },
            "sandbox": {"started_at": state.started_at},
            "daemon": {
                "version": __version__,
                "pid": os.getpid(),
                "started_at": self._started_at,
                "uptime_seconds": int(time.monotonic() - self._start),
            },
            "services": [
                _service_json(service, current.opencode) for service in current.supervised
            ],
            "tools": [
                {
                    "name": tool.tool.name,
                    "command": tool.tool.command,
                    "agent": tool.tool.agent,
                    "state": tool.state,
                    "pinned": tool.pinned,
                    "installed": tool.installed,
                    "detail": tool.detail,
                }
                for tool in tools
            ],
            "problems": [asdict(p) for p in self._problems(state)],
        }

    async def _state(self) -> StartInfo:
        """Of this start; its problems are joined by those of the services' own starts."""
        return await asyncio.to_thread(self._read_state)

    def _read_state(self) -> StartInfo:
        state = info.read_state(self._config.state_file)
        problems = info.read_environment_problems(self._config.environment_file)
        return replace(state, problems=state.problems + problems)

    async def _ask_services(self) -> _Services:
        supervised, answer = await asyncio.gather(
            services.read_all(self._config.s6_dir), opencode.probe(self._http)
        )
        by_name = {service.name: service for service in supervised}
        service = by_name.get(OPENCODE)
        if not answer.ready and service and service.reason:
            # The supervisor knows why nobody answers.
            answer = opencode.Opencode(ready=False, reason=f"the service {service.reason}")
        if answer.reason != self._last_reason:
            self._last_reason = answer.reason
            _log.info("opencode is %s", f"not ready: {answer.reason}" if answer.reason else "ready")
        return _Services(
            tuple(supervised)
            or (
                services.SupervisedService(name=SELF, state="unknown", pid=os.getpid()),
                services.SupervisedService(name=OPENCODE, state="unknown"),
            ),
            answer,
        )

    def _source(self, state: StartInfo) -> SourceInfo:
        return state.source or self._image.source

    def _problems(self, state: StartInfo) -> tuple[Problem, ...]:
        return self._image_problems + state.problems


def _service_json(service: SupervisedService, answer: opencode.Opencode) -> dict[str, Any]:
    """A service with what is known beyond its supervisor: whether it answers, and its version."""
    value = asdict(service)
    if service.name == SELF:
        return value | {"answers": True, "version": __version__}
    if service.name == OPENCODE:
        reason = service.reason or answer.reason
        return value | {"answers": answer.ready, "version": answer.version, "reason": reason}
    return value | {"answers": None, "version": None}
