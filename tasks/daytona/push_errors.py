"""Why git could not push or fetch, from what it says: one line, with the remote's own reason."""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 400
#: "! [remote rejected] a -> b (pre-receive hook declined)"
_REJECTION: Final = re.compile(r"^\s*! \[(?P<kind>[^\]]*)\].*\((?P<reason>[^()]*)\)\s*$")
#: As git gives the reason when the lease, or the remote's lock on the ref, is lost.
_RACES: Final = re.compile(
    r"stale info|fetch first|non-fast-forward|cannot lock ref|reference already exists"
    r"|failed to update ref|remote ref does not exist|fetch-first"
)
#: Lines with these words, or with these at their beginning, tell nothing that the others do not.
_USELESS: Final = (
    "error: failed to push some refs", "please make sure you have the correct access rights",
    "and the repository exists", "fatal: could not read from remote repository",
    " died of signal ", "resolve the", "processing objects", "counting objects",
)  # fmt: skip
_USELESS_BEGINNINGS: Final = ("hint:", "everything up-to-date", "warning: not sending", "total ")


def is_lost_race(output: str) -> bool:
    """Whether somebody else has changed the ref meanwhile. A remote's rule is not that, whatever
    words its text has.
    """
    rejections = [match for line in output.splitlines() if (match := _REJECTION.match(line))]
    return bool(rejections) and all(_RACES.search(match["reason"]) for match in rejections)


def explain(output: str) -> str:
    """What the remote says, then how git calls it; the last line where neither says anything."""
    remote_lines: list[str] = []
    local_lines: list[str] = []
    for raw_line in output.splitlines():
        line = raw_line.strip()
        if match := _REJECTION.match(line):
            local_lines.append(match["reason"])
        elif line.lower().startswith("remote:"):
            remote_lines.append(re.sub(r"^(?:error|fatal):\s*", "", line[7:].strip()))
        elif not _is_useless(line):
            local_lines.append(re.sub(r"^(?:error|fatal):\s*", "", line))
    useful_lines = [line for line in (*remote_lines, *local_lines) if re.search(r"\w", line)]
    lines = list(dict.fromkeys(line for line in useful_lines if not _is_useless(line)))
    if not lines:
        lines = [line.strip() for line in output.splitlines() if line.strip()][-1:]
    text = "; ".join(lines) or "git gives no reason"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _is_useless(line: str) -> bool:
    text = line.lower()
    is_address = text.startswith("to ") and len(text.split()) == 2
    return (
        is_address
        or text.startswith(_USELESS_BEGINNINGS)
        or any(words in text for words in _USELESS)
    )
