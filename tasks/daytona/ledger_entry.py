"""One move of a stage, as a commit's message holds it."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base import console
from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

Reason = Literal["publish", "promote", "rollback"]

#: What the fields are called in a message, and in `--json`.
_KEYS: Final = {
    "snapshot": "snapshot",
    "sha": "sha",
    "identity": "identity",
    "why": "reason",
    "who": "author",
    "when": "date",
    "branch": "branch",
    "region": "region",
}


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One move: from then on the stage uses `snapshot`. `date` is in UTC. `branch` is the one it
    was made of, as far as that was known; entries of before November 2026 do not have it.
    `region` is the one in which the stage uses it, "" where that is not known.
    """

    snapshot: str
    sha: str
    identity: str
    reason: Reason
    author: str
    date: str
    branch: str = ""
    region: str = ""

    def record(self) -> dict[str, str]:
        return {key: getattr(self, attribute) for key, attribute in _KEYS.items()}

    def describe(self) -> str:
        """The snapshot, its commit, and who moved the stage there."""
        text = f"{self.snapshot} (commit {self.sha[:12]}, by {self.author}, {self.date})"
        return console.printable(text)

    def to_message(self) -> str:
        # Programs of before regions were noted read no entry with one.
        record = {key: value for key, value in self.record().items() if key != "region" or value}
        fields = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
        return f"{self.reason} {self.snapshot}\n\n{fields}\n"

    @classmethod
    def from_message(cls, text: str) -> LedgerEntry | None:
        """None for a commit that is not a move of ours."""
        try:
            fields: Any = parse_json(text.partition("\n\n")[2])
            entry = cls(**{_KEYS[key]: value for key, value in fields.items()})
        except (ValueError, TypeError, AttributeError, LookupError):
            return None
        return entry if all(isinstance(value, str) for value in entry.record().values()) else None


def new_entry(
    *, snapshot: str, sha: str, identity: str, reason: Reason, branch: str = "", region: str = ""
) -> LedgerEntry:
    """A move by this user at this moment."""
    return LedgerEntry(
        snapshot=snapshot,
        sha=sha,
        identity=identity,
        reason=reason,
        author=_current_user(),
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        branch=branch,
        region=region,
    )


def _current_user(environment: Mapping[str, str] = os.environ) -> str:
    names = ("GITHUB_ACTOR", "ITERATE_USER", "USER", "LOGNAME")
    name = next((environment[n] for n in names if environment.get(n, "").strip()), "unknown")
    return console.printable(f"{name}@{socket.gethostname()}")
