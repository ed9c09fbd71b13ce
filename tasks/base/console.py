"""What people read, on stderr; what machines read (`--json`) goes alone to stdout."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import unicodedata
from typing import Any, Final, Literal, TextIO

Colour = Literal["red", "green", "yellow", "blue", "dim", "bold"]
_CODES: dict[Colour, str] = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "dim": "2",
    "bold": "1",
}
_ERASE: Final = "\x1b[2K"
_status_lock = threading.RLock()
_is_status_shown = False


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether colour and redrawn lines are welcome (https://no-color.org)."""
    stream = stream or sys.stderr  # None in a process started with its stderr closed
    return (
        bool(stream and stream.isatty())
        and "NO_COLOR" not in os.environ
        and os.environ.get("TERM") != "dumb"
    )


def paint(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if is_terminal(stream) else text


def printable(text: str) -> str:
    """`text` on one line and free of control sequences: names and logs come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_log_line(text: str) -> str:
    """`printable` for a line of a log, in which tabs stay: whoever shows the file sees no
    control sequence at work.
    """
    return "\t".join(map(printable, text.split("\t")))


def printable_lines(text: str) -> str:
    """`printable` for several lines."""
    return "\n".join(map(printable, text.split("\n")))


def say(text: str = "", colour: Colour | None = None) -> None:
    with _status_lock:
        clear_status()
        _print(paint(text, colour) if colour else text, plain=text, end="\n")


def show_status(text: str) -> None:
    """Draw a line on the terminal that the next line replaces."""
    global _is_status_shown  # noqa: PLW0603 - there is one terminal
    with _status_lock:
        clear_status()
        visible = fit(text, _columns() - 1)
        _print(visible, plain=visible, end="\r")
        _is_status_shown = True


def clear_status() -> None:
    """Take away what `show_status` has drawn."""
    global _is_status_shown  # noqa: PLW0603
    with _status_lock:
        if _is_status_shown:
            _print(_ERASE, plain="", end="\r")
            _is_status_shown = False


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80


def fit(text: str, columns: int) -> str:
    """As much of `text` as is that wide on a terminal."""
    width = 0
    for number, character in enumerate(text):
        if not unicodedata.combining(character):
            width += 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
        if width > columns:
            return text[:number]
    return text


def _print(text: str, *, plain: str, end: str) -> None:
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except UnicodeEncodeError:
        ascii_text = plain.encode("ascii", "backslashreplace").decode()
        print(ascii_text, end=end, file=sys.stderr, flush=True)


def step(text: str) -> None:
    say(f"» {text}", "blue")


def good(text: str) -> None:
    say(f"✓ {text}", "green")


def warn(text: str) -> None:
    say(f"! {text}", "yellow")


def fail(text: str) -> None:
    say(f"✗ {text}", "red")


def emit_json(value: Any) -> None:
    text = json.dumps(value, indent=2, sort_keys=True)
    # `##[name]` anywhere in a line is a command to GitHub's runner; in JSON it can be said so, too.
    print(text.replace("##[", "##\\u005b"), flush=True)


def seconds(value: float) -> str:
    """3.2 → `3.2s`, 75 → `1m15s`, 7260 → `2h01m`."""
    if value < 60:
        return f"{value:.1f}s"
    if value < 3600:
        return f"{int(value // 60)}m{int(value % 60):02d}s"
    return f"{int(value // 3600)}h{int(value % 3600 // 60):02d}m"


def size(count: float) -> str:
    """Bytes, in decimal units as `docker images` shows them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def table(rows: list[list[str]], head: list[str]) -> str:
    """Left-aligned columns as wide as their widest cell."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    text.insert(1, "  ".join("─" * w for w in widths))
    return "\n".join(line.rstrip() for line in text)


class Stopwatch:
    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def __str__(self) -> str:
        return seconds(self.elapsed)
