"""What the settings of npm and pip have in common: an address, certificates, a password."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import unquote, urlsplit

from tasks.base import certificates, redaction
from tasks.base.errors import BadInput

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def split_address(url: str, *, fix: str) -> tuple[str, dict[str, str]]:
    """A registry's address with a slash at its end, and the headers that its user name and password
    stand for. `fix` is how to look at the setting. Raises `BadInput` for what is not an address.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_address = False
    if not is_address:
        raise BadInput(
            f"the registry's address is `{redaction.redact(url)}`, which is not a web address",
            fix=fix,
        )
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = basic_authorization(pair)
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return parts.geturl().rstrip("/") + "/", headers


def basic_authorization(pair: str) -> dict[str, str]:
    """The header for `USER:PASSWORD`."""
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _DEFAULT_PORTS[parts.scheme]


def extra_bundle() -> str:
    """Certificates that this machine trusts beside those of its tools."""
    return str(certificates.find_ca_bundle() or "")
