"""What a build does, on stderr: one line a step, and what runs while it is silent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from tasks.base import console
from tasks.base.progress import ProgressLine

if TYPE_CHECKING:
    from tasks.build.build_log import Build, Step


class BuildDisplay:
    """Within its block it shows `build`; `show` is called with each step that has changed."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._watch = console.Stopwatch()
        self._progress = ProgressLine(self._describe, heartbeat=10.0)

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.__exit__()

    def show(self, step: Step | None) -> None:
        # What the cache says is said at the end: it is no failure of the build.
        if step is None or step.cache or (step.internal and step.state != "failed"):
            return
        name = _shorten(console.printable(step.name))
        match step.state:
            case "cached":
                console.say(f"{self._watch!s:>6} = {name} (cached)", "dim")
            case "done":
                console.say(f"{self._watch!s:>6} ✓ {name} ({console.seconds(step.seconds)})")
            case "failed":
                console.say(f"{self._watch!s:>6} ✗ {name}", "red")

    def _describe(self) -> str:
        steps = sorted(self._build.running, key=lambda step: step.internal)
        names = [step.name for step in steps if not step.internal]
        names = names or [step.name for step in steps[:1]] or ["working"]
        return f"{self._watch!s:>6} … {len(names)} running: {_shorten(names[0])}"


def _shorten(name: str) -> str:
    name = re.sub(r"--mount=\S+ *\\? *|\s+", lambda match: " " * match[0].isspace(), name)
    return name if len(name) <= 100 else name[:99] + "…"
