"""Image layers shared between machines: one setting, off unless `SANDBOX_BUILD_CACHE` names one.

    gha                          the cache of GitHub Actions, inside a job
    registry:HOST/NAME[:TAG]     a repository of a registry; `docker login HOST` gives the rights

The layers of every stage go there, so a pin that did not move is not installed again on a new
machine. A cache is never needed: one that does not answer costs its time-out and is said.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console
from tasks.base.errors import BadInput, TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "SANDBOX_BUILD_CACHE"
OFF: Final = ("", "off")
#: What buildx needs for GitHub's cache. They reach actions; a `run` step must be given them.
GITHUB: Final = ("ACTIONS_RUNTIME_TOKEN", "ACTIONS_RESULTS_URL")
#: GitHub ended the protocol of older ones on 2025-04-15.
GITHUB_BUILDX: Final = (0, 21)
_FORMS: Final = "give gha, registry:HOST/NAME or registry:HOST/NAME:TAG, or unset it"
#: The reference grammar of the OCI distribution specification, with the host spelled out.
_REFERENCE: Final = re.compile(
    r"(?P<host>localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:\d)|\[[0-9a-fA-F:]+\])"
    r"(?::\d{1,5})?"
    r"/[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)


class CacheUnusable(TaskError):
    """The cache that was asked for cannot be used by this builder, or here."""

    code = "build-cache"


@dataclass(frozen=True)
class Cache:
    kind: Literal["gha", "registry"]
    #: HOST/NAME, or HOST/NAME:TAG.
    reference: str = ""

    def __str__(self) -> str:
        return f"registry:{self.reference}" if self.reference else self.kind

    def options(self, *, arch: str, read: bool = True) -> list[str]:
        """For `docker buildx build`. All stages' layers (the last one's alone would save little),
        and a failed write is no failed build.
        """
        place = self._place(arch)
        source = ["--cache-from", place] if read else []
        into = f"{place},mode=max,ignore-error=true"
        if self.kind == "registry":
            # An OCI manifest is what every registry takes; zstd packs in a quarter of gzip's time.
            into += ",oci-mediatypes=true,image-manifest=true,compression=zstd"
        return [*source, "--cache-to", into]

    def _place(self, arch: str) -> str:
        # Each kind of machine its own: what is written replaces what was there.
        if self.kind == "gha":
            return f"type=gha,version=2,scope=sandbox-{arch}"
        match = _REFERENCE.fullmatch(self.reference)
        tag = "" if match and match["tag"] else f":layers-{arch}"
        return f"type=registry,ref={self.reference}{tag}"


def parse(text: str) -> Cache | None:
    """What the setting says; None for off. Raises `BadInput`, which quotes no credentials."""
    if text in OFF:
        return None
    if text == "gha":
        return Cache("gha")
    kind, _, reference = text.partition(":")
    if "@" in text:
        raise BadInput(
            f"{VARIABLE} holds an `@`: credentials and digests do not belong there",
            fix="docker login HOST gives the rights; then registry:HOST/NAME",
        )
    if kind != "registry" or not _REFERENCE.fullmatch(reference):
        raise BadInput(f"{VARIABLE} is `{console.printable(text)}`", fix=_FORMS)
    return Cache("registry", reference)


def from_environment(environment: Mapping[str, str] = os.environ) -> Cache | None:
    return parse(environment.get(VARIABLE, ""))


def check(
    cache: Cache, *, buildx: tuple[int, ...], environment: Mapping[str, str] = os.environ
) -> None:
    """Raise `CacheUnusable` when `cache` cannot work in this environment."""
    if cache.kind != "gha":
        return
    missing = [name for name in GITHUB if not environment.get(name)]
    if missing:
        raise CacheUnusable(
            f"{VARIABLE}=gha needs {' and '.join(missing)} in the environment",
            fix=f"in a job, export them to the step from an action; elsewhere unset {VARIABLE}",
        )
    if buildx < GITHUB_BUILDX:
        version = ".".join(map(str, buildx))
        raise CacheUnusable(
            f"buildx {version} speaks a cache protocol that GitHub has ended",
            fix="use buildx 0.21 or newer, or registry:HOST/NAME",
        )
