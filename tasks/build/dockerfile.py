"""Reading a Dockerfile, and checking that every builder accepts ours.

Three builders take one file: BuildKit by hand, BuildKit through `snapshot_local`, and Daytona's
remote builder with its SDK. Where a file strays, the last of them mostly fails silently, so what
it does (read in its source, v0.190.0, and tried with SDK 0.226.1) is checked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base.parsing import parse_json
from tasks.build import dockerfile_env

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIN: Final = re.compile(r"SANDBOX_[A-Z0-9_]+_VERSION")
_DIRECTIVE: Final = re.compile(r"^#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
_HEREDOC: Final = re.compile(r"<<-?[\"']?(\w+)[\"']?")


@dataclass(frozen=True)
class Instruction:
    """One instruction. `line` is where it begins (from 1); `value` has its continuation lines
    joined, comments between them left out.
    """

    line: int
    keyword: str
    value: str
    lines: int

    @property
    def flags(self) -> list[str]:
        return [word for word in self.value.split() if word.startswith("--")]

    @property
    def operands(self) -> list[str]:
        """The words after the flags, of the shell form or the JSON form."""
        words = self.value.split()
        while words and words[0].startswith("--"):
            words.pop(0)
        try:
            listed = parse_json(" ".join(words))
        except ValueError:
            return words
        return list(map(str, listed)) if isinstance(listed, list) else words


@dataclass(frozen=True)
class Finding:
    """Something that a builder would trip over, on `line`."""

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, in order; bodies of heredocs belong to theirs."""
    instructions: list[Instruction] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        first = at
        stripped = lines[at].strip()
        at += 1
        if not stripped or stripped.startswith("#"):
            continue
        parts = [stripped]
        while parts[-1].endswith("\\") and at < len(lines):
            parts[-1] = parts[-1][:-1].strip()
            while at < len(lines) and lines[at].strip().startswith("#"):
                at += 1
            if at < len(lines):
                parts.append(lines[at].strip())
                at += 1
        text_of_lines = " ".join(part for part in parts if part)
        for end in _HEREDOC.findall(text_of_lines):
            while at < len(lines) and lines[at].strip() != end:
                at += 1
            at += 1
        keyword, _, value = text_of_lines.partition(" ")
        instructions.append(Instruction(first + 1, keyword.upper(), value.strip(), at - first))
    return instructions


def pins(text: str) -> dict[str, str]:
    """The `SANDBOX_*_VERSION` variables that ENV lines set; the last assignment wins."""
    definitions = dockerfile_env.definitions(text)
    return {
        definition.name: definition.value
        for definition in definitions
        if _PIN.fullmatch(definition.name)
    }


def lint(text: str) -> list[Finding]:
    """What some builder would not accept, in order of lines."""
    instructions = parse(text)
    findings = [finding for check in _CHECKS for finding in check(text, instructions)]
    return sorted(set(findings), key=lambda finding: (finding.line, finding.what))


def _directives(text: str, _: list[Instruction]) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("#"):
            break
        if _DIRECTIVE.match(line):
            yield Finding(number, "a parser directive: `# syntax=` pulls a frontend, and Daytona's "
                          "SDK knows none of them")  # fmt: skip
    if not text.endswith("\n"):
        yield Finding(text.count("\n") + 1, "no newline at the end: the SDK appends to the text")


def _entrypoint(text: str, instructions: list[Instruction]) -> Iterator[Finding]:
    entries = [i for i in instructions if i.keyword == "ENTRYPOINT"]
    if not entries:
        yield Finding(1, "no ENTRYPOINT: Daytona would run `sleep infinity`")
    for extra in entries[1:]:
        yield Finding(extra.line, "a second ENTRYPOINT: Daytona takes the last in the text")
    for entry in entries:
        try:
            words = parse_json(entry.value)
        except ValueError:
            words = None
        if entry.lines > 1 or not isinstance(words, list) or not words:
            yield Finding(entry.line, "ENTRYPOINT must be a JSON array on one line: Daytona runs "
                          "anything else as one quoted word")  # fmt: skip
    entry_lines = {entry.line for entry in entries}
    for number, line in enumerate(text.splitlines(), 1):
        if "ENTRYPOINT" in line and number not in entry_lines:
            yield Finding(number, "the word ENTRYPOINT outside its instruction: Daytona's search "
                          "for it does not tell")  # fmt: skip


def _keywords(_: str, instructions: list[Instruction]) -> Iterator[Finding]:
    reasons = {
        "ADD": "ADD: Daytona's SDK uploads only what COPY names",
        "CMD": "CMD: Daytona never runs it",
        "ONBUILD": "ONBUILD: Daytona's SDK does not see what it copies",
        "SHELL": "SHELL: the image's RUN lines are written for /bin/sh",
    }
    for instruction in instructions:
        if instruction.keyword in reasons:
            yield Finding(instruction.line, reasons[instruction.keyword])


def _copies(text: str, instructions: list[Instruction]) -> Iterator[Finding]:
    lines = text.splitlines()
    for copy in (i for i in instructions if i.keyword == "COPY"):
        if "<<" in copy.value:
            yield Finding(copy.line, "COPY of a heredoc: Daytona's SDK skips the line")
        for flag in {flag.partition("=")[0] for flag in copy.flags} & {"--exclude", "--parents"}:
            yield Finding(copy.line, f"COPY {flag}: not in every BuildKit")
        if "$" in copy.value:
            yield Finding(copy.line, "a variable in COPY: Daytona's SDK does not expand it")
        if any(flag.startswith("--from=") for flag in copy.flags):
            continue
        if copy.lines > 1:
            yield Finding(copy.line, "COPY over several lines: Daytona's SDK reads line by line")
        if "'" in lines[copy.line - 1]:
            yield Finding(copy.line, "an apostrophe in COPY: Daytona's SDK then copies nothing")
        yield from (finding for source in copy.operands[:-1] for finding in _source(copy, source))


def _source(copy: Instruction, source: str) -> Iterator[Finding]:
    if source.startswith("/") or ".." in source.split("/"):
        yield Finding(copy.line, f"COPY {source}: Daytona's SDK reads it from the host")
    if "*" in source:
        yield Finding(copy.line, f"COPY {source}: the builders differ on what * matches")


def _mounts(_: str, instructions: list[Instruction]) -> Iterator[Finding]:
    for run in (i for i in instructions if i.keyword == "RUN"):
        for flag in run.flags:
            if not flag.startswith("--mount="):
                continue
            options = dict(part.partition("=")[::2] for part in flag[8:].split(","))
            kind = options.get("type", "bind")
            if kind == "bind" and "from" not in options:
                yield Finding(run.line, "a bind mount of the context: Daytona does not upload it")
            if kind == "ssh":
                yield Finding(run.line, "an ssh mount: Daytona has no agent")
            if kind == "secret" and options.get("required", "false") != "false":
                yield Finding(run.line, "a required secret: Daytona and builds by hand have none")


def _arguments(_: str, instructions: list[Instruction]) -> Iterator[Finding]:
    defaults: dict[str, str] = {}
    for at, instruction in enumerate(instructions):
        if instruction.keyword == "ARG":
            name, _, default = instruction.value.partition("=")
            if not default and name not in defaults:
                yield Finding(instruction.line, f"ARG {name} has no default: Daytona passes none")
            before_from = all(other.keyword == "ARG" for other in instructions[:at])
            if before_from:
                defaults[name] = default
    stages: set[str] = set()
    for stage in (i for i in instructions if i.keyword == "FROM"):
        words = [word for word in stage.value.split() if not word.startswith("--")]
        image = re.sub(r"\$\{?(\w+)\}?", lambda m: defaults.get(m[1], ""), words[0])
        tag = image.rpartition("/")[2].partition(":")[2]
        if image not in stages and image != "scratch" and (not tag or tag == "latest"):
            yield Finding(stage.line, f"FROM {image or words[0]}: name a tag other than latest")
        if len(words) == 3:
            stages.add(words[2])


_CHECKS: Final[tuple[Callable[[str, list[Instruction]], Iterator[Finding]], ...]] = (
    _directives,
    _entrypoint,
    _keywords,
    _copies,
    _mounts,
    _arguments,
)
