"""BuildKit's plain progress, line by line: which steps run, which were cached, what failed.

The format is `docker buildx build --progress=plain`: `#N [stage 2/5] RUN …` names a step, then
`#N CACHED`, `#N DONE 3.2s` or `#N ERROR: …` ends it; anything else after `#N ` is its output.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

State = Literal["running", "done", "cached", "failed"]
CacheUse = Literal["read", "write"]

_LINE: Final = re.compile(r"^#(\d{1,9}) (.*)$")
_NAME: Final = re.compile(
    r"^\[(?:(?P<stage>[^\]]*?) ?(?P<at>\d{1,6}/\d{1,6})|(?P<other>[^\]]*))\] ?(?P<text>.*)$"
)
_DONE_LINE: Final = re.compile(r"^DONE (\d{1,9}(?:\.\d{1,9})?)s$")
_OUTPUT: Final = re.compile(r"^\d+\.\d+ ?(.*)$")
_TRAILER: Final = re.compile(r"^ERROR: (?:failed to build: )?(?:failed to solve: )?(.*)$")
#: What a cache shared between machines is read and written by: it never fails a build.
_CACHE: Final[dict[str, CacheUse]] = {
    "importing cache manifest": "read",
    "exporting cache": "write",
    "exporting to GitHub Actions Cache": "write",
}
_OUTPUT_LINES: Final = 15


@dataclass
class Step:
    """One vertex of the build. `internal` ones (loading, exporting) are not a Dockerfile line."""

    number: int
    name: str
    internal: bool
    state: State = "running"
    seconds: float = 0.0
    error: str = ""
    output: deque[str] = field(default_factory=lambda: deque(maxlen=_OUTPUT_LINES))

    @property
    def is_from(self) -> bool:
        return self.name.partition("] ")[2].startswith("FROM ")

    @property
    def absent(self) -> bool:
        """Of reading the layer cache: nothing was written to it yet."""
        return self.state == "failed" and self.error.endswith("not found")

    @property
    def cache(self) -> CacheUse | None:
        """Whether this step is about the layer cache, and not a step of the image."""
        return next((use for name, use in _CACHE.items() if self.name.startswith(name)), None)


@dataclass
class Build:
    """What the log has told so far."""

    steps: dict[int, Step] = field(default_factory=dict)
    trailer: str = ""

    def feed(self, line: str) -> Step | None:
        """Take in one line; the step whose state it changed, None when it changed none."""
        line = line.rstrip()
        match = _LINE.match(line)
        if not match:
            trailer = _TRAILER.match(line)
            if trailer:
                self.trailer = trailer[1]
            return None
        number, rest = int(match[1]), match[2]
        step = self.steps.get(number)
        if number == 0:
            return None  # buildx itself: which builder it uses
        if step is None:
            return self._begin(number, rest)
        return _advance(step, rest)

    def _begin(self, number: int, rest: str) -> Step | None:
        name = _NAME.match(rest)
        internal = not name or name["at"] is None
        self.steps[number] = Step(number, rest, internal)
        return self.steps[number]

    @property
    def running(self) -> list[Step]:
        return [step for step in self.steps.values() if step.state == "running"]

    @property
    def failed_step(self) -> Step | None:
        """The step that broke the build: the others that fail with it were only cancelled."""
        failed_steps = [s for s in self.steps.values() if s.state == "failed" and not s.cache]
        return next(
            (s for s in failed_steps if "cancel" not in s.error),
            failed_steps[0] if failed_steps else None,
        )

    def cache(self, use: CacheUse) -> Step | None:
        """How reading or writing the layer cache went; None when that was not tried."""
        return next((step for step in self.steps.values() if step.cache == use), None)

    def counts(self) -> tuple[int, int]:
        """How many Dockerfile steps were executed, and how many came from the cache."""
        steps = [step for step in self.steps.values() if not step.internal]
        return (
            sum(step.state in {"done", "failed"} for step in steps),
            sum(step.state == "cached" for step in steps),
        )


def _advance(step: Step, rest: str) -> Step | None:
    earlier_state = step.state
    match = _DONE_LINE.match(rest)
    # BuildKit does not say CACHED of a step whose layer it fetches from a shared cache.
    if rest == "CACHED" or (rest.startswith("extracting sha256:") and not step.is_from):
        step.state = "cached"
    elif match:
        step.seconds = float(match[1])
        step.state = "cached" if earlier_state == "cached" else "done"
    elif rest.startswith(("ERROR: ", "CANCELED")):
        step.state, step.error = "failed", rest.removeprefix("ERROR: ")
    else:
        output = _OUTPUT.match(rest)
        if output and output[1].strip():
            step.output.append(output[1])
    return step if step.state != earlier_state else None
