from __future__ import annotations

import pytest

from tasks.base import options, project
from tasks.base.errors import BadInput
from tasks.base.options import Parser


def parser() -> Parser:
    result = Parser(prog="nox -s x --", allow_abbrev=False)
    options.add_ref(result)
    options.add_stage(result)
    options.add_via(result)
    options.add_json(result)
    options.add_keep(result)
    options.add_faults(result)
    options.add_selection(result)
    return result


def test_shared_options_have_one_meaning() -> None:
    values = parser().parse_args(
        ["--ref", "a", "--stage", "stg", "--via", "push", "--json", "--keep", "--seed", "7"]
    )
    assert (values.ref, values.stage, values.via, values.seed) == ("a", "stg", "push", 7)
    assert (values.json, values.keep, values.soak) == (True, True, False)
    assert parser().parse_args([]).via == "remote"


def test_help_names_the_variable_that_stands_in_for_ref(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    assert project.REF_VARIABLE in capsys.readouterr().out


def test_a_value_may_look_like_an_option() -> None:
    assert parser().parse_args(["--ref", "-x"]).ref == "-x"
    assert parser().parse_args(["--ref=--json"]).ref == "--json"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ref", "a", "--ref", "a"], "--ref is given twice"),
        (["--via", "air"], "invalid choice: 'air'"),
        (["--stag", "prd"], "unrecognized arguments"),
        (["--ref"], "expected one argument"),
        (["--seed", "x"], "invalid int value"),
        (["\x1b[31m"], r"\x1b"),
    ],
)
def test_a_wrong_argument_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parser().parse_args(words)
    assert message in caught.value.what
    assert "\n" not in str(caught.value)
    assert caught.value.fix == "nox -s x -- --help"


@pytest.mark.parametrize(
    ("words", "selection"),
    [([], []), (["-x"], ["-x"]), (["-k", "a or b", "-x"], ["-k", "a or b", "-x"])],
)
def test_a_selection_is_given_to_pytest(words: list[str], selection: list[str]) -> None:
    assert options.selection(parser().parse_args(words)) == selection


@pytest.mark.parametrize("text", ["0", "-1", "86400", "nan", "inf"])
def test_a_time_that_nobody_waits_is_refused(text: str) -> None:
    timed = Parser(prog="x", allow_abbrev=False)
    timed.add_argument("--timeout", type=options.seconds)
    with pytest.raises(BadInput):
        timed.parse_args([f"--timeout={text}"])
