"""Say, within two seconds, whether there is an engine that can build and run sandboxes."""

from __future__ import annotations

from tasks.engine import engine


def main(_arguments: list[str]) -> None:
    engine.require()
