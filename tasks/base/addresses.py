"""What a host's name or address says of where it is. Pure: no name is looked up."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def host_of(address: str) -> str:
    """The host in a URL or in `HOST:PORT`; "" where there is none."""
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def is_same_origin(one_url: str, other_url: str) -> bool:
    """Whether two URLs have the same scheme, host and port, and neither names a user."""
    try:
        origins = [_origin(one_url), _origin(other_url)]
    except ValueError:
        return False
    return origins[0] == origins[1] and None not in origins


def _origin(url: str) -> tuple[str, str, int | None] | None:
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.password is not None:
        return None
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def is_loopback(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _ip(name)
    mapped = getattr(address, "ipv4_mapped", None)
    return address is not None and (address.is_loopback or bool(mapped and mapped.is_loopback))


def is_link_local(host: str) -> bool:
    """Of the addresses that clouds serve their metadata at."""
    address = _ip(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(address and (address.is_link_local or (mapped and mapped.is_link_local)))


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
