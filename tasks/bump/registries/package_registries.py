"""The registries that one run asks: they share connections, and short answers are kept."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tasks.base import console
from tasks.bump.registries import npm, npm_config, pip_config, pypi
from tasks.bump.registries.client import RegistryClient
from tasks.bump.registries.model import NotPublished, mapping, read_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.bump.pins import Pin
    from tasks.bump.registries.client import PackageRegistryAccess
    from tasks.bump.registries.model import Package, Release

_FULL: Final = "application/json"
_SHORT: Final = "application/vnd.npm.install-v1+json"
#: Names that npm allows, old ones with capitals included: nothing else gets into an address.
_NAME: Final = re.compile(r"(?:@[A-Za-z0-9~-][\w.~-]*/)?[A-Za-z0-9~_-][\w.~-]*", re.ASCII)
_LONGEST_NAME: Final = 214
#: A machine's clock may differ so much from the registry's before that is worth a word.
_SKEW: Final = timedelta(minutes=5)
#: A server's clock outside of these years is a mistake.
_YEARS: Final = range(2020, 2200)


@dataclass
class PackageRegistries:
    """npm's registries and Python's index, as this user's tools are configured for `root`.

    Several threads may ask. `settings` are npm's, read when they are needed first.
    """

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    _clients: dict[str, RegistryClient] = field(default_factory=dict)
    _clocks: list[tuple[datetime, datetime]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    #: Apart from the other lock, which `close` needs: the settings may take their time.
    _settings_lock: Lock = field(default_factory=Lock)
    _versions: dict[str, frozenset[str]] = field(default_factory=dict)

    def close(self) -> None:
        """End the requests of other threads."""
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.close()

    def package(self, pin: Pin) -> Package:
        """Raises `SourceError`, or `BadInput` for what is wrong with the configuration."""
        if pin.origin == "npm":
            return npm.parse(self._ask_npm(pin.package, "", _FULL), pin.package)
        client = self._client("pip", pip_config.pip_access)
        body = self._get(client, f"{pin.package}/", pypi.ACCEPT, pin.package)
        return pypi.parse(body, pin.package)

    def npm_release(self, name: str, version: str) -> Release:
        """One version of an npm package; of its dates nothing is known. Raises `SourceError`."""
        body = self._ask_npm(name, f"/{quote(version, safe='')}", _FULL)
        return npm.parse_manifest(body, name, version)

    def npm_versions(self, name: str) -> frozenset[str]:
        """The versions of an npm package; none for an unknown one. Raises `SourceError`."""
        if name not in self._versions:
            try:
                document = read_json(self._ask_npm(name, "", _SHORT), name)
                self._versions[name] = frozenset(mapping(document.get("versions")))
            except NotPublished:
                self._versions[name] = frozenset()
        return self._versions[name]

    def clock(self) -> tuple[datetime, str]:
        """The registries' time, and whose it is; this machine's where they do not say."""
        local_time = datetime.now(UTC)
        if not self._clocks:
            return local_time, "this machine's clock, since the registries send no time"
        drifts = [(remote - local).total_seconds() for remote, local in self._clocks]
        drift = statistics.median(drifts)
        time = local_time + timedelta(seconds=drift)
        if abs(drift) < _SKEW.total_seconds():
            return time, "the registries' clock"
        direction = "behind" if drift > 0 else "ahead"
        difference = console.seconds(abs(drift))
        return time, f"the registries' clock; this machine's is {difference} {direction}"

    def _ask_npm(self, name: str, path: str, accept: str) -> bytes:
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            raise NotPublished(f"{console.printable(name)[:80]!r} is not the name of a package")
        scope = name.partition("/")[0] if name.startswith("@") else ""
        client = self._client(f"npm {scope}", partial(self._npm_access, name))
        return self._get(client, quote(name, safe="@") + path, accept, name)

    def _npm_access(self, name: str) -> PackageRegistryAccess:
        with self._settings_lock:
            if not self.settings:
                self.settings = npm_config.npm_settings(self.root)
        return npm_config.npm_access(self.settings, name, root=self.root)

    def _client(self, key: str, access: Callable[[], PackageRegistryAccess]) -> RegistryClient:
        with self._lock:
            client = self._clients.get(key)
        if client is None:
            client = RegistryClient(access())
            with self._lock:
                client = self._clients.setdefault(key, client)
        return client

    def _get(self, client: RegistryClient, path: str, accept: str, package: str) -> bytes:
        reply = client.get(path, accept=accept, package=package)
        if reply.date and reply.date.year in _YEARS:
            self._clocks.append((reply.date, datetime.now(UTC)))
        return reply.body
