"""What `.dockerignore` takes out of the context of a build by hand, though git tracks it.

https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.git import indexfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.git.tree import Tree

FILE_NAME: Final = ".dockerignore"
_TOKEN: Final = re.compile(r"\*\*/|\*\*|\*|\?|\\.|.", re.DOTALL)
_WILDCARDS: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_LISTED: Final = 5


def refuse_left_out(tree: Tree) -> None:
    """Raise `BadInput` where tracked files are missing which `.dockerignore` names."""
    try:
        text = (tree.repo.root / FILE_NAME).read_text(errors="replace")
    except FileNotFoundError:
        return
    rules = _rules(text)
    names = [name for name in _missing(tree) if _is_ignored(name, rules)]
    if names:
        rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        listing = ", ".join(console.printable(name) for name in names[:_LISTED])
        raise BadInput(
            f"{FILE_NAME} keeps tracked files out of the build: {listing}{rest}",
            fix=f"nox -s snapshot_local builds with them, or add `!{names[0]}` to {FILE_NAME}",
        )


def _missing(tree: Tree) -> Iterator[str]:
    """Tracked files that are not on disk."""
    for part in tree.trees():
        present = {entry.path for entry in part.entries}
        nested = {nested_part.prefix.rstrip(b"/") for nested_part in part.nested}
        for entry in part.index.entries:
            path = part.prefix + entry.path
            is_expected = entry.mode != indexfile.GITLINK and not entry.is_left_out
            if is_expected and path not in present | nested:
                yield path.decode(errors="backslashreplace")


def _rules(text: str) -> list[tuple[re.Pattern[str], bool]]:
    """Each pattern, and whether it is an exception."""
    rules = []
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        is_exception = pattern.startswith("!")
        path = pattern.removeprefix("!").strip().strip("/")
        expression = "".join(
            _WILDCARDS.get(token, re.escape(token[-1])) for token in _TOKEN.findall(path)
        )
        rules.append((re.compile(rf"{expression}\Z", re.DOTALL), is_exception))
    return rules


def _is_ignored(name: str, rules: list[tuple[re.Pattern[str], bool]]) -> bool:
    """The last pattern decides that matches the path or a folder on the way to it."""
    parts = name.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    verdict = False
    for pattern, is_exception in rules:
        if any(pattern.match(prefix) for prefix in prefixes):
            verdict = not is_exception
    return verdict
