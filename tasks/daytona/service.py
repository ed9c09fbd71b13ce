"""Daytona as a service that is asked over HTTP: its name in messages, and what to do about each
kind of failure.
"""

from __future__ import annotations

from typing import Final

from tasks.base.http import Service
from tasks.daytona.credentials import DEFAULT_URL, KEYS_PAGE

_ADDRESS: Final = (
    f"check that DAYTONA_API_URL is the address of Daytona's API; the usual one is {DEFAULT_URL}"
)

DAYTONA: Final = Service(
    name="Daytona",
    advice={
        "auth": f"check DAYTONA_API_KEY; keys are made at {KEYS_PAGE}",
        "scope": "the API key lacks a permission; publishing and testing need write:snapshots,"
        f" delete:snapshots, write:sandboxes and delete:sandboxes; keys are made at {KEYS_PAGE}",
        "quota": "nox -s snapshots -- gc shows which snapshots can go",
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
    elsewhere=_ADDRESS,
)
