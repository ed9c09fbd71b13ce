"""Daytona as a service that is asked over HTTP: its name in messages, and what to do about each
kind of failure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tasks.base import addresses, console, retry
from tasks.base.http import Service
from tasks.base.retry import RemoteFailed
from tasks.daytona.credentials import DEFAULT_URL, KEYS_PAGE

if TYPE_CHECKING:
    from tasks.base.http import Response

LIMITS_PAGE: Final = "https://app.daytona.io/dashboard/limits"
SCOPES: Final = "write:snapshots, delete:snapshots, write:sandboxes and delete:sandboxes"
_ADDRESS: Final = (
    f"check that DAYTONA_API_URL is the address of Daytona's API; the usual one is {DEFAULT_URL}"
)

DAYTONA: Final = Service(
    name="Daytona",
    advice={
        "auth": f"check DAYTONA_API_KEY; keys are made at {KEYS_PAGE}",
        "scope": f"the API key lacks a permission; publishing and testing need {SCOPES}; keys are"
        f" made at {KEYS_PAGE}",
        "quota": f"see the limits of your organisation at {LIMITS_PAGE}; nox -s snapshots -- gc"
        " shows which snapshots can go",
        "conflict": "somebody changes it at this moment: run it again in a minute",
        "not-found": "check DAYTONA_API_URL and DAYTONA_TARGET; nox -s snapshots -- list shows"
        " what there is",
        "rejected": "another try does not help: change what the reply names; nox -s doctor shows"
        " the set-up",
        "rate": "wait a minute, then run it again",
        "transient": "run it again: it goes on where it stopped",
        "network": "check DAYTONA_API_URL and the network, then run it again: it goes on where it"
        " stopped",
    },
    redirect_advice=_ADDRESS,
)

#: "Disk request 10GB exceeds maximum allowed per sandbox (5GB)."
_RESOURCE: Final = re.compile(r"\b(cpu|memory|disk)\b")
_MAXIMUM: Final = re.compile(r"maximum allowed per sandbox ?\(?(\d{1,9})")


def failure(doing: str, response: Response, *, message: str, scope: str = "") -> RemoteFailed:
    """The failure that a reply of the API is. `message` is what it says, without the key in it;
    `scope` is the permission that the question takes.
    """
    if 300 <= response.status < 400:
        host = addresses.host_of(response.headers.get("Location") or "") or "another page"
        return RemoteFailed(
            f"{doing}: {response.status}, a redirect to {console.printable(host)[:100]}, which is"
            " not Daytona's API",
            kind="rejected",
            status=response.status,
            message=message,
            fix=_ADDRESS,
        )
    kind = retry.classify(response.status, message)
    fix = DAYTONA.advice.get(kind, "")
    if kind == "quota":
        fix = advise_on_limit(message) or fix
    elif kind == "scope" and scope:
        fix = (
            f"the API key needs the permission {scope} for that; publishing and testing need"
            f" {SCOPES}; keys are made at {KEYS_PAGE}"
        )
    return retry.failure(doing, response.status, message=message, headers=response.headers, fix=fix)


def advise_on_limit(message: str) -> str:
    """What to do about a limit that a message of Daytona's names; "" for none of those."""
    text = message.lower()
    resource = _RESOURCE.search(text)
    if resource and "maximum allowed per sandbox" in text:
        option, maximum = resource[1], _MAXIMUM.search(text)
        value = maximum[1] if maximum else "LESS"
        return (
            f"ask for less with --{option} {value}, or for good with {option} = {value} below"
            " [tool.sandbox.resources] of pyproject.toml"
        )
    # As in: snapshot size (25.00GB) exceeds maximum allowed size of 20GB.
    if "snapshot size" in text and "exceeds" in text:
        return f"make the image smaller, or ask for a higher limit at {LIMITS_PAGE}"
    # As in: total CPU limit exceeded. Maximum allowed: 10.
    if "total" in text and ("limit" in text or "quota" in text):
        return f"delete sandboxes that nobody uses, or ask for a higher limit at {LIMITS_PAGE}"
    if "snapshot" in text:
        return f"nox -s snapshots -- gc shows which can go; the limits are at {LIMITS_PAGE}"
    return ""
