"""Taking the API key out of what a server says, in whatever form the server repeats it."""

from __future__ import annotations

import base64
import html
import re
from functools import cache
from typing import Final
from urllib.parse import quote

from tasks.base import console, redaction

#: So many of the key's characters in a row give it away.
_WINDOW: Final = 12


def mask(text: str, key: str) -> str:
    """`text` on one line, without the key, a part of it, or an encoding of it."""
    windows = _windows(key)
    words = re.split(r"(\s+)", redaction.redact(text, [key]))
    return console.printable(
        "".join(redaction.MASK if _gives_away(word, windows) else word for word in words)
    )


def _gives_away(word: str, windows: frozenset[str]) -> bool:
    lowered = word.lower()
    last = len(lowered) - _WINDOW
    return any(lowered[start : start + _WINDOW] in windows for start in range(last + 1))


@cache
def _windows(key: str) -> frozenset[str]:
    """All pieces of the key's forms. In base64 they depend on what stands before the key."""
    forms = [key, key[::-1], quote(key, safe=""), html.escape(key), key.encode().hex()]
    for padding in range(3):
        encoded = base64.b64encode(b"\0" * padding + key.encode()).decode().rstrip("=")
        # The first and the last character also hold bits of their neighbours.
        forms.append(encoded[2 * padding : -1])
    return frozenset(
        form[start : start + _WINDOW].lower()
        for form in forms
        for start in range(len(form) - _WINDOW + 1)
    )
