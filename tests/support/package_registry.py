"""A package registry on loopback, in npm's and PyPI's forms: well-behaved, or as a test needs."""

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
class PackageRegistry:
    """`answers` by path; of a list each is given once, and the last one for ever. `requests` are
    the paths and headers that came in. `date` is the server's clock, or the header as it is.
    """

    url: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    date: datetime | str = NOW

    def npm(self, name: str, versions: Mapping[str, Mapping[str, Any]], **fields: Any) -> None:
        """Serve a package, and the manifest of each version at a path of its own."""
        document = packument(name, versions, **fields)
        self.answers[f"/{name}"] = Answer(json.dumps(document).encode())
        for version, manifest in document["versions"].items():
            self.answers[f"/{name}/{version}"] = Answer(json.dumps(manifest).encode())

    def pypi(self, name: str, versions: Mapping[str, float]) -> None:
        """Versions with their age in days."""
        self.answers[f"/simple/{name}/"] = Answer(json.dumps(index(name, versions)).encode())

    def answer(self, path: str) -> Answer:
        """The only answer of a path, to be changed."""
        answer = self.answers[path]
        assert isinstance(answer, Answer)
        return answer

    def requested(self, path: str) -> int:
        return sum(requested_path == path for requested_path, _ in self.requests)

    def reply(self, path: str) -> Answer:
        answer = self.answers.get(unquote(path), Answer(b'{"error":"not found"}', 404))
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer

    def date_header(self) -> str:
        return self.date if isinstance(self.date, str) else format_datetime(self.date, usegmt=True)


def integrity(name: str, version: str) -> str:
    return "sha512-" + b64encode(hashlib.sha512(f"{name}@{version}".encode()).digest()).decode()


def packument(
    name: str,
    versions: Mapping[str, Mapping[str, Any]],
    *,
    latest: str | None = None,
    unpublished: tuple[str, ...] = (),
    **fields: Any,
) -> dict[str, Any]:
    """`versions` by number: `age` in days (None for no date), the rest goes into the manifest."""
    manifests, times = {}, {}
    for version, description in versions.items():
        manifest = dict(description)
        age = manifest.pop("age", 30.0)
        if age is not None:
            times[version] = (NOW - timedelta(days=age)).isoformat()
        tarball = f"http://localhost/{name}/-/{version}.tgz"
        dist = {"integrity": integrity(name, version), "tarball": tarball}
        dist |= manifest.pop("dist", {})
        manifests[version] = {"name": name, "version": version, "dist": dist, **manifest}
    times |= dict.fromkeys(unpublished, NOW.isoformat())
    tags = {"latest": latest or next(reversed(manifests))}
    return {"name": name, "dist-tags": tags, "versions": manifests, "time": times, **fields}


def index(name: str, versions: Mapping[str, float]) -> dict[str, Any]:
    """An index page of PEP 691 for `versions` with their age in days."""
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
def serving() -> Iterator[PackageRegistry]:
    def answer(request: Request) -> Answer:
        registry.requests.append((unquote(request.path), dict(request.headers)))
        reply = registry.reply(request.path)
        return replace(reply, headers={"Date": registry.date_header(), **reply.headers})

    with loopback.answering(answer) as host:
        registry = PackageRegistry(f"http://{host}/")
        yield registry
