"""Where pip would look, and with what credentials: its own configuration, read."""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.base import proxies
from tasks.base.errors import BadInput
from tasks.base.transport import Tls
from tasks.bump.registries.client import PackageRegistryAccess
from tasks.bump.registries.client_settings import extra_bundle, split_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.base.proxies import Proxy


def pip_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What pip's files and variables say. Later ones take precedence: system, user, environment,
    variables.

    https://pip.pypa.io/en/stable/topics/configuration/ ; pip's own code takes 0.15 s to import.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read(_files(environment), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BadInput(f"pip's configuration: {error}", fix="pip config debug") from error
    settings: dict[str, str] = {}
    for section in ("global", "download", "install"):
        if parser.has_section(section):
            settings |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            settings[name[4:].lower().replace("_", "-")] = value
    return settings


def _files(environment: Mapping[str, str]) -> list[Path]:
    config_file = environment.get("PIP_CONFIG_FILE")
    if config_file == os.devnull:
        return []
    home = Path(os.path.expanduser("~"))
    files = [
        Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf",
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
        home / "Library/Application Support/pip/pip.conf", Path(sys.prefix) / "pip.conf",
    ]  # fmt: skip
    return [*files, Path(config_file)] if config_file else files


def pip_access() -> PackageRegistryAccess:
    """How pip would reach its index."""
    from pip._internal.models.index import PyPI  # noqa: PLC0415 - pip's own default

    settings = pip_settings()
    address = settings.get("index-url") or PyPI.simple_url
    url, headers = split_address(address, fix="pip config get global.index-url")
    trusted = settings.get("trusted-host", "").split()
    return PackageRegistryAccess(
        url=url,
        headers=headers,
        proxy=_proxy(url, settings),
        tls=Tls(
            bundle=settings.get("cert", ""),
            extra=extra_bundle(),
            client_certificate=settings.get("client-cert", ""),
            verify=urlsplit(url).hostname not in trusted,
        ),
    )


def _proxy(url: str, settings: Mapping[str, str]) -> Proxy | None:
    """Pip's own settings take precedence over the environment."""
    if address := settings.get("proxy"):
        return proxies.parse_proxy(address, source="pip's setting proxy")
    return proxies.choose_proxy(url)
