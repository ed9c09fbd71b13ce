"""The command that goes on with a publication: it asks for that very one, whatever was asked."""

from __future__ import annotations

import itertools
import shlex
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.options import CommandLine, Once, Parser
from tasks.commands import daytona_test, snapshot_daytona
from tasks.daytona import request as requests
from tasks.daytona.request import ResolvedRequest

if TYPE_CHECKING:
    from tasks.daytona.request import PublishRequest

SHA = "5e" * 20
IDENTITY = "1d" * 32
#: Each option of snapshot_daytona: left out, or given.
OPTIONS: tuple[tuple[tuple[str, ...], ...], ...] = (
    ((), ("--ref", "v1"), ("--ref=-odd branch",)),
    ((), ("--stage", "prd")),
    ((), ("--for-branch", "topic"), ("--for-branch=-x",)),
    ((), ("--via", "push"), ("--via", "push", "--untested")),
    ((), ("--name", "my:name")),
    ((), ("--force",), ("--rebuild", "abc12")),
    ((), ("--timeout", "60")),
    ((), ("--json",)),
)
COMBINATIONS = [
    [word for words in combination for word in words] for combination in itertools.product(*OPTIONS)
]


def resolve(request: PublishRequest, *, branch: str) -> ResolvedRequest:
    """The request, as if its ref had been found."""
    source = cast("Any", SimpleNamespace(sha=SHA, identity=IDENTITY))
    return ResolvedRequest(
        request=request,
        repo=cast("Any", None),
        source=source,
        branch=request.branch or branch,
        committed=1768604407,
        pins={},
        changes=0,
    )


def read(arguments: list[str]) -> PublishRequest:
    parser = snapshot_daytona.make_parser()
    return snapshot_daytona.read_request(parser, parser.parse_args(arguments))


@pytest.mark.parametrize("branch", ["", "main", "-x", "it's"])
def test_the_resume_command_round_trips_for_all_options(
    branch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the environment has changed meanwhile: everything is in the command."""
    for arguments in COMBINATIONS:
        monkeypatch.setenv("ITERATE_USER", "ann")
        interrupted = resolve(read(arguments), branch=branch)
        monkeypatch.setenv("ITERATE_USER", "bob")
        program, words = interrupted.resume_command.split(" -- ", 1)
        assert program == "nox -s snapshot_daytona"
        resumed = resolve(read(shlex.split(words)), branch="")
        assert resumed.snapshot_name == interrupted.snapshot_name, arguments
        assert resumed.branch == interrupted.branch
        assert resumed.request.ref == SHA
        for field in ("stage", "via", "untested", "name", "rebuild", "timeout"):
            assert getattr(resumed.request, field) == getattr(interrupted.request, field)
        assert resumed.resume_command == interrupted.resume_command


def test_a_forced_build_is_resumed_under_its_own_name() -> None:
    forced = resolve(read(["--stage", "prd", "--force"]), branch="main")
    assert f"-r{forced.request.rebuild}" in forced.snapshot_name
    assert "--force" not in forced.resume_command
    assert f"--rebuild {forced.request.rebuild}" in forced.resume_command


def test_an_interrupted_test_is_resumed_as_a_test() -> None:
    """Publishing would move the stage, which a test does not."""
    parser = daytona_test.make_parser()
    options = parser.parse_args(["--via", "push", "-k", "boot or life", "--workers", "3", "-x"])
    request = requests.read_request(parser, options, stage="dev-ann")
    command = resolve(request, branch="main").resume_command
    program, words = command.split(" -- ", 1)
    assert program == "nox -s daytona_test"
    resumed = parser.parse_args(shlex.split(words))
    assert (resumed.ref, resumed.stage, resumed.via) == (SHA, "dev-ann", "push")
    assert (resumed.k, resumed.workers, resumed.x) == ("boot or life", 3, True)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.booleans())
def test_a_command_line_round_trips_for_any_value(value: str, flag: bool) -> None:
    parser = Parser(prog="p")
    parser.add_argument("--option", action=Once)
    parser.add_argument("-k")
    parser.add_argument("--flag", action="store_true")
    values = {"option": value, "k": value, "flag": flag}
    words = shlex.split(str(CommandLine(parser, values)))[1:]
    options = parser.parse_args(words)
    assert (options.option, options.k, options.flag) == (value, value, flag)
