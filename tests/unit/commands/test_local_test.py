from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.base import project
from tasks.base.errors import BadInput, CommandFailed, Interrupted, TaskError
from tasks.commands import local_test

ROOT = Path("/repo")


def arguments(*options: str) -> list[str]:
    return local_test.pytest_arguments(local_test.parse(list(options)), root=ROOT)


def test_nothing_given() -> None:
    result = arguments()
    assert result[0] == "/repo/tests/sandbox"
    assert f"--image={project.LOCAL_IMAGE}" in result
    assert "--provider=docker" in result
    assert any(re.fullmatch(r"--seed=\d+", a) for a in result)
    assert not {"--keep", "--soak", "-x", "-k"} & set(result)


def test_everything_given() -> None:
    result = arguments(
        "--image", "a:b", "--keep", "-k", "git or home", "--soak", "--seed", "7", "-x"
    )
    assert {"--image=a:b", "--keep", "--soak", "--seed=7", "-x"} <= set(result)
    assert result[result.index("-k") + 1] == "git or home"


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        ([], 2),
        (["--keep"], 2),
        (["-k", "git"], 1),
        (["--soak"], 1),
        (["--workers", "1"], 1),
        (["-k", "git", "--workers", "3"], 3),
    ],
)
def test_how_many_at_a_time(options: list[str], workers: int) -> None:
    result = arguments(*options)
    if workers == 1:
        assert "--numprocesses" not in result
    else:
        assert result[result.index("--numprocesses") + 1] == str(workers)


def test_each_run_has_a_seed_of_its_own() -> None:
    assert len({a for _ in range(20) for a in arguments() if a.startswith("--seed")}) > 1


@pytest.mark.parametrize(
    "options",
    [
        ["--nonsense"],
        ["--see", "1"],
        ["--seed", "x"],
        ["--image"],
        ["--workers", "0"],
        ["left-over"],
    ],
)
def test_what_is_not_known_is_refused(options: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        local_test.parse(options)
    assert caught.value.exit_status == 2
    assert "nox -s local_test -- --help" in caught.value.fix


def test_all_passed() -> None:
    local_test.judge(0)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (1, CommandFailed),
        (2, CommandFailed),
        (4, CommandFailed),
        (5, TaskError),
        (130, KeyboardInterrupt),
        (143, Interrupted),
    ],
)
def test_any_other_status_is_a_failure(status: int, error: type[BaseException]) -> None:
    with pytest.raises(error):
        local_test.judge(status)


def test_the_signal_is_handed_on() -> None:
    with pytest.raises(Interrupted) as caught:
        local_test.judge(143)
    assert caught.value.signum == 15
