"""A package registry of our own: npm's and PyPI's forms on loopback, well-behaved or as wanted."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.support import loopback
from tests.support.loopback import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: When everything below happens, for whoever asks this registry.
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@dataclass
class Registry:
    """`answers` by path; a list is worked off, its last member stays. `asked` is what came in."""

    url: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    now: datetime = NOW

    def npm(self, name: str, versions: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
        self.answers[f"/{name}"] = Answer(json.dumps(packument(name, versions, **more)).encode())

    def pypi(self, name: str, versions: Mapping[str, float]) -> None:
        """Versions with their age in days."""
        self.answers[f"/simple/{name}/"] = Answer(json.dumps(index(name, versions)).encode())

    def reply(self, path: str) -> Answer:
        found = self.answers.get(unquote(path), Answer(b'{"error":"not found"}', 404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found


def integrity(name: str, version: str) -> str:
    return "sha512-" + b64encode(hashlib.sha512(f"{name}@{version}".encode()).digest()).decode()


def packument(
    name: str,
    versions: Mapping[str, Mapping[str, Any]],
    *,
    latest: str | None = None,
    gone: tuple[str, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    """`versions` by number: `age` in days (None for no date), the rest goes into the manifest."""
    manifests, times = {}, {}
    for version, given in versions.items():
        own = dict(given)
        age = own.pop("age", 30.0)
        if age is not None:
            times[version] = (NOW - timedelta(days=age)).isoformat()
        tarball = f"http://localhost/{name}/-/{version}.tgz"
        dist = {"integrity": integrity(name, version), "tarball": tarball} | own.pop("dist", {})
        manifests[version] = {"name": name, "version": version, "dist": dist, **own}
    times |= dict.fromkeys(gone, NOW.isoformat())
    tags = {"latest": latest or next(reversed(manifests))}
    return {"name": name, "dist-tags": tags, "versions": manifests, "time": times, **more}


def index(name: str, versions: Mapping[str, float]) -> dict[str, Any]:
    files = [
        {
            "filename": f"{name.replace('-', '_')}-{version}-py3-none-{platform}.whl",
            "hashes": {"sha256": hashlib.sha256(f"{name}{version}{platform}".encode()).hexdigest()},
            "upload-time": (NOW - timedelta(days=age)).isoformat(),
            "yanked": False,
        }
        for version, age in versions.items()
        for platform in ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "win_amd64")
    ]
    return {"name": name, "files": files, "meta": {"api-version": "1.1"}}


@contextmanager
def serving() -> Iterator[Registry]:
    def answer(request: Request) -> Answer:
        registry.asked.append((unquote(request.path), dict(request.headers)))
        reply = registry.reply(request.path)
        date = format_datetime(registry.now, usegmt=True)
        return replace(reply, headers={"Date": date, **reply.headers})

    with loopback.answering(answer) as host:
        registry = Registry(f"http://{host}/")
        yield registry
