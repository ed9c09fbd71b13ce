"""PyPI's index in JSON: PEP 691 with PEP 700's dates and PEP 740's provenance."""

from __future__ import annotations

import re
from typing import Any, Final

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

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

ACCEPT: Final = "application/vnd.pypi.simple.v1+json"
#: Wheels that Debian's pip installs: glibc on the two processors that the image is built for.
_LINUX: Final = re.compile(r"(?:manylinux\w{0,40}|linux)_(x86_64|aarch64)")
_X64: Final = re.compile(r"linux\w{0,40}_x86_64")
#: Of a wheel's name; each one multiplies the tags that it stands for.
_MOST_DOTS: Final = 30
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def parse(body: bytes, name: str) -> Package:
    """The package, with its wheels for Linux. Raises `SourceError`."""
    document = read_json(body, name)
    if canonicalize_name(text(document.get("name"))) != canonicalize_name(name):
        raise SourceError(f"{name}: the index sent the package {text(document.get('name'))[:80]!r}")
    files = document.get("files")
    if not isinstance(files, list):
        raise SourceError(f"{name}: the index lists no files")
    wheels: dict[Version, list[dict[str, Any]]] = {}
    for file in files:
        version = _version(name, text(mapping(file).get("filename")))
        if version is not None:
            wheels.setdefault(version, []).append(file)
    releases = {}
    for version, its_wheels in wheels.items():
        release = _release(version, its_wheels)
        if release:
            releases[release.text] = release
    if not releases:
        raise SourceError(f"{name}: the index lists no wheels for Linux")
    return Package(name, releases, latest="")


def _version(name: str, filename: str) -> Version | None:
    """The version of a wheel for Linux."""
    if "linux" not in filename or filename.rpartition("_")[2] not in {"64.whl", "aarch64.whl"}:
        return None  # most of them; reading a name in full takes time
    if filename.count(".") > _MOST_DOTS:
        return None
    try:
        project, version, _, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    fits = any(_LINUX.fullmatch(tag.platform) for tag in tags)
    return version if fits and project == canonicalize_name(name) else None


def _release(version: Version, files: list[dict[str, Any]]) -> Release | None:
    if not PLAIN.fullmatch(str(version)):
        return None
    hashes = {}
    for file in files:
        sha256 = text(mapping(file.get("hashes")).get("sha256"))
        if _SHA256.fullmatch(sha256):
            hashes[str(file["filename"])] = f"sha256:{sha256}"
    dates = [parse_date(file.get("upload-time")) for file in files]
    yanked = next((file["yanked"] for file in files if file.get("yanked")), False)
    return Release(
        text=str(version),
        key=version,
        # The youngest file counts: files can be added to a release later.
        date=None if None in dates else max(d for d in dates if d),
        integrity=hashes,
        deprecated=f"yanked: {text(yanked) or 'no reason given'}" if yanked else "",
        platforms={"wheel for x86_64": str(version)} if any(map(_X64.search, hashes)) else {},
        provenance=_any_provenance(files),
    )


def _any_provenance(files: list[dict[str, Any]]) -> bool | None:
    """None where the index does not speak of it."""
    values = [file["provenance"] for file in files if "provenance" in file]
    return any(values) if values else None
