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
from iterate_daemon.once import Once
from iterate_daemon.versions import Versions

if TYPE_CHECKING:
    import httpx

    from iterate_daemon.config import Config
    from iterate_daemon.info import Problem, Source, State
    from iterate_daemon.services import Service

_log = logging.getLogger("iterate_daemon")

SELF: Final = "iterate-daemon"
OPENCODE: Final = "opencode"
#: Polling faster than this sees the same answer.
_FRESH_SECONDS: Final = 0.5


@dataclass(frozen=True)
class _Services:
    supervised: tuple[Service, ...]
    opencode: opencode.Opencode


class Health:
    def __init__(self, config: Config, http: httpx.AsyncClient) -> None:
        self._config = config
        self._http = http
        self._built, self._built_problems = info.read_build_info(config.build_info)
        self._services = Once(self._ask_services, seconds=_FRESH_SECONDS)
        self._versions = Versions()
        self._said: str | None = "nobody has asked yet"
        self._started = time.monotonic()
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
        state, now = await asyncio.gather(self._state(), self._services.get())
        ready = now.opencode.ready
        return ready, {
            "ready": ready,
            "sha": self._source(state).sha,
            "identity": self._built.identity,
            "services": {
                SELF: {"ready": True, "version": __version__},
                OPENCODE: {
                    "ready": ready,
                    "version": now.opencode.version,
                    "reason": now.opencode.reason,
                },
            },
            "problems": [asdict(p) for p in self._problems(state)],
        }

    async def status(self) -> dict[str, Any]:
        state, now, tools = await asyncio.gather(
            self._state(), self._services.get(), self._versions.read(self._built.pins)
        )
        return {
            "ready": now.opencode.ready,
            "mode": state.mode,
            "source": asdict(self._source(state)),
            "image": {
                **asdict(self._built.source),
                "identity": self._built.identity,
                "base_image": self._built.base_image,
                "built_at": self._built.built_at,
            },
            "sandbox": {"started_at": state.started_at},
            "daemon": {
                "version": __version__,
                "pid": os.getpid(),
                "started_at": self._started_at,
                "uptime_seconds": int(time.monotonic() - self._started),
            },
            "services": [_shown(service, now.opencode) for service in now.supervised],
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

    async def _state(self) -> State:
        """Of this start; its problems are joined by those of the services' own starts."""
        return await asyncio.to_thread(self._read_state)

    def _read_state(self) -> State:
        state = info.read_state(self._config.state_file)
        problems = info.read_environment_problems(self._config.environment_file)
        return replace(state, problems=state.problems + problems)

    async def _ask_services(self) -> _Services:
        supervised, answer = await asyncio.gather(
            services.read_all(self._config.s6_dir), opencode.probe(self._http)
        )
        by_name = {service.name: service for service in supervised}
        known = by_name.get(OPENCODE)
        if not answer.ready and known and known.reason:
            # The supervisor knows why nobody answers.
            answer = opencode.Opencode(ready=False, reason=f"the service {known.reason}")
        if answer.reason != self._said:
            self._said = answer.reason
            _log.info("opencode is %s", f"not ready: {answer.reason}" if answer.reason else "ready")
        return _Services(
            tuple(supervised)
            or (
                services.Service(name=SELF, state="unknown", pid=os.getpid()),
                services.Service(name=OPENCODE, state="unknown"),
            ),
            answer,
        )

    def _source(self, state: State) -> Source:
        return state.source or self._built.source

    def _problems(self, state: State) -> tuple[Problem, ...]:
        return self._built_problems + state.problems


def _shown(service: Service, answer: opencode.Opencode) -> dict[str, Any]:
    """A service with what is known beyond its supervisor: whether it answers, and its version."""
    shown = asdict(service)
    if service.name == SELF:
        return shown | {"answers": True, "version": __version__}
    if service.name == OPENCODE:
        reason = service.reason or answer.reason
        return shown | {"answers": answer.ready, "version": answer.version, "reason": reason}
    return shown | {"answers": None, "version": None}
