"""One snapshot as Daytona describes it, of this or an older server, and the states it can be in."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.daytona.answers import Answer

PRODUCTION: Final = "prd"
STAGE_PATTERN: Final = r"prd|stg|dev-[a-z0-9](?:[a-z0-9.-]{0,38}[a-z0-9])?"
_STAGE: Final = re.compile(STAGE_PATTERN, re.ASCII)

State = str
#: On its way to active, or to an error.
UNDER_WAY: Final = frozenset({"pending", "building", "pulling", "snapshotting"})
FAILED: Final = frozenset({"error", "build_failed"})
KNOWN_STATES: Final = UNDER_WAY | FAILED | {"active", "inactive", "removing"}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """`bytes` is its size; `created` and `used` are times in ISO 8601, "" where Daytona names
    none. `regions` are those in which it can be used, empty where the server does not say.
    """

    id: str
    name: str
    state: State
    general: bool = False
    reason: str = ""
    bytes: float | None = None
    created: str = ""
    used: str = ""
    image: str = ""
    dockerfile: str = ""
    contexts: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    @classmethod
    def from_answer(cls, answer: Answer) -> Snapshot:
        """Only the id and the name must be there: servers differ in the rest."""
        build = answer.child("buildInfo")
        size = answer.number("size")
        return cls(
            id=answer.text("id"),
            name=answer.text("name"),
            state=answer.optional_text("state") or "unknown",
            general=answer.flag("general"),
            reason=answer.optional_text("errorReason"),
            # The server counts in GB (2^30).
            bytes=None if size is None else size * 2**30,
            created=answer.optional_text("createdAt"),
            used=answer.optional_text("lastUsedAt"),
            image=answer.optional_text("imageName"),
            dockerfile=build.optional_text("dockerfileContent"),
            contexts=build.texts("contextHashes"),
            entrypoint=answer.texts("entrypoint"),
            regions=answer.texts("regionIds"),
        )


def check_stage(text: str) -> str:
    if not _STAGE.fullmatch(text) or "--" in text:
        raise BadInput(
            f"`{console.printable(text)[:60]}` is no stage", fix="use prd, stg or dev-NAME"
        )
    return text


def stage_from(flag: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The flag, else APP_STAGE, else dev-$ITERATE_USER. Empty variables do not count."""
    if flag is not None:
        return check_stage(flag)
    if stage := environment.get("APP_STAGE", "").strip():
        return check_stage(stage)
    if user := environment.get("ITERATE_USER", "").strip():
        slug = re.sub(r"[^a-z0-9]+", "-", user.lower()).strip("-")[:40].strip("-")
        if slug:
            return check_stage(f"dev-{slug}")
    raise BadInput("no stage is given", fix="use --stage dev-NAME, or set ITERATE_USER")


_HASHED: Final = re.compile(r"(?:.*-)?[0-9a-f]{8}", re.ASCII | re.DOTALL)
_SLUG: Final = 40


def stage_for_branch(branch: str) -> str:
    """The stage of a branch's own sandbox. Two branches never share one: where the name loses
    something (or looks as if it had), a hash of the branch follows it.

    >>> stage_for_branch("fix-login"), stage_for_branch("ann/fix-login")
    ('dev-fix-login', 'dev-ann-fix-login-57317abe')
    """
    if not branch.strip():
        raise BadInput("the branch has no name", fix="name a branch")
    slug = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")
    if slug == branch and len(slug) <= _SLUG and not _HASHED.fullmatch(slug):
        return check_stage(f"dev-{slug}")
    digest = hashlib.sha256(branch.encode(errors="surrogateescape")).hexdigest()[:8]
    head = slug[: _SLUG - 9].strip("-")
    return check_stage(f"dev-{head}-{digest}" if head else f"dev-{digest}")
