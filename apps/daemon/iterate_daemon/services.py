"""The supervised services as s6 sees them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from iterate_daemon import children

if TYPE_CHECKING:
    from pathlib import Path

#: `restarting` is down and about to be started again, `failed` is down for good after a failure.
ServiceState = Literal["ready", "starting", "up", "restarting", "down", "failed", "unknown"]

_FIELDS: Final = ("up", "wantedup", "ready", "pid", "exitcode", "signum", "updownfor")
_SECONDS: Final = 3.0
_SIGTERM: Final = 15
#: Exit codes of a service that was asked to stop: 0, or 128 + SIGINT, 128 + SIGTERM.
_ASKED_TO_STOP: Final = frozenset({0, 130, 143})


@dataclass(frozen=True, kw_only=True)
class SupervisedService:
    name: str
    state: ServiceState
    pid: int | None = None
    since_seconds: int | None = None
    restarts: int | None = None
    reason: str | None = None


def names(s6_dir: Path) -> list[str]:
    """Folders of the scan directory; those with a dot in front are s6's own."""
    try:
        folders = [entry.name for entry in s6_dir.iterdir() if entry.is_dir()]
    except OSError:
        return []
    return sorted(name for name in folders if not name.startswith("."))


async def read_all(s6_dir: Path) -> list[SupervisedService]:
    service_names = await asyncio.to_thread(names, s6_dir)
    return list(await asyncio.gather(*(read(s6_dir / name) for name in service_names)))


async def read(folder: Path) -> SupervisedService:
    try:
        status, deaths = await asyncio.gather(
            children.output(["s6-svstat", "-o", ",".join(_FIELDS), str(folder)], seconds=_SECONDS),
            children.output(["s6-svdt", str(folder)], seconds=_SECONDS),
        )
        notifies = await asyncio.to_thread((folder / "notification-fd").exists)
    except TimeoutError:
        return SupervisedService(
            name=folder.name, state="unknown", reason="s6-svstat did not answer"
        )
    except OSError as error:
        return SupervisedService(
            name=folder.name, state="unknown", reason=f"cannot run s6-svstat: {error}"
        )
    if status.status:
        reason = " ".join(status.stderr.split()) or f"s6-svstat failed with {status.status}"
        return SupervisedService(name=folder.name, state="unknown", reason=reason)
    restarts = len(deaths.stdout.splitlines()) if not deaths.status else None
    return parse(folder.name, status.stdout, notifies=notifies, restarts=restarts)


def parse(name: str, text: str, *, notifies: bool, restarts: int | None) -> SupervisedService:
    """Read one line of `s6-svstat -o`."""
    words = text.split()
    if len(words) != len(_FIELDS):
        return SupervisedService(
            name=name, state="unknown", reason="s6-svstat printed something unknown"
        )
    values = dict(zip(_FIELDS, words, strict=True))
    state: ServiceState
    reason = None
    if values["up"] == "true":
        state = "up" if not notifies else "ready" if values["ready"] == "true" else "starting"
    else:
        exitcode, signum = _number(values["exitcode"]), _number(values["signum"])
        crashed = exitcode not in _ASKED_TO_STOP if signum is None else signum != _SIGTERM
        state = "restarting" if values["wantedup"] == "true" else "failed" if crashed else "down"
        end = f"exited with {exitcode}" if signum is None else f"ended by signal {signum}"
        gave_up = {"restarting": "restarting", "failed": "not restarted any more"}
        reason = f"{end}, {gave_up.get(state, 'stopped on request')}"
    return SupervisedService(
        name=name,
        state=state,
        pid=_number(values["pid"]),
        since_seconds=_number(values["updownfor"]),
        restarts=restarts,
        reason=reason,
    )


def _number(text: str) -> int | None:
    """s6 prints -1 for what does not apply."""
    try:
        value = int(text)
    except ValueError:
        return None
    return value if value >= 0 else None
