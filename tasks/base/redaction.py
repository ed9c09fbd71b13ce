"""Taking secrets out of text that people will paste into issues."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tasks.base import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK: Final = "[redacted]"
#: A shorter value is no secret, and would tear holes into everything.
_SHORTEST: Final = 6

_SECRET_NAME: Final = re.compile(
    r"token|passw|secret|credential|private|auth|api_?key|access_?key|_key$|_pat$|session",
    re.IGNORECASE,
)
#: What looks like a secret wherever it stands; group 1, where there is one, is kept.
PATTERNS: Final = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"),
    re.compile(
        r"(?i)((?:token|password|passwd|secret|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)"
        r"[^\s\"'&,;{}<>]{6,}"
    ),
    re.compile(r"(://[^/\s:@]+:)[^@\s/]+(?=@)"),
    re.compile(r"()\b(?:sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|npm_\w{20,})"),
)
_REST_OF_TOKEN: Final = re.compile(rb"[\w.+/=~-]*")
#: The first and the last line of a key (RFC 7468).
KEY_BOUNDARY: Final = re.compile(r"-----(?P<side>BEGIN|END) [A-Z ]{0,40}PRIVATE KEY-----")


def names_a_secret(name: str) -> bool:
    """Whether a variable of this name holds one, to judge by its name."""
    return _SECRET_NAME.search(name) is not None


def secrets_in(env: Mapping[str, str]) -> set[str]:
    return {value for name, value in env.items() if names_a_secret(name)}


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given values and without what has the form of a secret."""
    # The longest first: one secret may be the beginning of another.
    for secret in sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern in PATTERNS:
        text = pattern.sub(rf"\1{MASK}", text)
    return _without_keys(_without_tokens(text))


def _without_tokens(text: str) -> str:
    """`text` without what has the form of an issuer's token, each to the end of its word."""
    raw = text.encode("utf-8", "surrogatepass")
    parts: list[bytes] = []
    at = 0
    for token in tokens.find(raw):
        if token.start < at:
            continue
        end = _REST_OF_TOKEN.match(raw, token.end)
        parts += [raw[at : token.start], MASK.encode()]
        at = end.end() if end else token.end
    if not parts:
        return text
    return b"".join([*parts, raw[at:]]).decode("utf-8", "surrogatepass")


def _without_keys(text: str) -> str:
    """`text` without private keys, from the first line of each to its last."""
    parts: list[str] = []
    begin, at = None, 0
    for boundary in KEY_BOUNDARY.finditer(text):
        if boundary["side"] == "BEGIN":
            begin = boundary.start() if begin is None else begin
        elif begin is not None:
            parts += [text[at:begin], MASK]
            begin, at = None, boundary.end()
    return "".join([*parts, text[at:]])
