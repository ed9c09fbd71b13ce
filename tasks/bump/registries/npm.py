"""npm's packuments: `GET REGISTRY/NAME`, the full form, since the short one has no dates.

https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from tasks.bump import semver
from tasks.bump.registries.model import (
    PLAIN,
    Package,
    Release,
    SourceError,
    mapping,
    parse_date,
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
    """The package; entries that are not versions are left out. Raises `SourceError`."""
    document = read_json(body, name)
    if document.get("name") != name:
        wrong_name = text(document.get("name"))[:80]
        raise SourceError(f"{name}: the registry sent the package {wrong_name!r}")
    versions = document.get("versions")
    if not isinstance(versions, dict) or not versions:
        raise SourceError(
            f"{name}: the registry lists no versions",
            fix="check the registry in your configuration; the package may also be unpublished",
        )
    times = mapping(document.get("time"))
    tags = mapping(document.get("dist-tags"))
    releases = {}
    for version, manifest in versions.items():
        release = _release(name, version, manifest, times.get(version))
        if release:
            releases[version] = release
    notes = []
    if left_out := len(versions) - len(releases):
        notes.append(f"{left_out} entries of the registry are not versions and were left out")
    latest = tags.get("latest")
    if not isinstance(latest, str) or latest not in releases:
        raise SourceError(
            f"{name}: the registry's `latest` is {str(latest)[:80]!r}, which is not a version of it"
        )
    unpublished = {v for v in times if v not in versions and PLAIN.fullmatch(v)}
    return Package(name, releases, latest, frozenset(unpublished), tuple(notes))


def parse_manifest(body: bytes, name: str, version: str) -> Release:
    """`GET REGISTRY/NAME/VERSION`: one manifest, without a date. Raises `SourceError`."""
    release = _release(name, version, read_json(body, name), None)
    if release is None:
        raise SourceError(f"{name}: the registry sent no manifest of version {version}")
    return release


def _release(name: str, version: object, manifest: object, time: object) -> Release | None:
    if not isinstance(version, str) or not PLAIN.fullmatch(version):
        return None
    try:
        key = semver.key(version)
    except ValueError:
        return None
    fields = mapping(manifest)
    if fields.get("name") != name or fields.get("version") != version:
        return None
    dist = mapping(fields.get("dist"))
    integrity = text(dist.get("integrity"))
    platforms = texts_of(fields.get("optionalDependencies"))
    deprecated = fields.get("deprecated")
    return Release(
        text=version,
        key=key,
        date=parse_date(time),
        integrity={"": integrity} if _INTEGRITY.fullmatch(integrity) else {},
        deprecated=text(deprecated) or ("deprecated" if deprecated is True else ""),
        engines=_engines(mapping(fields.get("engines")).get("node")),
        dependencies=texts_of(fields.get("dependencies")),
        platforms={n: v for n, v in platforms.items() if _PLATFORM.search(n)},
        scripts=_scripts(fields),
        publisher=_person(fields.get("_npmUser")),
        maintainers=_people(fields.get("maintainers")),
        provenance=_provenance(dist),
        repository=_repository(fields.get("repository")),
    )


def _engines(value: object) -> str:
    """The range of Node. What is not a text is kept as JSON, which is a range or will be held."""
    return text(value) if isinstance(value, str) else "" if value is None else json.dumps(value)


def _scripts(fields: dict[str, Any]) -> frozenset[str]:
    """The short form of a manifest only says that there are some."""
    scripts = _INSTALL_SCRIPTS & set(texts_of(fields.get("scripts")))
    if not scripts and fields.get("hasInstallScript") is True:
        return frozenset({"install"})
    return frozenset(scripts)


def _person(value: object) -> str | None:
    return text(mapping(value).get("name")) or None


def _people(value: object) -> frozenset[str] | None:
    """None also where a list names nobody in a form that we know."""
    if not isinstance(value, list):
        return None
    return frozenset(name for name in map(_person, value) if name) or None


def _provenance(dist: dict[str, Any]) -> bool | None:
    """None where a mirror has dropped the signatures, too: then nothing is known."""
    if "attestations" in dist:
        return bool(mapping(dist["attestations"]).get("provenance"))
    return False if "signatures" in dist else None


def _repository(value: object) -> str:
    return text(value) or text(mapping(value).get("url"))
