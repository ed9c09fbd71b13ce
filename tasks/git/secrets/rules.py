"""Files that must never get into an image: environment files, keys, tokens.

Names decide first; of small text files the content is read too, for tokens whose form leaves no
doubt (issuers publish these prefixes so that scanners find them).
"""

from __future__ import annotations

import functools
import hashlib
import re
from fnmatch import fnmatchcase, translate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    for kind, form in CONTENT.items():
        if any(telltale in content for telltale in _TELLTALES[kind]) and form.search(content):
            return kind
    return None


@functools.cache
def digest() -> str:
    """Identifies these rules: what was scanned with other rules is scanned again."""
    forms = [f"{kind} {form.pattern!r} {form.flags}" for kind, form in CONTENT.items()]
    text = repr([*NAMES.items(), EXAMPLES, forms, _TELLTALES, _LARGEST_READ])
    return hashlib.sha256(text.encode()).hexdigest()


def worth_reading(size: int) -> bool:
    return 0 < size <= _LARGEST_READ
