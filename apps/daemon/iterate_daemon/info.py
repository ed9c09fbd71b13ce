"""What the image, this start of the sandbox and its services note for us, in JSON files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SourceInfo:
    sha: str | None = None
    branch: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True)
class Problem:
    """Something went wrong while the sandbox started; it runs on without it."""

    step: str
    message: str


@dataclass(frozen=True, kw_only=True)
class BuildInfo:
    """/etc/sandbox-build.json: what was built into the image."""

    source: SourceInfo = SourceInfo()
    identity: str | None = None
    pins: dict[str, str] = field(default_factory=dict)
    base_image: str | None = None
    built_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class StartInfo:
    """/run/iterate/state.json: what runs since this start; in local mode not what was built."""

    mode: str | None = None
    started_at: str | None = None
    source: SourceInfo | None = None
    problems: tuple[Problem, ...] = ()


def read_build_info(path: Path) -> tuple[BuildInfo, tuple[Problem, ...]]:
    data, problems = _read(path, step="build-info")
    pins = data.get("pins")
    return (
        BuildInfo(
            source=_source(data) or SourceInfo(),
            identity=_text(data, "identity"),
            pins={k: v for k, v in pins.items() if isinstance(v, str)}
            if isinstance(pins, dict)
            else {},
            base_image=_text(data, "base_image"),
            built_at=_text(data, "built_at"),
        ),
        problems,
    )


def read_state(path: Path) -> StartInfo:
    data, problems = _read(path, step="state")
    return StartInfo(
        mode=_text(data, "mode"),
        started_at=_text(data, "started_at"),
        source=_source(data.get("source")),
        problems=problems + _listed_problems(data),
    )


def read_environment_problems(path: Path) -> tuple[Problem, ...]:
    """What was wrong with the run-time settings when a service last started."""
    data, problems = _read(path, step="environment")
    return problems + _listed_problems(data)


def _listed_problems(data: dict[str, Any]) -> tuple[Problem, ...]:
    listed = data.get("problems")
    return tuple(
        Problem(_text(item, "step") or "start", _text(item, "message") or "no message")
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict)
    )


def _read(path: Path, *, step: str) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """An absent file is no problem: the daemon also runs outside a sandbox, in development."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, ()
    except (OSError, ValueError, RecursionError) as error:
        return {}, (Problem(step, f"{path} cannot be read: {error}"),)
    if not isinstance(data, dict):
        return {}, (Problem(step, f"{path} is not a JSON object"),)
    return data, ()


def _source(data: object) -> SourceInfo | None:
    if not isinstance(data, dict) or not _text(data, "sha"):
        return None
    dirty = data.get("dirty")
    return SourceInfo(
        sha=_text(data, "sha"),
        branch=_text(data, "branch"),
        dirty=dirty if isinstance(dirty, bool) else None,
    )


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) else None
