"""Texts that somebody writes who knows how GitHub reads files, logs, shells and Markdown."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies

#: Any text at all, and lines that end a value, begin another one or run a command.
TEXTS: Final = strategies.one_of(
    strategies.text(),
    strategies.lists(
        strategies.sampled_from(
            ["x<<EOF", "EOF", "end_", "name=value", "", "::set-output name=a::b", "\r", "=", "<<",
             '"; touch pwned #', "$(id)", "`id`", "${{ secrets.X }}"]
        )
    ).map("\n".join),
)  # fmt: skip
