"""What a sandbox gets: options, table, defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import project
from tasks.base.errors import BadInput
from tasks.base.options import Parser
from tasks.daytona import resources
from tasks.daytona.resources import Resources

if TYPE_CHECKING:
    from pathlib import Path


def read(pyproject: Path, *arguments: str) -> Resources:
    parser = Parser(prog="p")
    resources.add_resources(parser)
    return resources.from_options(parser.parse_args(arguments), pyproject)


def test_an_option_takes_precedence_over_the_table(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    assert read(pyproject) == Resources(cpu=2, memory=4, disk=10)
    pyproject.write_text("[tool.sandbox.resources]\nmemory = 8\ndisk = 5\n")
    assert read(pyproject) == Resources(cpu=2, memory=8, disk=5)
    assert read(pyproject, "--disk", "7", "--cpu", "1") == Resources(cpu=1, memory=8, disk=7)


def test_the_table_of_this_project_is_valid() -> None:
    assert resources.read_table(project.ROOT / "pyproject.toml") == Resources()


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "", "1e9"])
def test_an_impossible_option_is_one_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(tmp_path / "pyproject.toml", "--cpu", value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "tool = 3",
        "[tool]\nsandbox = [1]",
        '[tool.sandbox]\nresources = "many"',
        "[tool.sandbox.resources]\ncpu = true",
        '[tool.sandbox.resources]\ncpu = "2"',
        "[tool.sandbox.resources]\ncpu = 0",
        "[tool.sandbox.resources]\ncpu = 2.5",
        "[tool.sandbox.resources]\ncpu = nan",
        "[tool.sandbox.resources]\ncpu = 99999999999999999999",
        "[tool.sandbox.resources]\ngpu = 1",
        "[tool.sandbox.resources]\ncpu = {x = 1}",
        "[[tool.sandbox.resources]]\ncpu = 1",
        "not toml",
        "\xff",
    ],
)
def test_a_table_of_another_shape_is_one_line(tmp_path: Path, text: str) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput) as caught:
        resources.read_table(pyproject)
    assert str(pyproject) in str(caught.value)
    assert caught.value.fix
    assert "\n" not in str(caught.value)


@given(st.binary())
def test_any_file_gives_resources_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    pyproject = tmp_path_factory.mktemp("any") / "pyproject.toml"
    pyproject.write_bytes(content)
    problem = ""
    try:
        resources.read_table(pyproject)
    except BadInput as error:
        problem = str(error)
    assert "\n" not in problem
