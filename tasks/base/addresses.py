"""What a host's name or address says of where it is. Pure: no name is looked up."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_of(address: str) -> str:
    """The host in a URL or in `HOST:PORT`; "" where there is none."""
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    found = _ip(host)
    return found is not None and found.is_loopback


def is_link_local(host: str) -> bool:
    """Of the addresses that clouds serve their metadata at."""
    found = _ip(host)
    mapped = getattr(found, "ipv4_mapped", None)
    return bool(found and (found.is_link_local or (mapped and mapped.is_link_local)))


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
