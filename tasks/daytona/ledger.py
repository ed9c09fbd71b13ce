"""Which snapshot each stage uses, who put it there, and what it was before: refs in a git remote.

Daytona's snapshots carry no labels, and its lists are no history. A git remote has all it takes: a
chain of commits for each stage below refs/sandbox/ledger/ (`git log` reads it), compare-and-swap
on push, the access rights of the repository, and it does not live on any one machine. The work is
done in a bare repository beside the checkout, `.sandbox/ledger.git`, so that neither the user's
repository nor its configuration (which could name programs) takes part.

Without a remote the ledger stays in that bare repository; the command that moves it says so.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import addresses, console
from tasks.daytona import history
from tasks.daytona.ledger_entry import LedgerEntry
from tasks.daytona.ledger_store import VARIABLE, LedgerFailed, LedgerStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ATTEMPTS: Final = 5


class Ledger:
    """`remote`: a path or address that git can push to; None keeps it on this machine."""

    def __init__(self, folder: Path, *, remote: str | None) -> None:
        self._store = LedgerStore(folder, remote=remote)
        self.remote = remote

    @property
    def place(self) -> str:
        """Where it lives, without credentials."""
        return self._store.place

    def refresh(self) -> None:
        """Take over what the remote says."""
        self._store.refresh()

    def stages(self) -> list[str]:
        return self._store.stages()

    def tip(self, stage: str) -> str | None:
        """What names the state of a stage: it changes with every move."""
        return self._store.tip(stage)

    def history(self, stage: str) -> list[LedgerEntry]:
        """The newest first."""
        tip = self.tip(stage)
        messages = [] if tip is None else self._store.messages(tip)
        return [entry for text in messages if (entry := LedgerEntry.from_message(text))]

    def current(self, stage: str, region: str = "") -> LedgerEntry | None:
        """What the stage uses in that region; the newest of all where none is named."""
        return next(iter(history.in_region(self.history(stage), region)), None)

    def published_in(self) -> dict[str, list[str]]:
        """Stage → regions in which it has been published, "" for an entry without a region."""
        return {stage: history.regions(self.history(stage)) for stage in self.stages()}

    def points_at(self) -> dict[str, list[str]]:
        """Snapshot → what points at it: `prd`, `prd (previous)`, `prd in eu`."""
        pointers: dict[str, list[str]] = {}
        for stage in self.stages():
            entries = self.history(stage)
            for region in history.regions(entries):
                own_entries = [entry for entry in entries if entry.region == region]
                place = f"{stage} in {region}" if region else stage
                labels = (place, f"{place} (previous)")
                for label, entry in zip(labels, history.positions(own_entries), strict=False):
                    pointers.setdefault(entry.snapshot, []).append(label)
        return pointers

    def find_move(self, snapshot: str, region: str = "") -> LedgerEntry | None:
        """The newest move to that snapshot at any stage: it was verified then, in that region."""
        moves = [
            entry
            for stage in self.stages()
            for entry in history.in_region(self.history(stage), region)
            if entry.snapshot == snapshot
        ]
        return max(moves, key=lambda entry: entry.date, default=None)

    def move(self, stage: str, entry: LedgerEntry, *, expected: LedgerEntry | None) -> bool:
        """Let the stage use another snapshot; False when it does already.

        `expected` is what it used when that was decided: raises `LedgerFailed` when somebody has
        moved it meanwhile.
        """
        for _ in range(_ATTEMPTS):
            self.refresh()
            tip, current = self.tip(stage), self.current(stage, entry.region)
            if current and current.snapshot == entry.snapshot:
                return False
            if current != expected:
                raise _moved_meanwhile(stage, entry, expected, current)
            if self._store.append(stage, tip, entry):
                return True
        raise LedgerFailed(
            f"the ledger of {stage} is moved by somebody else all the time",
            fix="run it again in a minute",
        )

    def check_access(self) -> None:
        """Raise `LedgerFailed` when the remote refuses what is written there."""
        self._store.check_access()

    def drop(self, stage: str, *, expected: str) -> bool:
        """Forget the stage, if it is still where `tip` was; False when it is not."""
        return self._store.drop(stage, expected)


def _moved_meanwhile(
    stage: str, entry: LedgerEntry, expected: LedgerEntry | None, current: LedgerEntry | None
) -> LedgerFailed:
    earlier = f"from {console.printable(expected.snapshot)} " if expected else ""
    state = f"to {current.describe()}" if current else "out of the ledger"
    return LedgerFailed(
        f"{stage} was moved {earlier}{state} while this ran, and is left there",
        fix=f"look at nox -s snapshots -- list; if it is to use {entry.snapshot} all the same: nox"
        f" -s snapshots -- promote {entry.snapshot} --stage {stage}",
    )


def open_ledger(
    root: Path, state: Path, *, local: bool, environment: Mapping[str, str] = os.environ
) -> Ledger:
    """The ledger of the checkout at `root`: at SANDBOX_LEDGER, else at its remote `origin`.

    `local`: of the stand-in, which has stages of its own that nobody else is to see. A ledger on
    this very machine may be named for it, too: workflows are rehearsed so.
    """
    named_remote = environment.get(VARIABLE, "").strip()
    if local:
        remote = named_remote if _on_this_machine(named_remote) else None
        return Ledger(state / "stand-in-ledger.git", remote=remote)
    return Ledger(state / "ledger.git", remote=named_remote or _origin(root))


def _on_this_machine(remote: str) -> bool:
    if "://" in remote:
        return addresses.is_loopback(addresses.host_of(remote))
    return remote.startswith("/")


def _origin(root: Path) -> str | None:
    url = git.origin_url(root)
    if not url:
        return None
    # A relative path is meant from the checkout, not from where the ledger works.
    local = "://" not in url and not re.match(r"[^/]+:", url)
    return str((root / url).resolve()) if local else url
