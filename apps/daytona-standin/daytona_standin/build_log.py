"""BuildKit's plain progress in the form in which Daytona's runner writes its build log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: `#7 0.123 text`: what a step wrote.
_OUTPUT: Final = re.compile(r"#(\d+) \d+\.\d+ ?(.*)")
_EVENT: Final = re.compile(r"#(\d+) (.*)")


def convert(lines: Iterator[str]) -> Iterator[str]:
    """Names of steps, their raw output, CACHED and ERROR."""
    names: dict[str, str] = {}
    for line in lines:
        if output := _OUTPUT.fullmatch(line):
            yield output[2]
        elif event := _EVENT.fullmatch(line):
            number, text = event.groups()
            if number == "0":
                continue  # which builder is used: the client's own line
            if number not in names:
                names[number] = text
                yield line
            elif text == "CACHED":
                yield f"#{number} CACHED {names[number]}"
            elif text.startswith("ERROR: "):
                yield text
        elif line.startswith("ERROR: "):
            yield line


def failure_reason(lines: Sequence[str]) -> str:
    """What the builder says last: `failed to solve: …`."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[-1] if errors else next((line for line in reversed(lines) if line.strip()), "")
