"""Where a Dockerfile's ENV lines set a variable, to the character, and changing just that.

Reads ENV as BuildKit does (its parser's `line_parsers.go`): several pairs on a line, quotes, the
old form `ENV A 1`, continued lines with comments between, heredocs of other instructions, CRLF, a
byte order mark, the `escape` directive. Offsets are into the text as given; nothing is normalised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_DIRECTIVE: Final = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S+)\s*")
_HEREDOC: Final = re.compile(r"<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2")
_WITH_HEREDOCS: Final = frozenset({"RUN", "COPY", "ADD"})
_PLAIN: Final = re.compile(r"[0-9A-Za-z.+_-]+")
_BLANK: Final = " \t\v\f\r"


@dataclass(frozen=True)
class Definition:
    """One assignment by ENV. `value` is text[start:end], without its quotes; `trouble` says why it
    cannot be edited, "" when it can.
    """

    name: str
    value: str
    start: int
    end: int
    line: int
    trouble: str = ""


@dataclass(frozen=True)
class _Char:
    char: str
    at: int


def definitions(text: str) -> list[Definition]:
    """Every assignment by an ENV instruction, in order."""
    assignments: list[Definition] = []
    escape = _escape(text)
    for chars in _env_instructions(text, escape):
        line = text.count("\n", 0, chars[0].at) + 1
        if rest := _after_keyword(chars):
            assignments += _assignments(rest, escape, line)
    return assignments


def single_definition(assignments: Iterable[Definition], name: str) -> Definition:
    """The one definition of `name`; raises `BadInput` for none, several, one not to be edited."""
    matches = [definition for definition in assignments if definition.name == name]
    if not matches:
        raise BadInput(f"no ENV line sets {name}", fix=f"add `ENV {name}=…`, or delete its row")
    if len(matches) > 1:
        lines = " and ".join(str(definition.line) for definition in matches)
        raise BadInput(f"{name} is set more than once, on lines {lines}", fix="keep one of them")
    if matches[0].trouble:
        raise BadInput(
            f"line {matches[0].line} sets {name} to {matches[0].trouble}",
            fix=f"write it as `ENV {name}=1.2.3`, or bump it by hand",
        )
    return matches[0]


def replace(text: str, values: Mapping[str, str]) -> str:
    """`text` with these variables set to these values; not another character differs."""
    existing_definitions = definitions(text)
    spans = sorted(
        ((single_definition(existing_definitions, name), value) for name, value in values.items()),
        key=_start,
    )
    for definition, value in reversed(spans):
        if not _PLAIN.fullmatch(value):
            raise BadInput(f"{value!r} cannot be the value of {definition.name}")
        text = text[: definition.start] + value + text[definition.end :]
    return text


def _start(span: tuple[Definition, str]) -> int:
    return span[0].start


def _escape(text: str) -> str:
    """The line continuation character; a directive may name another one at the very top."""
    for line in text.removeprefix("\ufeff").split("\n"):
        match = _DIRECTIVE.fullmatch(line.strip(_BLANK))
        if match is None:
            break
        if match[1].lower() == "escape":
            return match[2]
    return "\\"


def _env_instructions(text: str, escape: str) -> Iterator[list[_Char]]:
    """The characters of each ENV: its continuations joined, comments and line ends left out."""
    mark = re.escape(escape)
    continued = re.compile(rf"(?:(?<!{mark}){mark}|^{mark})[ \t\r]*$")
    lines = _lines(text)
    for at, line in lines:
        if _says_nothing(line):
            continue
        parts = list(_parts(at, line, lines, continued))
        instruction = "".join(part for _, part in parts).strip(_BLANK)
        keyword = instruction.split(None, 1)[0].upper() if instruction else ""
        if keyword == "ENV":
            yield [_Char(char, at + n) for at, part in parts for n, char in enumerate(part)]
        if keyword in _WITH_HEREDOCS:
            _skip_heredocs(instruction, lines)


def _parts(
    at: int, line: str, lines: Iterator[tuple[int, str]], continued: re.Pattern[str]
) -> Iterator[tuple[int, str]]:
    """The lines of one instruction, without what continues them."""
    while True:
        continuation = continued.search(line)
        yield at, line[: continuation.start()] if continuation else line.rstrip("\r")
        following = (
            next((n for n in lines if not _says_nothing(n[1])), None) if continuation else None
        )
        if following is None:
            return
        at, line = following


def _skip_heredocs(instruction: str, lines: Iterator[tuple[int, str]]) -> None:
    for dash, _, end in _HEREDOC.findall(instruction):
        for _, line in lines:
            plain = line.rstrip("\r")
            if (plain.lstrip("\t") if dash else plain) == end:
                break


def _says_nothing(line: str) -> bool:
    return not line.strip(_BLANK) or line.lstrip(_BLANK).startswith("#")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its offset; one iterator, so that nested loops share where they are."""
    at = 1 if text.startswith("\ufeff") else 0
    for line in text[at:].split("\n"):
        yield at, line
        at += len(line) + 1


def _after_keyword(chars: list[_Char]) -> list[_Char]:
    """What follows the first word, without blanks around."""
    rest = "".join(char.char for char in chars).lstrip(_BLANK)
    first = next((n for n, char in enumerate(rest) if char in _BLANK), len(rest))
    return _trimmed(chars[len(chars) - len(rest) + first :])


def _trimmed(chars: list[_Char]) -> list[_Char]:
    text = "".join(char.char for char in chars)
    start = len(text) - len(text.lstrip(_BLANK))
    return chars[start : max(start, len(text.rstrip(_BLANK)))]


def _assignments(chars: list[_Char], escape: str, line: int) -> Iterator[Definition]:
    words = list(_words(chars, escape))
    if "=" not in (char.char for char in words[0]):
        # The old form: one variable, and all the rest of the line is its value.
        name = "".join(char.char for char in words[0])
        yield _definition(name, _trimmed(chars[len(words[0]) :]), line)
        return
    for word in words:
        at = next((at for at, char in enumerate(word) if char.char == "="), None)
        if at is not None:
            name = "".join(char.char for char in word[:at])
            yield _definition(name.strip("\"'"), word[at + 1 :], line)


def _words(chars: list[_Char], escape: str) -> Iterator[list[_Char]]:
    word: list[_Char] = []
    quote = ""
    pairs = iter(chars)
    for char in pairs:
        if not quote and char.char in _BLANK:
            if word:
                yield word
            word = []
            continue
        word.append(char)
        if quote:
            quote = "" if char.char == quote else quote
        elif char.char in "\"'":
            quote = char.char
        if char.char == escape and quote != "'":
            word += [following for following in (next(pairs, None),) if following]
    if word:
        yield word


def _definition(name: str, value: list[_Char], line: int) -> Definition:
    quoted = len(value) > 1 and value[0].char in "\"'" and value[-1].char == value[0].char
    inner = value[1:-1] if quoted else value
    content = "".join(char.char for char in inner)
    if not inner:
        at = value[0].at if value else 0
        return Definition(name, "", at, at, line, "nothing")
    start, end = inner[0].at, inner[-1].at + 1
    trouble = ""
    if "$" in content:
        trouble = f"{content}, which refers to another variable"
    elif not _PLAIN.fullmatch(content):
        trouble = f"`{content}`, which is no plain version"
    elif end - start != len(inner):
        trouble = f"{content}, written over several lines"
    return Definition(name, content, start, end, line, trouble)
