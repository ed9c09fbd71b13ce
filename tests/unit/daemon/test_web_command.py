"""tasks/commands/web_test.py: what it refuses before it starts, and what it makes of the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import CommandFailed, TaskError
from tasks.commands import web_test
from tasks.sandbox import providers

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_browser_no_engine_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ITERATE_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tasks.base.programs.BROWSER_APPLICATIONS", ())
    monkeypatch.setattr(providers, "connect", lambda _name: pytest.fail("asked"))
    with pytest.raises(TaskError, match=r"no Chromium.* → nox -s setup"):
        web_test.main([])


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (1, CommandFailed, r"tests of the page failed → .*\.sandbox/web/"),
        (3, CommandFailed, "tests of the page failed"),
        (5, TaskError, "no test matches"),
    ],
)
def test_each_end_of_the_tests(status: int, error: type[TaskError], says: str) -> None:
    with pytest.raises(error, match=says):
        web_test._judge(status)


def test_an_interrupt_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        web_test._judge(2)


def test_all_passed() -> None:
    web_test._judge(0)


def test_options() -> None:
    options = web_test.parse(["--image", "other:tag", "--keep", "-x", "-k", "sign"])
    assert (options.image, options.keep, options.x, options.k) == ("other:tag", True, True, "sign")
    assert web_test.parse([]).image == "iterate-sandbox:local"
