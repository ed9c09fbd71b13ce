"""Paths with parameters, and which of them a request means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

#: How a generated client writes down the requests that it can make.
_DECLARATION: Final = re.compile(r"method='(\w+)',\s*resource_path='([^']+)'")


@dataclass(frozen=True)
class Route:
    """`path` is written as in the generated clients: `/sandbox/{sandboxIdOrName}/start`."""

    method: str
    path: str

    @cached_property
    def _segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))

    @property
    def shape(self) -> tuple[str, str]:
        """Equal for routes that differ in the names of their parameters only."""
        return self.method, re.sub(r"\{[^{}]+\}", "{}", self.path)

    @property
    def literal_count(self) -> int:
        return sum(not _is_parameter(segment) for segment in self._segments)

    def match(self, method: str, raw_path: str) -> Mapping[str, str] | None:
        """The parameters, decoded. `raw_path` is still encoded: `%2F` separates no segments."""
        segments = raw_path.split("/")
        if ("GET" if method == "HEAD" else method) != self.method:
            return None
        if len(segments) != len(self._segments):
            return None
        parameters = {}
        for expected, segment in zip(self._segments, segments, strict=True):
            if _is_parameter(expected):
                if not segment:
                    return None
                parameters[expected[1:-1]] = unquote(segment)
            elif expected != unquote(segment):
                return None
        return parameters


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{")


def best_match(
    routes: Iterable[Route], method: str, raw_path: str
) -> tuple[Route, Mapping[str, str]] | None:
    """The matching route with the fewest parameters, as the server chooses it."""
    matches = []
    for route in routes:
        parameters = route.match(method, raw_path)
        if parameters is not None:
            matches.append((route, parameters))
    return max(matches, key=lambda match: match[0].literal_count, default=None)


def server_routes(client_package: ModuleType) -> list[Route]:
    """Every route of the server that `client_package`, generated from its interface, can ask."""
    folder = Path(client_package.__file__ or "").parent / "api"
    return [
        Route(method, path)
        for file in sorted(folder.glob("*.py"))
        for method, path in _DECLARATION.findall(file.read_text(encoding="utf-8"))
    ]
