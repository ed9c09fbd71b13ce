"""Names of snapshots, and what Daytona accepts as one. Pure: nothing here asks Daytona.

A name is a function of the stage and the source alone: its time is the commit's. So two machines
that publish the same source choose the same name, and since Daytona refuses a second snapshot of
a name (409), one of them builds it and the other one waits for that build.
The rules are those of Daytona's server v0.190.0 and SDK 0.226.1.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import Final

from tasks.base import console, stages
from tasks.base.errors import BadInput

_ACCEPTED: Final = re.compile(
    r"[a-zA-Z0-9_.\-:]+(?:/[a-zA-Z0-9_.\-:]+)*(?:@sha256:[a-f0-9]{64})?", re.ASCII
)
#: The server refuses these anywhere in a name: it takes them for web addresses.
_FORBIDDEN: Final = ("www.", "data:", "tel:", "mailto:", "javascript:")
_LONGEST: Final = 255
_REBUILD_ID: Final = r"[0-9a-z]{1,12}"
_OUR_NAME: Final = re.compile(
    rf"(?P<stage>{stages.PATTERN})--(?P<stamp>\d{{8}}-\d{{6}})-(?P<identity>[0-9a-f]{{12}})"
    rf"(?:-r(?P<rebuild>{_REBUILD_ID}))?(?:\.(?P<variant>[A-Za-z0-9_-]{{1,80}}))?",
    re.ASCII,
)
_DIGITS: Final = 12


@dataclass(frozen=True, kw_only=True)
class SnapshotName:
    """`<stage>--<UTC time of the commit>-<12 digits of the identity>[-r<rebuild>][.<variant>]`."""

    stage: str
    stamp: str
    identity: str
    rebuild: str = ""
    variant: str = ""

    def __str__(self) -> str:
        rebuild = f"-r{self.rebuild}" if self.rebuild else ""
        variant = f".{self.variant}" if self.variant else ""
        return f"{self.stage}--{self.stamp}-{self.identity}{rebuild}{variant}"

    def with_variant(self, variant: str) -> SnapshotName:
        return replace(self, variant=variant)

    @classmethod
    def parse(cls, text: str) -> SnapshotName | None:
        """None for a name that this project did not give."""
        match = _OUR_NAME.fullmatch(text)
        if match is None:
            return None
        return cls(
            stage=match["stage"],
            stamp=match["stamp"],
            identity=match["identity"],
            rebuild=match["rebuild"] or "",
            variant=match["variant"] or "",
        )


def name_for(*, stage: str, committed: float, identity: str, rebuild: str = "") -> SnapshotName:
    """The name of a source at a stage. `committed` is the commit's time, seconds since 1970."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(committed))
    return SnapshotName(stage=stage, stamp=stamp, identity=identity[:_DIGITS], rebuild=rebuild)


def is_rebuild_id(text: str) -> bool:
    """Whether it can stand in a name as the id of a forced build."""
    return re.fullmatch(_REBUILD_ID, text, re.ASCII) is not None


def check_name(text: str) -> str:
    """`text` if Daytona accepts it as a snapshot's name; raises `BadInput`, asking nobody."""
    excerpt = console.printable(text)[:80]
    rule = "letters, digits and _ . - : in parts separated by /"
    if not text.strip():
        raise BadInput("a snapshot's name must not be empty", fix=f"use {rule}")
    if len(text) > _LONGEST:
        raise BadInput(
            f"the name {excerpt}… has {len(text)} characters",
            fix=f"at most {_LONGEST} are possible",
        )
    if not _ACCEPTED.fullmatch(text):
        raise BadInput(f"`{excerpt}` cannot name a snapshot", fix=f"use {rule}")
    for word in _FORBIDDEN:
        if word in text.lower():
            raise BadInput(
                f"`{excerpt}` cannot name a snapshot: Daytona refuses `{word}` in a name",
                fix="leave it out",
            )
    return text


def check_image(text: str) -> str:
    """`text` if Daytona can make a snapshot of that image: with a tag or digest, not `latest`."""
    excerpt = console.printable(text)[:120]
    if not text or not _ACCEPTED.fullmatch(text):
        raise BadInput(f"`{excerpt}` cannot name an image", fix="use a form like registry/name:tag")
    repository, at_sign, _digest = text.partition("@")
    tag = repository.rsplit("/", 1)[-1].partition(":")[2]
    if tag == "latest":
        raise BadInput(f"Daytona refuses the tag latest of `{excerpt}`", fix="name a version")
    if not at_sign and not tag:
        raise BadInput(f"`{excerpt}` has no tag", fix="add a tag or a digest")
    return text
