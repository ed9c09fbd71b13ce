"""How GitHub's runner reads what a step wrote and printed, as its ActionCommandManager does it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: The commands it knows; any other word is plain text.
COMMAND_NAMES: Final = frozenset({
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice",
    "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
})  # fmt: skip


@dataclass(frozen=True)
class WorkflowCommand:
    name: str
    properties: dict[str, str]
    data: str


def outputs(text: str) -> dict[str, str]:
    """GITHUB_OUTPUT: `name=value`, or `name<<END`, lines, `END`. Raises for anything else."""
    values: dict[str, str] = {}
    lines = text.split("\n")
    assert lines.pop() == "", "the last line does not end"
    rest = iter(lines)
    for line in rest:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and not 0 <= heredoc < equals:
            values[line[:equals]] = line[equals + 1 :]
            continue
        assert heredoc > 0, f"invalid format: {line}"
        name, end = line[:heredoc], line[heredoc + 2 :]
        value: list[str] = []
        for next_line in rest:
            if next_line == end:
                break
            value.append(next_line)
        else:
            raise AssertionError(f"{name}: its end does not come")
        values[name] = "\n".join(value)
    return values


def commands(log: str) -> list[WorkflowCommand]:
    """The commands in a log that it obeys; stopped ones are not among them."""
    obeyed: list[WorkflowCommand] = []
    stop_word = ""
    for line in re.split(r"\r\n|\r|\n", log):
        command = _second(line, stop_word) or _first(line, stop_word)
        if command is None:
            continue
        if stop_word:
            if command.name.lower() == stop_word.lower():
                stop_word = ""
        elif command.name.lower() == "stop-commands":
            stop_word = command.data
        else:
            obeyed.append(command)
    assert not stop_word, "commands were left stopped"
    return obeyed


def _is_command(name: str, stop_word: str) -> bool:
    return name.lower() in COMMAND_NAMES or bool(stop_word and name.lower() == stop_word.lower())


def _second(line: str, stop_word: str) -> WorkflowCommand | None:
    """`::name key=value::data` at the beginning."""
    text = line.lstrip()
    if not text.startswith("::") or (end := text.find("::", 2)) < 0:
        return None
    name, _, listed = text[2:end].partition(" ")
    if not _is_command(name, stop_word):
        return None
    pairs = (pair.split("=", 1) for pair in listed.strip().split(",") if pair)
    properties = {
        pair[0]: _unescaped(pair[1], ("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","))
        for pair in pairs
        if len(pair) == 2
    }
    return WorkflowCommand(
        name, properties, _unescaped(text[end + 2 :], ("%0D", "\r"), ("%0A", "\n"))
    )


def _first(line: str, stop_word: str) -> WorkflowCommand | None:
    """The older form, `##[name key=value]data`, anywhere."""
    match = re.search(r"##\[([^\]]*)\](.*)", line)
    if match is None:
        return None
    name = match[1].partition(" ")[0]
    return WorkflowCommand(name, {}, match[2]) if _is_command(name, stop_word) else None


def _unescaped(text: str, *pairs: tuple[str, str]) -> str:
    for escaped, char in pairs:
        text = text.replace(escaped, char)
    return text.replace("%25", "%")
