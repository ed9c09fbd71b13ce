"""Files that must never get into an image: environment files, keys, tokens.

Names decide first; of small text files the content is read too, for tokens whose form leaves no
doubt (issuers publish these prefixes so that scanners find them).
"""

from __future__ import annotations

import functools
import hashlib
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: Name → what it is. Matched against the last part of a path, in lower case.
NAMES: Final[Mapping[str, str]] = {
    ".env": "environment file",
    ".env.*": "environment file",
    "*.env": "environment file",
    ".netrc": "credentials",
    "_netrc": "credentials",
    ".git-credentials": "credentials",
    ".pgpass": "credentials",
    ".pypirc": "credentials",
    "id_rsa": "private key",
    "id_dsa": "private key",
    "id_ecdsa": "private key",
    "id_ed25519": "private key",
    "*.p12": "key file",
    "*.pfx": "key file",
    "*.jks": "key file",
    "*.keystore": "key file",
    "*.kdbx": "key file",
    "*.key": "key file",
    "*.ppk": "private key",
}
_ANY_NAME: Final = re.compile("|".join(translate(form) for form in NAMES))
#: Examples are meant to be shared.
EXAMPLES: Final = (".example", ".sample", ".template", ".dist")

#: No form has an open end: each place of a file costs no more than a form is long, whatever the
#: file holds.
CONTENT: Final[Mapping[str, re.Pattern[bytes]]] = {
    "private key": re.compile(
        rb"-----BEGIN (?:[A-Z]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
        rb"\s{1,4}[A-Za-z0-9+/=:,\s-]{64}"
    ),
    "GitHub token": re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60})"),
    "GitLab token": re.compile(rb"\bglpat-[\w-]{20}"),
    "Anthropic key": re.compile(rb"\bsk-ant-[a-z0-9]{3,8}-[\w-]{40}"),
    "OpenAI key": re.compile(rb"\bsk-(?:proj-|svcacct-)?[\w-]{20,100}T3BlbkFJ[\w-]{20}"),
    "Daytona key": re.compile(rb"\bdtn_[0-9a-f]{64}"),
    "AWS key": re.compile(rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    "npm token": re.compile(
        rb"\bnpm_[A-Za-z0-9]{36}|:_(?:authToken|password)\s{0,8}=\s{0,8}[^\s$]{8}"
    ),
    "PyPI token": re.compile(rb"\bpypi-AgE[\w-]{50}"),
    "Slack token": re.compile(rb"\bxox[abposr]-[\w-]{20}"),
    "Google key": re.compile(rb"\bAIza[\w-]{35}\b"),
    "Stripe key": re.compile(rb"\b[rs]k_live_\w{24}"),
}
#: One of these stands in whatever `CONTENT` finds: most files are passed at the speed of memchr.
_TELLTALES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "private key": (b"PRIVATE KEY",),
    "GitHub token": (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
    "GitLab token": (b"glpat-",),
    "Anthropic key": (b"sk-ant-",),
    "OpenAI key": (b"T3BlbkFJ",),
    "Daytona key": (b"dtn_",),
    "AWS key": (b"AKIA", b"ASIA"),
    "npm token": (b"npm_", b":_authToken", b":_password"),
    "PyPI token": (b"pypi-AgE",),
    "Slack token": (b"xox",),
    "Google key": (b"AIza",),
    "Stripe key": (b"k_live_",),
}
_LARGEST_READ: Final = 1 << 20
#: In `allow`, an object's id lets that very content through.
_ID: Final = re.compile(r"[0-9a-f]{12,64}")
_SHOWN: Final = 10

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


def by_name(path: bytes, *, tracked: bool) -> str | None:
    """What a file of this name is, when no image may hold it."""
    name = path.rpartition(b"/")[2].decode(errors="replace").lower()
    if tracked and name.endswith(EXAMPLES):
        return None
    if not _ANY_NAME.match(name):
        return None
    return next((what for form, what in NAMES.items() if fnmatchcase(name, form)), None)


def by_content(content: bytes) -> str | None:
    """The kind of secret that stands in `content`, if any."""
    if b"\0" in content[:4096]:
        return None
    for what, form in CONTENT.items():
        if any(telltale in content for telltale in _TELLTALES[what]) and form.search(content):
            return what
    return None


@functools.cache
def rules() -> str:
    """Names these very rules: what was scanned by others is scanned again."""
    forms = [f"{kind} {form.pattern!r} {form.flags}" for kind, form in CONTENT.items()]
    text = repr([*NAMES.items(), EXAMPLES, forms, _TELLTALES, _LARGEST_READ])
    return hashlib.sha256(text.encode()).hexdigest()


def worth_reading(size: int) -> bool:
    return 0 < size <= _LARGEST_READ


def allowed_in(root: Path) -> list[str]:
    """What `allowed` finds in the checkout at `root`."""
    try:
        return allowed((root / "pyproject.toml").read_text())
    except (OSError, UnicodeDecodeError):
        return []


def allowed(pyproject: str) -> list[str]:
    """What a pyproject.toml lets through (`[tool.sandbox.secrets]` `allow`): patterns of paths, and
    ids of contents. Raises `BadInput` where that is no list of strings.
    """
    try:
        settings: object = tomllib.loads(pyproject)
    except tomllib.TOMLDecodeError:
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
    path = finding.path.decode(errors="replace")
    return any(
        fnmatchcase(path, pattern)
        or (_ID.fullmatch(pattern) is not None and finding.oid.startswith(pattern))
        for pattern in patterns
    )


def refuse(findings: Iterable[SecretFinding], patterns: Iterable[str]) -> None:
    """Raise `BadInput` naming the findings that no pattern allows, and what can be done."""
    allowing = list(patterns)
    remaining = [finding for finding in findings if not is_allowed(finding, allowing)]
    if not remaining:
        return
    places = {finding.place for finding in remaining}
    cures = [cure for place, cure in _CURES.items() if place in places]
    key = "its path" if places == {"file"} else "its path or its id"
    raise BadInput(
        f"secrets must not get into an image: {listed(remaining)}",
        fix=f"{'; '.join(cures)}; a false alarm, or a secret that is revoked, goes into {_ALLOW}, "
        f"by {key}",
    )


def listed(findings: Iterable[SecretFinding], patterns: Iterable[str] = ()) -> str:
    """The first of the findings that no pattern allows, in one line; "" for none."""
    allowing = list(patterns)
    remaining = {finding for finding in findings if not is_allowed(finding, allowing)}
    ordered = sorted(remaining, key=lambda finding: (finding.path, finding.place, finding.kind))
    rest = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(map(str, ordered[:_SHOWN])) + rest
