"""A snapshot is published, verified, and then its stage uses it: in that order, or not at all."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.base import console
from tasks.base.errors import Interrupted, TaskError
from tasks.daytona import history, provenance
from tasks.daytona.ledger_entry import new_entry
from tasks.daytona.publication import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tasks.build.image import Image
    from tasks.daytona.api import Daytona
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.ledger_entry import LedgerEntry
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
    """`verified` says what was checked; `place` is where the ledger is; `replaced_entry` is what
    the stage used before, as far as it used another snapshot.
    """

    publication: Publication
    verified: list[str]
    place: str
    replaced_entry: LedgerEntry | None

    def record(self) -> dict[str, Any]:
        previous = self.replaced_entry.snapshot if self.replaced_entry else None
        return {
            **self.publication.record(),
            "verified": self.verified,
            "ledger": self.place,
            "previous": previous,
        }


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

    The stage is moved only from what it was when this began.
    """
    ledger.refresh()
    earlier_entries = ledger.history(request.request.stage)
    with _naming_what_holds(api, request, ledger):
        _tell_direction(api, request, earlier_entries)
        with section(f"Snapshot {request.snapshot_name}"):
            # What cannot be recorded is better known before the build than after it.
            check_access = ledger.check_access
            publication = publish(
                api, request, check_image=checks.image, before_creation=check_access
            )
        with section(f"Verify {publication.name}"):
            verified = _verify(publication, ledger, checks)
        replaced_entry = _move(publication, ledger, earlier_entries)
    if ledger.remote is None and not api.credentials.is_local:
        console.warn("there is no remote `origin`: the ledger is lost with this machine")
    console.good(publication.name)
    return StageRelease(
        publication=publication,
        verified=verified,
        place=ledger.place,
        replaced_entry=replaced_entry,
    )


@contextlib.contextmanager
def _naming_what_holds(api: Daytona, request: ResolvedRequest, ledger: Ledger) -> Iterator[None]:
    """Whatever ends the block early is told with the snapshot that the stage uses still."""
    try:
        yield
    except (TaskError, KeyboardInterrupt, Interrupted) as error:
        current = ledger.current(request.request.stage, api.credentials.target or "")
        name = current.snapshot if current else "without a snapshot"
        error.add_note(f"{request.request.stage} is still {name}")
        raise


def _tell_direction(
    api: Daytona, request: ResolvedRequest, earlier_entries: Sequence[LedgerEntry]
) -> None:
    """Say when the stage would move back, or to what others do not have."""
    stage = request.request.stage
    for remark in provenance.remarks(request.repo, request.source, stage):
        console.warn(remark)
    entries = history.in_region(earlier_entries, api.credentials.target or "")
    if not entries:
        return
    remark = provenance.backward_remark(request.repo, stage, entries[0], request.source.sha)
    if remark and request.request.only_forward:
        raise TaskError(remark, fix="leave out --only-forward to move it all the same")
    if remark:
        console.warn(f"{remark} → nox -s snapshots -- rollback --stage {stage} takes that back")


def _verify(publication: Publication, ledger: Ledger, checks: ReleaseChecks) -> list[str]:
    if publication.is_new or ledger.find_move(publication.name, publication.region) is None:
        return checks.snapshot(publication.name)
    return ["before, as the ledger says"]


def _move(
    publication: Publication, ledger: Ledger, earlier_entries: Sequence[LedgerEntry]
) -> LedgerEntry | None:
    """The entry that was replaced, if there was one."""
    request = publication.request
    stage, region = request.request.stage, publication.region
    expected = next(iter(history.in_region(earlier_entries, region)), None)
    entry = new_entry(
        snapshot=publication.name,
        sha=request.source.sha,
        identity=request.source.identity,
        reason="publish",
        branch=request.branch,
        region=region,
    )
    if not ledger.move(stage, entry, expected=expected):
        return None
    replacement = f"; it was {expected.describe()}" if expected else ""
    console.step(f"{stage} is {publication.name} now{replacement}; the ledger is at {ledger.place}")
    return expected
