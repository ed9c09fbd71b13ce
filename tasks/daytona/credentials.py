"""The account at Daytona, from the environment alone, and where its key may be sent."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tasks.base import addresses, console
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL: Final = "https://app.daytona.io/api"
KEYS_PAGE: Final = "https://app.daytona.io/dashboard/keys"
#: Set (to 1) where plain HTTP to this machine is allowed: by the stand-in, for our own commands.
LOOPBACK_VARIABLE: Final = "DAYTONA_ALLOW_LOOPBACK_HTTP"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The key is in no `repr`, so it is in no traceback either. `target` is the region."""

    api_key: str = field(repr=False)
    api_url: str = DEFAULT_URL
    target: str | None = None

    @property
    def is_local(self) -> bool:
        return addresses.is_loopback(addresses.host_of(self.api_url))


def read_credentials(environment: Mapping[str, str] = os.environ) -> Credentials:
    """What the environment says; raises `BadInput` before anything is started."""
    key = environment.get("DAYTONA_API_KEY")
    if key is None or not key.strip():
        problem = "DAYTONA_API_KEY is not set" if key is None else "DAYTONA_API_KEY is blank"
        raise BadInput(
            problem, fix=f"make a key at {KEYS_PAGE} and export it; --stand-in needs no account"
        )
    if key != key.strip() or not key.isascii() or not key.isprintable() or " " in key:
        raise BadInput(
            "DAYTONA_API_KEY has blanks, line breaks or other characters that no key has",
            fix=f"copy it again from {KEYS_PAGE}",
        )
    url = check_url(
        environment.get("DAYTONA_API_URL", "").strip() or DEFAULT_URL,
        allow_loopback=environment.get(LOOPBACK_VARIABLE) == "1",
    )
    target = environment.get("DAYTONA_TARGET", "").strip() or None
    return Credentials(api_key=key, api_url=url, target=target)


def is_local(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a stand-in; no credentials are needed to ask."""
    url = environment.get("DAYTONA_API_URL", "").strip()
    return addresses.is_loopback(addresses.host_of(url))


def check_url(text: str, *, allow_loopback: bool) -> str:
    """`text` if the key may be sent there: HTTPS, or this very machine where that is allowed."""
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise BadInput(
            "DAYTONA_API_URL is not a web address", fix=f"the usual one is {DEFAULT_URL}"
        ) from None
    # Never the text itself: it may hold a password.
    address = console.printable(f"DAYTONA_API_URL {parts.scheme}://{host}")
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            f"{address} has a user or a password in it",
            fix="leave them out; the key goes into DAYTONA_API_KEY",
        )
    if parts.scheme not in {"http", "https"} or not host or not text.isprintable():
        raise BadInput(f"{address} is not a web address", fix=f"the usual one is {DEFAULT_URL}")
    if parts.query or parts.fragment:
        raise BadInput(f"{address} has a query in it", fix="leave it out")
    _check_host(address, host, parts.scheme, allow_loopback=allow_loopback)
    return text.rstrip("/")  # the SDK would ask for `//snapshots`


def _check_host(address: str, host: str, scheme: str, *, allow_loopback: bool) -> None:
    if addresses.is_link_local(host):
        raise BadInput(
            f"{address} is a link-local address, where clouds serve their metadata",
            fix=f"the usual one is {DEFAULT_URL}",
        )
    if addresses.is_loopback(host):
        if not allow_loopback:
            raise BadInput(
                f"{address} is this machine itself",
                fix=f"use --stand-in, or set {LOOPBACK_VARIABLE}=1",
            )
    elif scheme != "https":
        raise BadInput(f"{address} would send the key unencrypted", fix="use https://")
