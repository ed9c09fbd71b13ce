"""Every command that the documents show can be typed: session, script, options and files exist.

Nothing is run here: the words are given to the very parsers of the commands.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from unittest import mock

import pytest

from tasks.base.errors import TaskError
from tasks.base.options import Parser
from tasks.base.project import ROOT, SERVICES
from tasks.commands import COMMANDS
from tests.unit.test_documents import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSIONS: Final = re.findall(
    r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE
)
SCRIPTS: Final[dict[str, str]] = json.loads((ROOT / "package.json").read_text())["scripts"]
WEB: Final[dict[str, str]] = json.loads((ROOT / "apps/daemon/web/package.json").read_text())
#: What the documents start that is not ours.
OTHER_PROGRAMS: Final = frozenset(
    {"cd", "curl", "docker", "export", "git", "pip", "pipx", "pre-commit", "uv", "."}
)
_FENCE: Final = re.compile(r"^( *)```(sh|console)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`((?:nox|pnpm|python3? -m) [^`\n]+)`")
_PLACEHOLDER: Final = re.compile(r"(?:^| )[A-Z]{2,}$|…")
_ASSIGNMENT: Final = re.compile(r"^\w+=")
_FILE: Final = re.compile(r"^(?:apps|docs|requirements|tasks|tests)/\S+$")


@dataclass(frozen=True)
class ShownCommand:
    """One simple command of a document, as words; `folder` is where the lines before have led."""

    document: str
    words: tuple[str, ...]
    folder: Path = ROOT

    def __str__(self) -> str:
        return f"{self.document}: {shlex.join(self.words)}"


def commands_in_fences(document: Path) -> Iterator[ShownCommand]:
    for _, language, text in _FENCE.findall(document.read_text()):
        folder = ROOT
        lines = text.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
        for line in lines:
            for words in simple_commands(line):
                yield ShownCommand(document.name, words, folder)
                if words[0] == "cd":
                    folder /= words[1]


def simple_commands(line: str) -> Iterator[tuple[str, ...]]:
    """`a && B=1 c | d # why` → a, c and d, each without its assignments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in {"&&", "|", ";"}:
            while words and _ASSIGNMENT.match(words[0]):
                words.pop(0)
            if words:
                yield tuple(words)
            words = []
        else:
            words.append(word)


def commands_in_text(document: Path) -> Iterator[ShownCommand]:
    text = _FENCE.sub("", document.read_text())
    for code in _INLINE.findall(text):
        for words in simple_commands(code):
            yield ShownCommand(document.name, words)


SHOWN: Final = [
    command
    for document in DOCUMENTS
    for command in (*commands_in_fences(document), *commands_in_text(document))
]


class _ParsedError(Exception):
    """The command has parsed its arguments, and must not begin its work."""


def fault(command: ShownCommand) -> str:
    """What is wrong with it, "" where nothing is."""
    program, *words = command.words
    if wrong_file := next((w for w in words if _FILE.match(w) and not _exists(command, w)), ""):
        return f"there is no {wrong_file}"
    if program == "nox":
        return _fault_of_nox(words)
    if program == "pnpm":
        return _fault_of_pnpm(words)
    if program in {"python", "python3"}:
        return _fault_of_python(command, words)
    if program.startswith("s6-") or program == "tail":
        named = [re.search(r"(?:S6DIR|/var/log)/([\w-]+)", word) for word in words]
        strangers = [match[1] for match in named if match and match[1] not in SERVICES]
        return f"there is no service {strangers[0]}" if strangers else ""
    return "" if program in OTHER_PROGRAMS else f"{program} is not known to this test"


def _exists(command: ShownCommand, path: str) -> bool:
    return (command.folder / path.partition("::")[0]).exists()


def _fault_of_nox(words: list[str]) -> str:
    end = words.index("--") if "--" in words else len(words)
    options, arguments = words[:end], words[end + 1 :]
    if options in ([], ["-l"]):
        return ""
    if options[0] != "-s" or not options[1:]:
        return f"nox {options[0]} is not known to this test"
    for session in options[1:]:
        if session not in SESSIONS and not _PLACEHOLDER.search(session):
            return f"there is no session {session}"
        if problem := fault_of_task(session.replace("_", "-"), arguments):
            return problem
    return ""


def _fault_of_pnpm(words: list[str]) -> str:
    if words[:2] == ["--filter", WEB["name"]]:
        return "" if words[2] in WEB["scripts"] else f"the page has no script {words[2]}"
    name, *rest = words[1:] if words[0] == "run" else words
    if name == "install":
        return ""
    if name not in SCRIPTS:
        return f"there is no script {name}"
    # pnpm's own commands take precedence over scripts of the same name.
    if words[0] != "run" and name in {"setup", "doctor", "deps", "ci"}:
        return f"pnpm {name} is a command of pnpm; pnpm run {name}"
    return _fault_of_nox([*shlex.split(SCRIPTS[name])[1:], *rest])


def _fault_of_python(command: ShownCommand, words: list[str]) -> str:
    option, module, *rest = words
    if option != "-m":
        return f"python {option} is not known to this test"
    if module == "tasks":
        return fault_of_task(rest[0], rest[1:]) if rest else ""
    if module in {"pip", "pytest", "venv"}:
        return ""
    is_application = (command.folder / module / "__main__.py").exists()
    if is_application or importlib.util.find_spec(module):
        return ""
    return f"there is no module {module}"


def fault_of_task(name: str, arguments: list[str]) -> str:
    """What the command's own parser says of these arguments. A word in capitals, or with `…`, is
    for the reader to fill in, and is not judged.
    """
    if name == "ci" and arguments:
        name, *arguments = f"ci {arguments[0]}", *arguments[1:]
    # `unit` hands to pytest what it does not know; `ci` alone lists its commands.
    if _PLACEHOLDER.search(name) or name in {"ci", "unit"}:
        return ""
    if name not in COMMANDS:
        return f"there is no command {name}"
    module = importlib.import_module(f"tasks.commands.{COMMANDS[name]}")
    real = Parser.parse_args

    def parse(parser: Parser, *values: object) -> None:
        real(parser, *values)  # type: ignore[call-overload]
        raise _ParsedError

    try:
        with mock.patch.object(Parser, "parse_args", parse):
            module.main(arguments)
    except _ParsedError:
        return ""
    except (TaskError, argparse.ArgumentError) as error:
        is_filled_in = any(_PLACEHOLDER.search(word) and word in str(error) for word in arguments)
        return "" if is_filled_in else str(error)
    return f"{name} did not parse its arguments first"


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_a_documented_command_can_be_typed(command: ShownCommand) -> None:
    assert fault(command) == ""


def test_the_documents_show_commands_of_every_kind() -> None:
    programs = {command.words[0] for command in SHOWN}
    assert programs >= {"nox", "pnpm", "python", "docker", "pip", "s6-svc"}
    assert len([command for command in SHOWN if command.words[0] == "nox"]) > 40


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nox -s snapshot_locl", "no session snapshot_locl"),
        ("nox -s snapshot_local -- --refs main", "unrecognized arguments: --refs"),
        ("nox -s snapshot_daytona -- --via pigeon", "invalid choice: 'pigeon'"),
        ("nox -s setup snapshot_local -- --keep", "unrecognized arguments: --keep"),
        ("nox -s tests -- --nonsense", "unrecognized arguments"),
        ("nox -s snapshots -- remove x", "invalid choice"),
        ("nox -s ci -- plans", "no command ci plans"),
        ("pnpm snapshot:locale", "no script"),
        ("pnpm deps --check", "a command of pnpm"),
        ("pnpm snapshot:daytona:prd --nonsense", "unrecognized arguments: --nonsense"),
        ("python -m tasks reap --runs x", "unrecognized arguments: --runs"),
        ("python -m tests.bench.nothing", "no module"),
        ("pip install -r requirements/none.txt", "no requirements/none.txt"),
        ("s6-svstat $S6DIR/daemon", "no service daemon"),
        ("make all", "make is not known"),
    ],
)
def test_a_command_that_cannot_be_typed_is_noticed(line: str, reason: str) -> None:
    (words,) = simple_commands(line)
    assert reason in fault(ShownCommand("here", words))


def test_a_line_is_read_as_a_shell_reads_it() -> None:
    line = 'A="x y" nox -s lint && B=1 pnpm lint | tail -n 1 # and why; not read'
    assert [*simple_commands(line)] == [
        ("nox", "-s", "lint"),
        ("pnpm", "lint"),
        ("tail", "-n", "1"),
    ]
