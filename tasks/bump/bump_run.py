"""One run of the bumper, from the pins to the edited Dockerfile. It prints progress only."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.base.project import DOCKERFILE
from tasks.bump import documents, edit, journal, work_folder
from tasks.bump.pins import current_versions
from tasks.bump.registries.model import SourceError
from tasks.bump.selection import PinRequest
from tasks.bump.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tasks.bump.edit import Edit
    from tasks.bump.outcome import Survey
    from tasks.bump.pins import Pin

BumpMode = Literal["write", "verify", "dry-run", "check"]


class OutOfDate(TaskError):
    code = "out-of-date"


class RequestRefused(TaskError):
    code = "refused"


@dataclass(frozen=True)
class BumpOptions:
    """`pins` and `requests` name pins by their variables; without any, all pins are bumped."""

    mode: BumpMode
    pins: frozenset[str]
    requests: Mapping[str, PinRequest]

    @property
    def writes(self) -> bool:
        return self.mode in {"write", "verify"}


@dataclass(frozen=True)
class BumpRun:
    """A run under way: `survey` is what was decided, `edit` what would bring it about."""

    root: Path
    state: Path
    options: BumpOptions
    survey: Survey
    edit: Edit
    leftovers: Sequence[str]

    def write(self) -> bool | None:
        """Apply the edit; returns whether it was verified, None where that was not asked for.

        Raises `VerificationFailed` after the edit was taken back.
        """
        names = ", ".join(f"{move.name} {move.new_version}" for move in self.edit.moves)
        if self.options.mode == "write":
            self.edit.apply()
            console.good(f"written: {names}")
            return None
        from tasks.bump import verification  # noqa: PLC0415 - it brings the engine's SDK

        verification.verify(self.edit, self.state)
        console.good(f"written, built and started: {names}")
        return True

    def raise_failures(self) -> None:
        """Raises `SourceError` when something could not be determined, `RequestRefused` for a
        version that may not be taken, `OutOfDate` for `--check` with work to do.
        """
        if errors := self.survey.errors:
            failed_pins = ", ".join(outcome.pin.name for outcome in errors)
            raise SourceError(f"could not decide about {failed_pins}", fix="see the lines above")
        for outcome in self.survey.outcomes:
            request = self.options.requests.get(outcome.pin.variable, PinRequest())
            if request.to and request.to != outcome.target:
                reason = (
                    outcome.held_releases[0].reason
                    if outcome.held_releases
                    else "it may not be taken"
                )
                raise RequestRefused(f"{outcome.pin.name} {request.to} is refused: {reason}")
        if self.options.mode == "check" and (self.survey.changes or self.leftovers):
            names = [outcome.pin.name for outcome in self.survey.changes]
            raise OutOfDate(
                f"out of date: {', '.join([*names, *self.leftovers])}", fix="nox -s bump_versions"
            )


@contextmanager
def open_run(
    pins: Sequence[Pin], options: BumpOptions, *, root: Path, state: Path
) -> Iterator[BumpRun]:
    """Ask the registries, and be alone in this repository until the block ends, if this run writes.

    What an earlier run left is put in order first, or is an error for a run that may not write.
    """
    with work_folder.work_folder(state) as work:
        if not options.writes:
            _refuse_trial(state)
            yield _prepare(pins, options, root=root, state=state, work=work)
            return
        with work_folder.exclusive_run(state):
            if journal.is_open(state):
                moves = ", ".join(map(str, journal.restore(root, state, work=work)))
                console.warn(
                    "an earlier run was killed while it verified its bump; taken back: "
                    f"{moves or 'nothing, the Dockerfile has other versions by now'}"
                )
            yield _prepare(pins, options, root=root, state=state, work=work)


def _refuse_trial(state: Path) -> None:
    """A bump on trial is neither fresh nor out of date."""
    if not journal.is_open(state):
        return
    with work_folder.exclusive_run(state):  # else the trial goes on in another process
        raise journal.BumpOnTrial(
            "an earlier run was killed while it verified its bump, and may have left versions that"
            " do not work",
            fix="nox -s bump_versions takes them back",
        )


def _prepare(
    pins: Sequence[Pin], options: BumpOptions, *, root: Path, state: Path, work: Path
) -> BumpRun:
    document = documents.read(root, DOCKERFILE)
    versions = current_versions(document.text, pins)
    pairs = [(pin, versions[pin.variable]) for pin in pins]
    leftovers = edit.find_leftovers(root, pairs)
    if options.writes:
        edit.tidy(root, pairs, work=work)
    variables = options.pins | set(options.requests)
    decisions = survey(
        pins,
        versions,
        root=root,
        work=work,
        requests=options.requests,
        variables=frozenset(variables or versions),
    )
    change = edit.prepare(root, document, decisions.outcomes, work=work)
    return BumpRun(root, state, options, decisions, change, leftovers)
