"""Say, within two seconds, whether there is an engine that can build and run sandboxes."""

from __future__ import annotations

from tasks.engine import discovery


def main(_arguments: list[str]) -> None:
    discovery.require()
