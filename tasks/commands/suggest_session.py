"""Name the session that a mistyped command line of nox means. The noxfile calls this."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.base.options import Parser
from tasks.commands import COMMANDS
from tasks.testing.areas import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Sessions that take words, not options alone: `nox -s snapshots list` lacks its `--`.
_TAKE_WORDS: Final = {"ci", "snapshots", "tests"}


def main(arguments: list[str]) -> None:
    parser = Parser(prog="python -m tasks suggest-session", description=__doc__)
    parser.add_argument("--session", action="append", default=[], help="one that exists")
    parser.add_argument("words", nargs="*", help="what the command line has as sessions")
    options = parser.parse_args(arguments)
    problem, fix = explain(options.words, options.session)
    raise BadInput(problem, fix=fix)


def explain(words: Sequence[str], sessions: Sequence[str]) -> tuple[str, str]:
    """What is wrong with the sessions that `nox -s WORDS` names, and what to type instead."""
    number, word = next((n, word) for n, word in enumerate(words) if word not in sessions)
    typed = console.printable(word)
    previous = words[number - 1] if number else ""
    if word.startswith("-") or previous in _TAKE_WORDS:
        rest = console.printable(" ".join(words[number:]))
        return f"options and words for a session stand behind `--`, and `{typed}` does not", (
            f"nox -s {previous} -- {rest}"
        )
    commands = {
        name.replace("-", "_"): f"nox -s {name}" for name in sessions
    } | {
        spelling: f"nox -s tests -- {name}" for name in NAMES if name not in sessions
        for spelling in (name, f"{name}_test")
    } | {
        name.removeprefix("ci ").replace("-", "_"): f"nox -s ci -- {name.removeprefix('ci ')}"
        for name in COMMANDS if name.startswith("ci ")
    }  # fmt: skip
    spelled = word.lower().replace("-", "_").replace(":", "_")
    beginnings = [name for name in commands if spelled.startswith(f"{name}_")]
    nearest = beginnings or difflib.get_close_matches(spelled, commands, n=1)
    fix = commands[nearest[0]] if nearest else "`nox -l` lists the sessions"
    return f"there is no session `{typed}`", fix
