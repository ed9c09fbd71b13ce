"""npm's packuments: `GET REGISTRY/NAME`, the full form, since the short one has no dates.

https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md
"""

from __future__ import annotations

import re
from typing import Any, Final

from tasks.bump import semver
from tasks.bump.registries.model import (
    PLAIN,
    Package,
    Release,
    Unknown,
    date,
    mapping,
    read_json,
    text,
)
from tasks.bump.registries.model import texts as texts_of

#: Scripts that npm runs on the machine of whoever installs the package.
_INSTALL_SCRIPTS: Final = frozenset({"preinstall", "install", "postinstall"})
#: `opencode-linux-x64`, `@oven/bun-linux-x64`, `@pnpm/exe.linux-x64`; not musl's, not the twin
#: for processors without AVX2.
_PLATFORM: Final = re.compile(r"linux-?(?:x64|amd64|x86_64)(?:-(?:gnu|glibc))?$")
_INTEGRITY: Final = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")


def parse(body: bytes, name: str) -> Package:
    """The package; versions that are none are left out. Raises `Unknown`."""
    document = read_json(body, name)
    if document.get("name") != name:
        raise Unknown(f"{name}: the registry sent the package {text(document.get('name'))[:80]!r}")
    versions = document.get("versions")
    if not isinstance(versions, dict) or not versions:
        raise Unknown(f"{name}: the registry lists no versions (unpublished, or a wrong registry)")
    times = mapping(document.get("time"))
    tags = mapping(document.get("dist-tags"))
    releases = {}
    for version, manifest in versions.items():
        release = _release(name, version, manifest, times.get(version))
        if release:
            releases[version] = release
    notes = []
    if left_out := len(versions) - len(releases):
        notes.append(f"{left_out} entries of the registry are no versions and were left out")
    latest = tags.get("latest")
    if not isinstance(latest, str) or latest not in releases:
        raise Unknown(
            f"{name}: the registry's `latest` names {str(latest)[:80]!r}, no such version"
        )
    gone = {v for v in times if v not in versions and PLAIN.fullmatch(str(v))}
    return Package(name, releases, latest, frozenset(gone), tuple(notes))


def _release(name: str, version: object, manifest: object, time: object) -> Release | None:
    if not isinstance(version, str) or not PLAIN.fullmatch(version):
        return None
    try:
        key = semver.key(version)
    except ValueError:
        return None
    found = mapping(manifest)
    if found.get("name") != name or found.get("version") != version:
        return None
    dist = mapping(found.get("dist"))
    integrity = text(dist.get("integrity"))
    platforms = texts_of(found.get("optionalDependencies"))
    deprecated = found.get("deprecated")
    return Release(
        text=version,
        key=key,
        published=date(time),
        integrity={"": integrity} if _INTEGRITY.fullmatch(integrity) else {},
        deprecated=text(deprecated) or ("deprecated" if deprecated is True else ""),
        engines=text(mapping(found.get("engines")).get("node")),
        dependencies=texts_of(found.get("dependencies")),
        platforms={n: v for n, v in platforms.items() if _PLATFORM.search(n)},
        scripts=_INSTALL_SCRIPTS & set(texts_of(found.get("scripts"))),
        publisher=_person(found.get("_npmUser")),
        maintainers=_people(found.get("maintainers")),
        provenance=_provenance(dist),
        repository=_repository(found.get("repository")),
    )


def _person(value: object) -> str | None:
    return text(mapping(value).get("name")) or None


def _people(value: object) -> frozenset[str] | None:
    if not isinstance(value, list):
        return None
    return frozenset(person for person in map(_person, value) if person)


def _provenance(dist: dict[str, Any]) -> bool | None:
    """None where a mirror has dropped signatures too, so that nothing can be told."""
    if "attestations" in dist:
        return bool(mapping(dist["attestations"]).get("provenance"))
    return False if "signatures" in dist else None


def _repository(value: object) -> str:
    return text(value) or text(mapping(value).get("url"))
