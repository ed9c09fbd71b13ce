"""What the moves of a stage come to. Pure: each function takes the entries, the newest first.

A stage has a snapshot of its own in each region that it is published to. An entry without a
region counts everywhere: it is from before regions were noted, or of a server that names none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.daytona.ledger_entry import LedgerEntry


def in_region(entries: Sequence[LedgerEntry], region: str) -> list[LedgerEntry]:
    """Those that count in a region; all of them where it is ""."""
    return [entry for entry in entries if not region or entry.region in {"", region}]


def positions(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """The current entry, and those that a rollback would go back to one after the other.

    A rollback takes back what came after the entry that it went to: the next one goes further
    back, and not forth again.
    """
    stack: list[LedgerEntry] = []
    for entry in reversed(entries):
        names = [earlier.snapshot for earlier in stack]
        if entry.reason == "rollback" and entry.snapshot in names:
            del stack[len(names) - 1 - names[::-1].index(entry.snapshot) :]
        elif stack and stack[-1].snapshot == entry.snapshot:
            stack.pop()
        stack.append(entry)
    return stack[::-1]


def regions(entries: Sequence[LedgerEntry]) -> list[str]:
    """In which the stage has been published, "" for an entry without a region."""
    return sorted({entry.region for entry in entries})
