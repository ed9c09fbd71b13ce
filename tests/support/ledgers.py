"""Moving stages in tests, from whatever they use at the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.daytona.ledger import Ledger
    from tasks.daytona.ledger_entry import LedgerEntry


def move(ledger: Ledger, stage: str, entry: LedgerEntry) -> bool:
    """Let the stage use another snapshot; False when it does already."""
    ledger.refresh()
    return ledger.move(stage, entry, expected=ledger.current(stage, entry.region))
