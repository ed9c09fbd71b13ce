"""Asks opencode's server how it is."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

_SECONDS = 2.0


@dataclass(frozen=True)
class Opencode:
    ready: bool
    version: str | None = None
    reason: str | None = None


def client(url: str, password: str | None) -> httpx.AsyncClient:
    """`trust_env` off: no proxy stands between two services of one sandbox."""
    return httpx.AsyncClient(
        base_url=url,
        auth=("opencode", password) if password else None,
        timeout=_SECONDS,
        trust_env=False,
    )


async def probe(http: httpx.AsyncClient) -> Opencode:
    address = http.base_url.netloc.decode()
    try:
        # Seen in opencode 1.18.33: {"healthy":true,"version":"1.18.33"}, and 401 without password.
        # Every path it does not know answers 200 with a web page, so the content decides.
        response = await http.get("/global/health")
        data = response.json() if response.status_code == httpx.codes.OK else None
    except httpx.TimeoutException:
        return Opencode(ready=False, reason=f"no answer from {address} within {_SECONDS:g} s")
    except httpx.HTTPError as error:
        return Opencode(ready=False, reason=f"no answer from {address}: {error}")
    except ValueError:
        return Opencode(ready=False, reason=f"{address} does not answer as opencode does")
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return Opencode(
            ready=False, reason=f"{address} refuses the password in OPENCODE_SERVER_PASSWORD"
        )
    if not isinstance(data, dict):
        return Opencode(ready=False, reason=f"{address} answers {response.status_code}")
    version = data.get("version")
    return Opencode(
        ready=data.get("healthy") is True,
        version=version if isinstance(version, str) else None,
        reason=None if data.get("healthy") is True else "opencode says it is not healthy",
    )
