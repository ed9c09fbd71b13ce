"""Stages: who a snapshot is for. `prd` and `stg` are everybody's, `dev-NAME` is one person's or one
branch's.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

PRODUCTION: Final = "prd"
#: `--` is not possible in a stage either: it ends one in a snapshot's name.
PATTERN: Final = r"prd|stg|dev-[a-z0-9](?:[a-z0-9.-]{0,38}[a-z0-9])?"
_STAGE: Final = re.compile(PATTERN, re.ASCII)
_HASHED: Final = re.compile(r"(?:.*-)?[0-9a-f]{8}", re.ASCII | re.DOTALL)
_SLUG: Final = 40


def is_stage(text: str) -> bool:
    return _STAGE.fullmatch(text) is not None and "--" not in text


def check_stage(text: str) -> str:
    """`text`, or `BadInput` where it is not a valid stage."""
    if not is_stage(text):
        raise BadInput(
            f"`{console.printable(text)[:60]}` is not a valid stage",
            fix="use prd, stg or dev-NAME, with a NAME of small letters, digits, dots and hyphens",
        )
    return text


def stage_from(option: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The option, else APP_STAGE, else dev-$ITERATE_USER. An empty variable is as none."""
    if option is not None:
        return check_stage(option)
    if stage := environment.get("APP_STAGE", "").strip():
        return check_stage(stage)
    if user := environment.get("ITERATE_USER", "").strip():
        slug = _slug(user)[:_SLUG].strip("-")
        if slug:
            return check_stage(f"dev-{slug}")
    raise BadInput("no stage is given", fix="use --stage dev-NAME, or set ITERATE_USER")


def stage_for_branch(branch: str) -> str:
    """The stage of a branch's own sandbox. Two branches never share one: where the name loses
    something (or looks as if it had), a hash of the branch follows it.

    >>> stage_for_branch("fix-login"), stage_for_branch("ann/fix-login")
    ('dev-fix-login', 'dev-ann-fix-login-57317abe')
    """
    if not branch.strip():
        raise BadInput("the branch has no name", fix="name a branch")
    slug = _slug(branch)
    if slug == branch and len(slug) <= _SLUG and not _HASHED.fullmatch(slug):
        return check_stage(f"dev-{slug}")
    digest = hashlib.sha256(branch.encode(errors="surrogateescape")).hexdigest()[:8]
    head = slug[: _SLUG - 9].strip("-")
    return check_stage(f"dev-{head}-{digest}" if head else f"dev-{digest}")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
