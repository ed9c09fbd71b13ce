"""What is installed, against what the image was told to install."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from iterate_daemon import children

if TYPE_CHECKING:
    from collections.abc import Mapping

ToolState = Literal["match", "mismatch", "unpinned", "missing", "error", "checking"]

_VERSION: Final = re.compile(r"(?<!\d)\d+\.\d+\.\d+[-+.0-9A-Za-z]*")
#: An agent's start takes a second on an idle machine, several on a busy one.
_SECONDS: Final = 30.0
#: An answer is kept while the executable stays as it is, and at most this long.
_KEEP_SECONDS: Final = 300.0
#: Agents are heavy to start; more at once would starve the services beside them.
_AT_ONCE: Final = 2


@dataclass(frozen=True)
class Tool:
    name: str
    command: str
    pin: str
    agent: bool = False


#: Every agent and tool that the image pins. This is the list: who else names them is compared
#: with it (tests/unit/test_tools.py).
TOOLS: Final = (
    Tool("Claude Code", "claude", "SANDBOX_CLAUDE_CODE_VERSION", agent=True),
    Tool("OpenCode", "opencode", "SANDBOX_OPENCODE_VERSION", agent=True),
    Tool("Pi", "pi", "SANDBOX_PI_CODING_AGENT_VERSION", agent=True),
    Tool("Bun", "bun", "SANDBOX_BUN_VERSION"),
    Tool("Node.js", "node", "SANDBOX_NODE_VERSION"),
    Tool("pnpm", "pnpm", "SANDBOX_PNPM_VERSION"),
    Tool("uv", "uv", "SANDBOX_UV_VERSION"),
)


@dataclass(frozen=True)
class InstalledVersion:
    version: str | None = None
    #: Why there is no version.
    state: Literal["missing", "error"] | None = None
    detail: str | None = None


@dataclass(frozen=True)
class ToolVersion:
    tool: Tool
    state: ToolState
    pinned: str | None = None
    installed: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class _CachedAnswer:
    #: (path, inode, size, mtime) of the executable behind all links.
    file: tuple[str, int, int, int] | None
    asked_at: float
    answer: InstalledVersion


class Versions:
    """Asks each tool once and remembers the answer. `read` never waits long: a tool that has not
    answered yet is `checking`.
    """

    def __init__(self, tools: tuple[Tool, ...] = TOOLS) -> None:
        self._tools = tools
        self._cache: dict[str, _CachedAnswer] = {}
        self._refresh: asyncio.Task[None] | None = None

    async def read(self, pins: Mapping[str, str], *, patience: float = 3.0) -> list[ToolVersion]:
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._ask_all())
        await asyncio.wait([self._refresh], timeout=patience)
        return [self._compare(tool, pins.get(tool.pin)) for tool in self._tools]

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    def _compare(self, tool: Tool, pin: str | None) -> ToolVersion:
        cached = self._cache.get(tool.command)
        if cached is None:
            return ToolVersion(tool, "checking", pin)
        answer = cached.answer
        if answer.state is not None:
            return ToolVersion(tool, answer.state, pin, detail=answer.detail)
        if pin is None:
            return ToolVersion(tool, "unpinned", installed=answer.version)
        state: ToolState = "match" if answer.version == pin else "mismatch"
        return ToolVersion(tool, state, pin, answer.version)

    async def _ask_all(self) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def ask(tool: Tool) -> None:
            file = await asyncio.to_thread(_executable, tool.command)
            cached = self._cache.get(tool.command)
            is_fresh = cached and time.monotonic() - cached.asked_at < _KEEP_SECONDS
            if cached and cached.file == file and is_fresh:
                return
            async with slots:
                version = await _ask(tool.command) if file else InstalledVersion(state="missing")
            self._cache[tool.command] = _CachedAnswer(file, time.monotonic(), version)

        await asyncio.gather(*(ask(tool) for tool in self._tools))


async def _ask(command: str) -> InstalledVersion:
    try:
        answer = await children.output([command, "--version"], seconds=_SECONDS)
    except TimeoutError:
        detail = f"`{command} --version` did not end within {_SECONDS:g} s"
        return InstalledVersion(state="error", detail=detail)
    except OSError as error:
        return InstalledVersion(
            state="error", detail=f"`{command}` cannot be run: {error.strerror}"
        )
    version = parse(answer.stdout)
    if answer.status or version is None:
        lines = (answer.stderr or answer.stdout).strip().splitlines()
        detail = f"`{command} --version` ended with {answer.status}"
        return InstalledVersion(state="error", detail=": ".join([detail, *lines[-1:]])[:300])
    return InstalledVersion(version)


def parse(text: str) -> str | None:
    """`v24.19.0`, `uv 0.13.9 (x86_64-…)`, `2.1.328 (Claude Code)` → the version alone."""
    match = _VERSION.search(text)
    return match[0] if match else None


def _executable(command: str) -> tuple[str, int, int, int] | None:
    program = shutil.which(command)
    if program is None:
        return None
    try:
        path = Path(program).resolve(strict=True)
        stat = path.stat()
    except OSError:
        return (program, 0, 0, 0)
    return (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)
