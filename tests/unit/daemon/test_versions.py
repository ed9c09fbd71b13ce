from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from iterate_daemon import versions
from iterate_daemon.versions import Tool, Versions, parse

from tests.unit.daemon.support import program

if TYPE_CHECKING:
    from pathlib import Path

BUN = Tool("Bun", "bun", "SANDBOX_BUN_VERSION")
PINS = {"SANDBOX_BUN_VERSION": "1.4.4"}


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v24.19.0\n", "24.19.0"),
        ("2.1.328 (Claude Code)\n", "2.1.328"),
        ("uv 0.13.9 (x86_64-unknown-linux-gnu)\n", "0.13.9"),
        ("1.18.33\n", "1.18.33"),
        ("pi 0.87.1-beta.2+build.7", "0.87.1-beta.2+build.7"),
        ("", None),
        ("1.4", None),
        ("no version here", None),
    ],
)
def test_the_version_is_found_in_what_a_tool_prints(text: str, version: str | None) -> None:
    assert parse(text) == version


@pytest.mark.parametrize(
    ("script", "state", "version", "detail"),
    [
        ("echo 1.4.4", "match", "1.4.4", None),
        ("echo 1.4.40", "mismatch", "1.4.40", None),
        ("echo 1.4.4-canary", "mismatch", "1.4.4-canary", None),
        ("echo broken >&2; exit 3", "error", None, "`bun --version` ended with 3: broken"),
        ("echo none", "error", None, "`bun --version` ended with 0: none"),
    ],
)
def test_a_version_is_compared_with_its_pin(
    bin_dir: Path, script: str, state: str, version: str | None, detail: str | None
) -> None:
    program(bin_dir, "bun", script)
    (tool,) = asyncio.run(Versions((BUN,)).read(PINS))
    assert (tool.state, tool.installed, tool.pinned) == (state, version, "1.4.4")
    assert tool.detail == detail


def test_a_missing_pin_and_a_missing_tool_are_shown(bin_dir: Path) -> None:
    program(bin_dir, "bun", "echo 1.4.4")
    absent = Tool("Pi", "pi", "SANDBOX_PI_CODING_AGENT_VERSION")
    bun, pi = asyncio.run(Versions((BUN, absent)).read({}))
    assert (bun.state, bun.installed) == ("unpinned", "1.4.4")
    assert pi.state == "missing"


def test_a_file_that_cannot_be_executed_is_an_error(bin_dir: Path) -> None:
    path = program(bin_dir, "bun", "")
    path.write_bytes(b"\x7fELF, but not really")
    (version,) = asyncio.run(Versions((BUN,)).read(PINS))
    assert version.state == "error"
    assert "cannot be run" in str(version.detail)


def test_a_tool_is_asked_again_when_its_file_changes(bin_dir: Path) -> None:
    count = bin_dir / "count"
    program(bin_dir, "bun", f"echo . >>{count}; echo 1.4.4")

    async def read_thrice() -> list[str | None]:
        all_versions = Versions((BUN,))
        first = await all_versions.read(PINS)
        second = await all_versions.read(PINS)
        program(bin_dir, "bun.new", f"echo . >>{count}; echo 1.5.0").replace(bin_dir / "bun")
        third = await all_versions.read(PINS)
        return [answer[0].installed for answer in (first, second, third)]

    assert asyncio.run(read_thrice()) == ["1.4.4", "1.4.4", "1.5.0"]
    assert len(count.read_text().split()) == 2


def test_a_slow_tool_delays_nothing_and_is_killed(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_SECONDS", 1.5)
    trace = bin_dir / "trace"
    program(bin_dir, "bun", f"(sleep 4; touch {trace}) & sleep 30")

    async def read_twice() -> tuple[str, str, float, str | None]:
        all_versions = Versions((BUN,))
        start = time.monotonic()
        (first,) = await all_versions.read(PINS, patience=0.1)
        seconds = time.monotonic() - start
        (second,) = await all_versions.read(PINS, patience=10)
        await asyncio.sleep(3)
        return first.state, second.state, seconds, second.detail

    first, second, seconds, detail = asyncio.run(read_twice())
    assert (first, second) == ("checking", "error")
    assert seconds < 1.4
    assert "did not end within 1.5 s" in str(detail)
    assert not trace.exists(), "the tool's own children are ended with it"


def test_a_tool_does_not_see_the_daemons_secrets(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITERATE_DAEMON_TOKEN", "do-not-tell")
    monkeypatch.setenv("OPENCODE_SERVER_PASSWORD", "do-not-tell")
    program(bin_dir, "bun", f"env >{bin_dir / 'env'}; echo 1.4.4")
    asyncio.run(Versions((BUN,)).read(PINS))
    assert "do-not-tell" not in (bin_dir / "env").read_text()


def test_close_ends_a_tool_that_is_still_asked(bin_dir: Path) -> None:
    program(bin_dir, "bun", "sleep 30")

    async def read_and_close() -> float:
        all_versions = Versions((BUN,))
        await all_versions.read(PINS, patience=0.1)
        start = time.monotonic()
        await all_versions.close()
        return time.monotonic() - start

    assert asyncio.run(read_and_close()) < 10
