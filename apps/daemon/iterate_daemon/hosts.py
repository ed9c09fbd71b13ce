"""Which `Host` and `Origin` the daemon answers to: the defence against DNS rebinding and CSRF.

A page that rebinds its own name to 127.0.0.1 still sends its own name as `Host`; it cannot send an
IP literal. So literals and `localhost` are safe to answer, names only when they were allowed.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Authority:
    """A host, lower-case and without brackets, and a port if one was given."""

    host: str
    port: int | None
    is_literal: bool = False


def parse_authority(text: str) -> Authority | None:
    """`HOST[:PORT]` strictly as browsers send it; None for anything else."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port < 65536:
        return None
    host = match["v6"] or match["name"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None if match["v6"] else Authority(host.lower(), port)
    if (address.version == 6) != bool(match["v6"]):
        return None
    return Authority(address.compressed, port, is_literal=True)


def is_allowed(authority: Authority, allowed_names: Iterable[str]) -> bool:
    if authority.is_literal or authority.host == "localhost":
        return True
    return any(
        authority.host.endswith(name[1:]) and len(authority.host) >= len(name)
        if name.startswith("*.")
        else authority.host == name
        for name in allowed_names
    )


def is_same_origin(origin: str, host: Authority) -> bool:
    """Whether the page at `origin` was served by `host`.

    The scheme is not compared: behind a TLS-terminating proxy the daemon itself sees plain HTTP.
    """
    scheme, separator, rest = origin.partition("://")
    default = _DEFAULT_PORTS.get(scheme)
    authority = parse_authority(rest)
    if not separator or default is None or authority is None:
        return False
    return (authority.host, authority.port or default) == (host.host, host.port or default)
