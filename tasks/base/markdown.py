"""Foreign text in GitHub's Markdown stays text, whatever it says. Standard library only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What GitHub reads as structure, HTML or a link.
_ENTITIES: Final = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "[": "&#91;",
    "]": "&#93;",
    "`": "&#96;",
    "\\": "&#92;",
    "|": "&#124;",
    "*": "&#42;",
    "_": "&#95;",
    "~": "&#126;",
    "#": "&#35;",
    "://": "&#58;//",
    "www.": "www&#46;",
}
_SPECIAL: Final = re.compile("|".join(map(re.escape, _ENTITIES)), re.IGNORECASE)
#: GitHub looks for mentions and references after it has resolved entities. So an entity does not
#: stop them, but a zero-width space does.
_REFERENCE: Final = re.compile(r"@(?=\w)|#(?=\d)")
_SPACE: Final = "\u200b"


def plain(text: str) -> str:
    """`text` on one line, without a link, a mention, HTML or markup in it.

    >>> plain("a|b @ann")
    'a&#124;b @&#8203;ann'
    """
    safe = _REFERENCE.sub(lambda match: match[0] + _SPACE, console.printable(text))
    safe = _SPECIAL.sub(lambda match: _ENTITIES[match[0].lower()], safe)
    return safe.replace(_SPACE, "&#8203;")


def code(text: str) -> str:
    """`text` on one line as code, also inside a table. Empty for a text of blanks.

    >>> code("a`b")
    '`` a`b ``'
    """
    safe = console.printable(text)
    if not safe.strip():
        return ""
    # A bar would end a table's cell, and `\\|` looks different outside of a table.
    if "|" in safe:
        return f"<code>{plain(text)}</code>"
    longest = max(map(len, re.findall("`+", safe)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def facts(values: Iterable[tuple[str, Any]]) -> str:
    """A table of names and values, the values as code. Names without a value are left out."""
    rows = [(plain(name), code(scalar(value))) for name, value in values if value not in {None, ""}]
    return table(("", ""), rows)


def scalar(value: Any) -> str:
    """A value as GitHub's expressions write it: True → `true`, None → an empty text."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
