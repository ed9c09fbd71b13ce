"""Snapshots of Daytona: their names, what they hold, and what to do about each state.

Pure: nothing here asks Daytona. The rules are those of its server (v0.190.0) and SDK 0.226.1.

A name is a function of the stage and the source alone: its time is the commit's. So two machines
that publish the same thing want the same name, and Daytona's own uniqueness of names (409) lets
one of them build and makes the other one attach.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base import console
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(
    r"[a-zA-Z0-9_.\-:]+(?:/[a-zA-Z0-9_.\-:]+)*(?:@sha256:[a-f0-9]{64})?", re.ASCII
)
#: Refused by the server anywhere in a name: it takes them for addresses.
_FORBIDDEN: Final = ("www.", "data:", "tel:", "mailto:", "javascript:")
_LONGEST: Final = 255
PRODUCTION: Final = "prd"
_STAGE: Final = re.compile(r"prd|stg|dev-[a-z0-9](?:[a-z0-9.-]{0,38}[a-z0-9])?", re.ASCII)
_OURS: Final = re.compile(
    rf"(?P<stage>{_STAGE.pattern})--(?P<stamp>\d{{8}}-\d{{6}})-(?P<identity>[0-9a-f]{{12}})"
    r"(?:-r(?P<rebuild>[0-9a-z]{1,12}))?",
    re.ASCII,
)
_DIGITS: Final = 12

State = str
#: On its way to active, or to an error.
UNDER_WAY: Final = frozenset({"pending", "building", "pulling", "snapshotting"})
FAILED: Final = frozenset({"error", "build_failed"})
KNOWN: Final = UNDER_WAY | FAILED | {"active", "inactive", "removing"}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What Daytona says of one."""

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

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Snapshot:
        """From a reply, of this or an older server: only what cannot be missing is needed."""
        build = said.get("buildInfo") or {}
        size = said.get("size")
        return cls(
            id=str(said["id"]),
            name=str(said["name"]),
            state=str(said.get("state") or "unknown"),
            general=bool(said.get("general")),
            reason=str(said.get("errorReason") or ""),
            # The server counts in GB (2^30).
            bytes=None if size is None else float(size) * 2**30,
            created=str(said.get("createdAt") or ""),
            used=str(said.get("lastUsedAt") or ""),
            image=str(said.get("imageName") or ""),
            dockerfile=str(build.get("dockerfileContent") or ""),
            contexts=tuple(build.get("contextHashes") or ()),
            entrypoint=tuple(said.get("entrypoint") or ()),
        )


# ── names ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Name:
    """`<stage>--<UTC time of the commit>-<12 digits of the identity>[-r<rebuild>]`."""

    stage: str
    stamp: str
    identity: str
    rebuild: str = ""

    def __str__(self) -> str:
        rebuild = f"-r{self.rebuild}" if self.rebuild else ""
        return f"{self.stage}--{self.stamp}-{self.identity}{rebuild}"

    @classmethod
    def parse(cls, text: str) -> Name | None:
        """None for a name that this project did not give."""
        match = _OURS.fullmatch(text)
        if match is None:
            return None
        return cls(
            stage=match["stage"],
            stamp=match["stamp"],
            identity=match["identity"],
            rebuild=match["rebuild"] or "",
        )


def name_for(*, stage: str, committed: float, identity: str, rebuild: str = "") -> Name:
    """The name of a source at a stage. `committed` is the commit's time, seconds since 1970."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(committed))
    return Name(stage=stage, stamp=stamp, identity=identity[:_DIGITS], rebuild=rebuild)


def check_name(text: str) -> str:
    """`text` if Daytona would take it as a snapshot's name; raises `BadInput`, asking nobody."""
    shown = console.printable(text)[:80]
    rule = "letters, digits and _ . - : in parts separated by /"
    if not text.strip():
        raise BadInput("a snapshot's name must not be empty", fix=rule)
    if len(text) > _LONGEST:
        raise BadInput(
            f"the name {shown}… has {len(text)} characters", fix=f"at most {_LONGEST} are possible"
        )
    if not _NAME.fullmatch(text):
        raise BadInput(f"`{shown}` cannot name a snapshot", fix=f"use {rule}")
    for word in _FORBIDDEN:
        if word in text.lower():
            raise BadInput(
                f"`{shown}` cannot name a snapshot: Daytona refuses `{word}` in a name",
                fix="leave it out",
            )
    return text


def check_image(text: str) -> str:
    """`text` if Daytona can make a snapshot of that image: with a tag or digest, not `latest`."""
    shown = console.printable(text)[:120]
    if not text or not _NAME.fullmatch(text):
        raise BadInput(f"`{shown}` is no image", fix="use a form like registry/name:tag")
    head, at, _digest = text.partition("@")
    tag = head.rsplit("/", 1)[-1].partition(":")[2]
    if tag == "latest":
        raise BadInput(f"`{shown}`: Daytona refuses the tag latest", fix="name a version")
    if not at and not tag:
        raise BadInput(f"`{shown}` has no tag", fix="add a tag or a digest")
    return text


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


# ── content ─────────────────────────────────────────────────────────────────────────────────

_MARK: Final = "# iterate-sandbox identity "
_REPOSITORY: Final = "iterate-sandbox-"
_IDENTITY: Final = re.compile(
    rf"^{re.escape(_MARK)}([0-9a-f]{{64}})$|/{_REPOSITORY}([0-9a-f]{{64}})@sha256:", re.MULTILINE
)


def marked(dockerfile: str, identity: str, *, rebuild: str = "") -> str:
    """The Dockerfile as it is sent: it says what it builds, and another text is built anew."""
    mark = _MARK + identity + "\n" + (f"# rebuild {rebuild}\n" if rebuild else "")
    return dockerfile.rstrip("\n") + "\n" + mark


def repository_for(identity: str) -> str:
    """The last part of the image's name in the registry, for a snapshot made by push."""
    return _REPOSITORY + identity


def identity_of(snapshot: Snapshot) -> str | None:
    """The identity of what it was made from; None when we did not make it."""
    match = _IDENTITY.search(snapshot.image or snapshot.dockerfile)
    return (match[1] or match[2]) if match else None


def digest_of(snapshot: Snapshot) -> str:
    """Something to tell two contents apart by, for messages."""
    return identity_of(snapshot) or snapshot.image or ", ".join(snapshot.contexts) or "unknown"


def is_ours(snapshot: Snapshot) -> bool:
    """By its name and by what is in it: a name alone can be given by anybody."""
    name = Name.parse(snapshot.name)
    identity = identity_of(snapshot)
    return bool(not snapshot.general and name and identity and identity.startswith(name.identity))


# ── the state machine ───────────────────────────────────────────────────────────────────────

Step = Literal["create", "reuse", "activate", "attach", "replace", "wait", "refuse"]


def next_step(found: Snapshot | None, *, identity: str) -> Step:
    """What brings the snapshot of that name nearer to `active` with this content.

    >>> next_step(None, identity="")
    'create'
    """
    if found is None:
        return "create"
    if found.state == "removing":
        return "wait"  # until it is gone: the name is free then, whatever was in it
    if identity_of(found) != identity:
        return "refuse"
    steps: dict[str, Step] = {"active": "reuse", "inactive": "activate"}
    if found.state in FAILED:
        return "replace"
    if found.state in UNDER_WAY:
        return "attach"
    return steps.get(found.state, "wait")  # unknown states: until the deadline, which says them
