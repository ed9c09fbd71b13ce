"""Files of NAME=value lines (`~/.iterate/.env`): data, which nothing here runs or repeats.

python-dotenv knows the quoting rules; references such as `$NAME` stay as they are. What it does not
do is done here: nothing is raised whatever the file is, a bad line is named by its number and costs
no other line, and no input takes more than linear time.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dotenv.parser import Binding

#: Bytes. Linux hands on no variable longer than 128 KiB (execve(2), MAX_ARG_STRLEN).
LIMIT: Final = 128_000
#: In place of a line's number.
WHOLE: Final = 0
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: python-dotenv 1.2 takes quadratic time for a long run of blanks in a value without quotes.
_LONG_BLANK: Final = re.compile(r"(?<![^\S\n])[^\S\n]{200,}(\n|\Z)?")
#: Stands for one of those within a line: no decoded file can hold it.
_MARK: Final = "\ud800"
_UNDECODED: Final = re.compile("[\udc80-\udcff]")


class Assignment(NamedTuple):
    line: int
    name: str
    value: str


class Defect(NamedTuple):
    """What is wrong with a line (from 1), or with the `WHOLE` file. It quotes neither."""

    line: int
    text: str


class EnvFile(NamedTuple):
    assignments: tuple[Assignment, ...] = ()
    defects: tuple[Defect, ...] = ()

    @property
    def values(self) -> dict[str, str]:
        """The last of several lines for one name counts."""
        return {assignment.name: assignment.value for assignment in self.assignments}


def read(path: str, *, environment: Collection[str] = ()) -> EnvFile:
    """The file at `path`, which may be missing; every other difficulty is a `Defect`."""
    try:
        content = _content(path)
    except FileNotFoundError:
        dangling = Defect(WHOLE, "is a link that leads nowhere")
        return EnvFile(defects=(dangling,)) if os.path.islink(path) else EnvFile()
    except OSError as error:
        return EnvFile(defects=(Defect(WHOLE, f"cannot be read ({error.strerror})"),))
    if isinstance(content, str):
        return EnvFile(defects=(Defect(WHOLE, content),))
    return parse(content, environment=environment)


def parse(content: bytes, *, environment: Collection[str] = ()) -> EnvFile:
    """`environment`: the names for which a line with nothing but the name is right.

    So has `docker --env-file` it: such a line asks for the value that is there already.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return EnvFile(defects=(Defect(WHOLE, "is UTF-16 text and has to be UTF-8"),))
    text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _LONG_BLANK.sub(lambda run: _MARK if run[1] is None else run[1], text)
    assignments, defects = [], []
    for line, binding in _bindings(text):
        if trouble := _trouble(binding):
            defects.append(Defect(line, trouble))
        elif binding.key is not None and binding.value is not None:
            assignments.append(Assignment(line, binding.key, binding.value))
        elif binding.key is not None and binding.key not in environment:
            defects.append(Defect(line, "no `=`"))
    return EnvFile(tuple(sorted(assignments)), tuple(defects))


def describe(defects: Collection[Defect]) -> str:
    """What is wrong with a file, to follow its name: each kind of defect once, with its lines."""
    kinds: dict[str, list[int]] = {}
    for line, text in sorted(defects):
        if line == WHOLE:
            return f"{text}; nothing is loaded from it"
        kinds.setdefault(text, []).append(line)
    parts = []
    for text, lines in kinds.items():
        numbers = ", ".join(map(str, lines[:5]))
        more = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
        parts.append(f"line{'s' if len(lines) > 1 else ''} {numbers}{more} ({text})")
    return f"is loaded without {', '.join(parts)}"


def _content(path: str) -> bytes | str:
    """What the file holds, or why that is not read."""
    # A FIFO is opened without waiting for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            return (
                "is a directory (Docker makes one where the file to be mounted is missing: create"
                " that file, then the container again)"
            )
        if not stat.S_ISREG(status.st_mode) and status.st_rdev != os.stat(os.devnull).st_rdev:
            return "is not a regular file"
        content = b""
        while len(content) <= LIMIT and (piece := os.read(descriptor, LIMIT + 1)):
            content += piece
    finally:
        os.close(descriptor)
    return content if len(content) <= LIMIT else f"is larger than {LIMIT // 1000} kB"


def _bindings(text: str) -> Iterator[tuple[int, Binding]]:
    """Each statement with the number of its line.

    An open quote swallows the lines up to the next quote: those are read again by themselves.
    """
    from dotenv.parser import parse_stream  # noqa: PLC0415 - 25 ms, for those who have a file

    parts = [(1, text)]
    while parts:
        first, part = parts.pop()
        for binding in parse_stream(io.StringIO(part)):
            statement = binding.original.string.lstrip()
            blank = binding.original.string[: -len(statement) or None]
            line = first + binding.original.line - 1 + blank.count("\n")
            yield line, binding
            if binding.error or "\n" in (binding.key or ""):
                parts.append((line + 1, statement.partition("\n")[2]))


def _trouble(binding: Binding) -> str:
    """What is wrong with a statement; "" for a good one and for a comment."""
    if binding.key is None and not binding.error:
        return ""
    statement, name = binding.original.string, binding.key or ""
    checks = {
        "a NUL byte": "\0" in statement,
        "not UTF-8 text": _UNDECODED.search(statement),
        "200 blanks or more in a row": _MARK in statement,
        "not NAME=value, or a quote left open": binding.error or "\n" in name,
        "a name with other characters than letters, digits and `_`": not _NAME.fullmatch(name),
    }
    return next((text for text, applies in checks.items() if applies), "")
