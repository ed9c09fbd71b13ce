from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iterate_daemon.info import (
    BuildInfo,
    Problem,
    SourceInfo,
    StartInfo,
    read_build_info,
    read_environment_problems,
    read_state,
)

from tests.unit.daemon.support import BUILD_INFO, SHA, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_build_info_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "build.json", BUILD_INFO)
    build_info, problems = read_build_info(tmp_path / "build.json")
    assert problems == ()
    assert build_info.source == SourceInfo(SHA, "main", dirty=False)
    assert build_info.identity == "8d" * 32
    assert build_info.pins["SANDBOX_BUN_VERSION"] == "1.4.4"
    assert (build_info.base_image, build_info.built_at) == (
        "debian:trixie-slim",
        "2026-11-23T09:00:00Z",
    )


def test_the_state_of_the_start_is_read(tmp_path: Path) -> None:
    write_json(
        tmp_path / "state.json",
        {
            "mode": "local",
            "started_at": "2026-11-23T09:20:00Z",
            "source": {"sha": SHA, "branch": None, "dirty": True},
            "problems": [{"step": "ui", "message": "vite build failed"}],
        },
    )
    assert read_state(tmp_path / "state.json") == StartInfo(
        mode="local",
        started_at="2026-11-23T09:20:00Z",
        source=SourceInfo(SHA, None, dirty=True),
        problems=(Problem("ui", "vite build failed"),),
    )


def test_problems_of_the_environment_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    assert read_environment_problems(path) == ()
    write_json(path, {"problems": [{"step": "environment", "message": "line 3"}]})
    assert read_environment_problems(path) == (Problem("environment", "line 3"),)
    path.write_text("[]")
    assert read_environment_problems(path)[0].step == "environment"


def test_a_missing_file_is_not_a_problem(tmp_path: Path) -> None:
    assert read_build_info(tmp_path / "absent") == (BuildInfo(), ())
    assert read_state(tmp_path / "absent") == StartInfo()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "[" * 5000, "\xff"])
def test_a_broken_file_is_a_problem_that_names_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content.encode("latin-1"))
    (problem,) = read_state(path).problems
    assert problem.step == "state"
    assert str(path) in problem.message
    assert read_build_info(path)[1][0].step == "build-info"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["sha", "source", "problems", "pins", "mode", "step", "message", "dirty"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_value_is_read_without_an_error(tmp_path: Path, value: object) -> None:
    path = tmp_path / "any.json"
    write_json(path, value)
    state, (build_info, _) = read_state(path), read_build_info(path)
    assert state.mode is None or isinstance(state.mode, str)
    assert all(isinstance(p.message, str) for p in state.problems)
    assert all(isinstance(pin, str) for pin in build_info.pins.values())
