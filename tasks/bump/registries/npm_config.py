"""Where npm would look, and with what credentials: its own configuration, read.

npm says it itself (`npm config ls --json`), except for credentials, which it does not give away:
those stand in the npmrc files that it names.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tasks.base import process, proxies
from tasks.base.errors import BadInput
from tasks.base.parsing import parse_json
from tasks.base.transport import Tls
from tasks.bump.registries import npm_program
from tasks.bump.registries.client import PackageRegistryAccess
from tasks.bump.registries.client_settings import (
    basic_authorization,
    extra_bundle,
    port_of,
    split_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasks.base.proxies import Proxy

_CREDENTIALS: Final = ("_authToken", "_auth", "username", "_password", "certfile", "keyfile")
#: Settings that name npmrc files, beside the repository's own; the first file takes precedence.
_FILES: Final = ("userconfig", "globalconfig")


def npm_settings(root: Path) -> dict[str, Any]:
    """Npm's settings as they hold in `root`, without credentials."""
    result = process.capture(
        [*npm_program.npm_command(), "config", "ls", "--json"], cwd=root, timeout=30
    )
    try:
        settings = parse_json(result.stdout)
    except ValueError as error:
        raise BadInput("`npm config ls --json` prints no JSON", fix="npm config ls") from error
    return settings if isinstance(settings, dict) else {}


def npm_access(settings: Mapping[str, Any], name: str, *, root: Path) -> PackageRegistryAccess:
    """How npm would reach the registry of the package `name`."""
    scope = name.partition("/")[0] if name.startswith("@") else ""
    address = str(settings.get(f"{scope}:registry") or settings.get("registry") or "")
    url, headers = split_address(address, fix="npm config get registry")
    files = [root / ".npmrc", *(Path(str(settings.get(setting) or "")) for setting in _FILES)]
    values = find_credentials(url, _read_npmrc(files))
    authority = settings.get("ca")
    return PackageRegistryAccess(
        url=url,
        headers=headers | _authorization(values),
        proxy=_proxy(url, settings),
        tls=Tls(
            bundle=str(settings.get("cafile") or ""),
            text="\n".join(map(str, authority)) if isinstance(authority, list)
            else str(authority or ""),
            extra=extra_bundle(),
            client_certificate=values.get("certfile", ""),
            client_key=values.get("keyfile", ""),
            verify=settings.get("strict-ssl") is not False,
        ),
    )  # fmt: skip


def find_credentials(url: str, lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values of `//host/path/:key` that npm would send to `url`: the longest path decides."""
    place = re.sub(r"^https?:", "", url)
    places = []
    while place.count("/") > 2:
        places += [place, place.rstrip("/")]
        place = place.rstrip("/").rpartition("/")[0] + "/"
    values = dict(reversed(list(lines)))  # the first file takes precedence
    for place in places:
        keys = {key: f"{place}:{key}" for key in _CREDENTIALS}
        if any(line in values for line in keys.values()):
            return {key: values[line] for key, line in keys.items() if line in values}
    return {}


def _read_npmrc(files: Iterable[Path]) -> list[tuple[str, str]]:
    """`key = value` of npmrc files, with `${NAME}` replaced from the environment as npm does."""
    pairs: list[tuple[str, str]] = []
    for file in files:
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, equals, value = line.partition("=")
            if equals and not key.lstrip().startswith(("#", ";")):
                pairs.append((key.strip(), _expand(value.strip().strip("\"'"))))
    return pairs


def _expand(value: str) -> str:
    return re.sub(r"\$\{([^${}?]+)\??\}", lambda match: os.environ.get(match[1], ""), value)


def _authorization(values: Mapping[str, str]) -> dict[str, str]:
    if token := values.get("_authToken"):
        return {"Authorization": f"Bearer {token}"}
    if pair := values.get("_auth"):
        return {"Authorization": f"Basic {pair}"}
    if (user := values.get("username")) and (password := values.get("_password")):
        try:
            return basic_authorization(f"{user}:{base64.b64decode(password).decode()}")
        except ValueError as error:
            raise BadInput("`_password` in an npmrc is not base64", fix="npm login") from error
    return {}


def _proxy(url: str, settings: Mapping[str, Any]) -> Proxy | None:
    """Npm's own settings take precedence over the environment."""
    parts = urlsplit(url)
    excluded = settings.get("noproxy")
    no_proxy = ",".join(map(str, excluded)) if isinstance(excluded, list) else str(excluded or "")
    if proxies.is_excluded(no_proxy, parts.hostname or "", port_of(url)):
        return None
    for name in ("https-proxy", "proxy") if parts.scheme == "https" else ("proxy",):
        address = settings.get(name)
        if isinstance(address, str) and address:
            return proxies.parse_proxy(address, source=f"npm's setting {name}")
    return proxies.choose_proxy(url)
