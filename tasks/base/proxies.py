"""Which proxy a request goes through, as the environment says it.

`HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` name proxies, `NO_PROXY` the hosts that are reached
without one. Each may be written in lower case, which takes precedence; a variable that is set to
nothing means "no proxy". There is no standard; this is what curl, Go and Python agree on:
https://about.gitlab.com/blog/we-need-to-talk-no-proxy/ (read 2026-11).

This machine itself is never reached through a proxy. Standard library only.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from tasks.base import addresses
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """`url` has neither user nor password; `authorization` is the header that holds them, or ""."""

    url: str
    authorization: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy is told, and nobody behind it."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def choose_proxy(url: str, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy for `url`, or None. Raises `BadInput` for a variable that cannot be read."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), parts.hostname or ""
    if addresses.is_loopback(host):
        return None
    for name in (f"{scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if variable in environment:
                value = environment[variable].strip()
                excluded = _no_proxy(environment)
                if not value or is_excluded(excluded, host, parts.port or _PORTS.get(scheme)):
                    return None
                return parse_proxy(value, source=variable)
    return None


def parse_proxy(text: str, *, source: str) -> Proxy:
    """`http://USER:PASSWORD@HOST:PORT`, or less of it. `source` is who gave it, for the error."""
    address = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    # The text itself is in no message: it may hold a password.
    if parts.scheme.startswith("socks"):
        raise BadInput(
            f"{source} names a SOCKS proxy, which is not supported",
            fix="give an HTTP proxy, as http://HOST:PORT",
        )
    if parts.scheme not in _PORTS or not host or not re.fullmatch(r"[\w.:%-]+", host):
        raise BadInput(
            f"{source} is not the address of a proxy",
            fix="write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, special"
            " characters of a password as %40",
        )
    shown_host = f"[{host}]" if ":" in host else host
    return Proxy(
        url=f"{parts.scheme}://{shown_host}:{port or _PORTS[parts.scheme]}",
        authorization=_basic(parts.username, parts.password),
    )


def _basic(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _no_proxy(environment: Mapping[str, str]) -> str:
    return environment.get("no_proxy", environment.get("NO_PROXY", ""))


def is_excluded(no_proxy: str, host: str, port: int | None) -> bool:
    """Whether `no_proxy` names the host: `*`, a name and all below it, an address, a network
    (`10.0.0.0/8`); with `:PORT` for that port alone.
    """
    own_name = host.lower().rstrip(".")
    own_address = _address(own_name)
    for name, entry_port in _entries(no_proxy):
        if entry_port is not None and entry_port != port:
            continue
        if name in {"*", own_name}:
            return True
        if own_address is None and own_name.endswith(f".{name}"):
            return True
        if own_address is not None and _contains(name, own_address):
            return True
    return False


def _entries(no_proxy: str) -> Iterator[tuple[str, int | None]]:
    """Names in lower case without `*.` or a dot before them, and their ports."""
    for word in re.split(r"[,\s]+", no_proxy.lower()):
        name, port = word, None
        if match := re.fullmatch(r"\[([^]]*)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})", word):
            name = match[1] or match[3] or ""
            digits = match[2] or match[4]
            port = int(digits) if digits else None
        name = name if name == "*" else name.removeprefix("*").strip(".")
        if name:
            yield name, port


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _contains(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
