"""A snapshot is published, verified, and then its stage uses it: in that order, or not at all."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.base import console
from tasks.base.errors import Interrupted, TaskError
from tasks.daytona.ledger_entry import new_entry
from tasks.daytona.publication import publish

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tasks.build.image import Image
    from tasks.daytona.api import Daytona
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.publication import Publication
    from tasks.daytona.request import ResolvedRequest


@dataclass(frozen=True, kw_only=True)
class ReleaseChecks:
    """What is done before anybody is told of a snapshot; each raises when it fails.

    `image`: of an image before it is pushed. `snapshot`: of a snapshot by its name; it returns
    what was checked, in words.
    """

    image: Callable[[Image], None] | None
    snapshot: Callable[[str], list[str]]


@dataclass(frozen=True, kw_only=True)
class StageRelease:
    """`verified` says what was checked; `place` is where the ledger is."""

    publication: Publication
    verified: list[str]
    place: str

    def record(self) -> dict[str, Any]:
        return {**self.publication.record(), "verified": self.verified, "ledger": self.place}


def release(
    api: Daytona,
    request: ResolvedRequest,
    ledger: Ledger,
    *,
    checks: ReleaseChecks,
    section: Callable[[str], AbstractContextManager[object]] = contextlib.nullcontext,
) -> StageRelease:
    """Publish, verify, move the stage, and only then say the name. `section` is entered with the
    title of what is being done.
    """
    ledger.refresh()  # what cannot be recorded is better known before the build than after it
    stage = request.request.stage
    try:
        with section(f"Snapshot {request.snapshot_name}"):
            publication = publish(api, request, check_image=checks.image)
        with section(f"Verify {publication.name}"):
            verified = _verify(publication, ledger, checks)
        _move(publication, ledger)
    except (TaskError, KeyboardInterrupt, Interrupted) as error:
        current = ledger.current(stage)
        name = current.snapshot if current else "without a snapshot"
        error.add_note(f"{stage} is still {name}")
        raise
    if ledger.remote is None and not api.credentials.is_local:
        console.warn("there is no remote `origin`: the ledger is lost with this machine")
    console.good(publication.name)
    return StageRelease(publication=publication, verified=verified, place=ledger.place)


def _verify(publication: Publication, ledger: Ledger, checks: ReleaseChecks) -> list[str]:
    if publication.is_new or ledger.find_move(publication.name) is None:
        return checks.snapshot(publication.name)
    return ["before, as the ledger says"]


def _move(publication: Publication, ledger: Ledger) -> None:
    request = publication.request
    stage = request.request.stage
    entry = new_entry(
        snapshot=publication.name,
        sha=request.source.sha,
        identity=request.source.identity,
        reason="publish",
        branch=request.branch,
    )
    if ledger.move(stage, entry):
        console.step(f"{stage} is {publication.name} now; the ledger is at {ledger.place}")
