"""Which areas a command line of `nox -s tests` chooses, and which options reach them."""

from __future__ import annotations

import pytest

from tasks.base.errors import BadInput
from tasks.base.project import ROOT
from tasks.commands import tests as command
from tasks.testing import areas


def names(*arguments: str) -> list[str]:
    options = command.parse([*arguments])
    selection = areas.choose(options.areas, [o for o in command.options_in(options) if o != "x"])
    return [area.name for area in selection]


def options_of(name: str, *arguments: str) -> list[str]:
    (area,) = (area for area in areas.AREAS if area.name == name)
    return command.arguments_for(area, command.parse([*arguments]))


def test_without_words_all_areas_run_in_their_order() -> None:
    assert names() == list(areas.NAMES)
    assert names("-x") == list(areas.NAMES)


def test_named_areas_run_in_the_usual_order() -> None:
    assert names("web", "git", "git") == ["git", "web"]


def test_an_option_chooses_the_areas_that_take_it() -> None:
    assert names("-k", "refs") == [area.name for area in areas.AREAS if area.has_tests]
    assert names("--seed", "7") == ["local", "daytona", "roads"]
    assert names("--keep") == names("--image", "a:b") == ["local", "web"]


def test_options_are_passed_to_the_areas_that_take_them() -> None:
    line = ("-k", "a or b", "-x", "--seed", "0", "--keep", "--image", "a:b")
    assert options_of("git", *line) == ["-k", "a or b", "-x"]
    assert options_of("daytona", *line) == ["-k", "a or b", "-x", "--seed", "0"]
    assert options_of("web", *line) == ["-k", "a or b", "-x", "--keep", "--image", "a:b"]
    assert options_of("lint", *line) == []


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["imgae"], "nox -s tests -- image"),
        (["git_test"], "nox -s tests -- git"),
        (["xyzzy"], "one of: lint types"),
        (["types", "-k", "x"], "leave out the option, or types"),
        (["git", "--seed", "1"], "leave out the option, or git"),
    ],
)
def test_an_impossible_choice_is_refused_with_advice(arguments: list[str], advice: str) -> None:
    with pytest.raises(BadInput) as caught:
        names(*arguments)
    assert caught.value.fix.startswith(advice)


def test_every_folder_of_tests_belongs_to_an_area() -> None:
    commands = " ".join(word for area in areas.AREAS for word in area.command)
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert {name for name in folders if f"tests/{name}" not in commands} == {"sandbox"}
    assert "local-test" in commands, "which runs tests/sandbox"
