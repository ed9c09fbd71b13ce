"""What the daemon is told, all of it through its environment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_UI_DIR: Final = Path(__file__).resolve().parent.parent / "web" / "dist"
_HOST_PATTERN: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


class ConfigError(Exception):
    """The environment cannot be used; the message is one line saying what to do."""


@dataclass(frozen=True, kw_only=True)
class Config:
    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 3000
    #: Where OpenCode is reached from outside, through the daemon; None: nowhere.
    gateway_port: int | None = None
    notify_fd: int | None = None
    allowed_hosts: tuple[str, ...] = ()
    opencode_url: str = "http://127.0.0.1:4096"
    opencode_password: str | None = field(default=None, repr=False)
    s6_dir: Path = Path("/run/service")
    build_info: Path = Path("/etc/sandbox-build.json")
    state_file: Path = Path("/run/iterate/state.json")
    environment_file: Path = Path("/run/iterate/environment.json")
    #: None: an end of a session is forgotten at the daemon's restart.
    ended_sessions_file: Path | None = None
    ui_dir: Path = _UI_DIR


def from_env(env: Mapping[str, str]) -> Config:
    token = env.get("ITERATE_DAEMON_TOKEN", "").strip()
    if not token:
        raise ConfigError(
            "ITERATE_DAEMON_TOKEN is not set → give the daemon a secret, for example: "
            'ITERATE_DAEMON_TOKEN="$(openssl rand -hex 32)"'
        )
    notify_fd = _number(env, "ITERATE_DAEMON_NOTIFY_FD", low=0, high=1023)
    port = _number(env, "ITERATE_DAEMON_PORT", low=0, high=65535)
    ended_file = env.get("ITERATE_ENDED_SESSIONS_FILE")
    gateway_port = _number(env, "ITERATE_GATEWAY_PORT", low=1, high=65535)
    return Config(
        token=token,
        host=env.get("ITERATE_DAEMON_HOST") or Config.host,
        port=Config.port if port is None else port,
        gateway_port=gateway_port,
        notify_fd=notify_fd,
        allowed_hosts=_hosts(env.get("ITERATE_ALLOWED_HOSTS", "")),
        opencode_url=env.get("ITERATE_OPENCODE_URL") or Config.opencode_url,
        opencode_password=env.get("OPENCODE_SERVER_PASSWORD") or None,
        s6_dir=Path(env.get("ITERATE_S6_DIR") or Config.s6_dir),
        build_info=Path(env.get("ITERATE_BUILD_INFO") or Config.build_info),
        state_file=Path(env.get("ITERATE_STATE_FILE") or Config.state_file),
        environment_file=Path(env.get("ITERATE_ENVIRONMENT_FILE") or Config.environment_file),
        ended_sessions_file=Path(ended_file) if ended_file else None,
        ui_dir=Path(env.get("ITERATE_UI_DIR") or Config.ui_dir),
    )


def _number(env: Mapping[str, str], name: str, *, low: int, high: int) -> int | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not low <= int(text) <= high:
        raise ConfigError(f"{name} is not a number from {low} to {high} → set it to one")
    return int(text)


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    for number, name in enumerate(names, 1):
        if not _HOST_PATTERN.fullmatch(name):
            raise ConfigError(
                f"ITERATE_ALLOWED_HOSTS has an entry that is not a host name (number {number}) → "
                "make it a comma list of host names without scheme and port; `*.example.com` "
                "allows every name below example.com"
            )
    return names
