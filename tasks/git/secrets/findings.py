"""Secrets that were found: where they are, which of them a project allows, and what to do."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.base.parsing import parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: In `allow`, an object's id lets that very content through.
_ID: Final = re.compile(r"[0-9a-f]{12,64}")
_LISTED: Final = 10

#: Where a secret stands: in a file as it is now, in the index alone, or in the history alone.
Place = Literal["file", "index", "history"]
_PLACES: Final[Mapping[Place, str]] = {
    "file": "",
    "index": ", staged as {oid}",
    "history": ", in the history as {oid}",
}
_CURES: Final[Mapping[Place, str]] = {
    "file": "remove them or add them to .gitignore",
    "index": "stage the files as they are now (git add)",
    "history": "revoke what the history holds and rewrite it (git rebase, git filter-repo)",
}
_ALLOW: Final = "pyproject.toml, [tool.sandbox.secrets] allow"


@dataclass(frozen=True)
class SecretFinding:
    """A secret at `path`; `oid` is the git id of its content."""

    path: bytes
    kind: str
    oid: str
    place: Place

    def __str__(self) -> str:
        path = console.printable(self.path.decode(errors="backslashreplace"))
        return f"{path} ({self.kind}{_PLACES[self.place].format(oid=self.oid[:12])})"


def read_allowed_in(root: Path) -> list[str]:
    """The patterns that the pyproject.toml of the checkout at `root` allows."""
    try:
        return read_allowed((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []


def read_allowed(pyproject: str) -> list[str]:
    """What a pyproject.toml lets through (`[tool.sandbox.secrets]` `allow`): patterns of paths, and
    ids of contents. Raises `BadInput` where that is no list of strings.
    """
    try:
        settings: object = parse_toml(pyproject)
    except ValueError:  # also a number, or a nesting, that Python does not read
        return []
    for name in ("tool", "sandbox", "secrets"):
        settings = settings.get(name, {}) if isinstance(settings, dict) else None
    patterns = settings.get("allow", []) if isinstance(settings, dict) else None
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise BadInput(
            "[tool.sandbox.secrets] allow in pyproject.toml is not a list of strings",
            fix='write it as allow = ["path/to/file", "0123456789ab"]',
        )
    return patterns


def is_allowed(finding: SecretFinding, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits the path, or is an id that the content's id begins with."""
    return _allowing(finding, patterns) is not None


def _allowing(finding: SecretFinding, patterns: Iterable[str]) -> str | None:
    """The first pattern that lets the finding through."""
    path = finding.path.decode(errors="replace")
    for pattern in patterns:
        is_id = _ID.fullmatch(pattern) is not None and finding.oid.startswith(pattern)
        if is_id or fnmatchcase(path, pattern):
            return pattern
    return None


def refuse(findings: Iterable[SecretFinding], patterns: Iterable[str]) -> None:
    """Raise `BadInput` naming the findings that no pattern allows, and what can be done. Findings
    that are allowed are counted in a line; where the error has no room for all, the log has them.
    """
    allowing = list(patterns)
    allowed_counts = Counter[str]()
    remaining = set()
    for finding in _one_each(findings):
        pattern = _allowing(finding, allowing)
        if pattern is None:
            remaining.add(finding)
        else:
            allowed_counts[pattern] += 1
    if allowed_counts:
        counts = ", ".join(
            f"{count} by {pattern!r}" for pattern, count in allowed_counts.most_common()
        )
        subject = "secret is" if allowed_counts.total() == 1 else "secrets are"
        console.step(
            f"{allowed_counts.total()} {subject} let through by {_ALLOW}:"
            f" {console.printable(counts)}"
        )
    if not remaining:
        return
    if len(remaining) > _LISTED:
        for finding in _ordered(remaining):
            console.say(f"  {finding}")
    places = {finding.place for finding in remaining}
    cures = [cure for place, cure in _CURES.items() if place in places]
    key = "its path" if places == {"file"} else "its path or its id"
    raise BadInput(
        f"secrets must not get into an image: {summarize(remaining)}",
        fix=f"{'; '.join(cures)}; a false alarm, or a secret that is revoked, goes into {_ALLOW}, "
        f"by {key}",
    )


def summarize(findings: Iterable[SecretFinding], patterns: Iterable[str] = ()) -> str:
    """The first of the findings that no pattern allows, in one line; "" for none."""
    allowing = list(patterns)
    ordered = _ordered({finding for finding in findings if not is_allowed(finding, allowing)})
    rest = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return ", ".join(map(str, ordered[:_LISTED])) + rest


def _one_each(findings: Iterable[SecretFinding]) -> Iterable[SecretFinding]:
    """One finding for each content at a path, which may be a secret by its name and its text."""
    ordered = _ordered({*findings})
    return {(finding.path, finding.place, finding.oid): finding for finding in ordered}.values()


def _ordered(findings: set[SecretFinding]) -> list[SecretFinding]:
    return sorted(findings, key=lambda finding: (finding.path, finding.place, finding.kind))
