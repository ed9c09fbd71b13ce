"""What every test starts from; and cases, with the table of what became of them."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis
import psutil
import pytest

from tasks.base import loopback, project
from tests.support import cases, repos

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import FrameType

# Started in the background of a script (some CI runners do), a process has SIGINT ignored, and so
# have its children: tests that press Ctrl-C would press in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_with_cleanup(_signum: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM and SIGHUP end the tests as Ctrl-C in a terminal does, which reaches workers, too.

    They do so once: a second signal would only cut short what fixtures delete at the end.
    """
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    for child in psutil.Process().children():
        child.send_signal(signal.SIGINT)
    raise KeyboardInterrupt


TABLE = pytest.StashKey[cases.Table]()

# A busy machine is not a fault, and a commit gives the same result on each run. New examples are
# searched for on purpose: `pytest --hypothesis-profile=explore`.
for profile, is_fixed in {"same": True, "explore": False}.items():
    hypothesis.settings.register_profile(
        profile,
        deadline=None,
        derandomize=is_fixed,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
if hypothesis.settings.get_current_profile_name() == "default":
    hypothesis.settings.load_profile("same")

#: By these a session knows that it is in a job, and writes into that job's files; or which ref and
#: which ledger the user means; or pytest which options it has.
_UNSET = (
    "PYTEST_ADDOPTS",
    "GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_TOKEN",
    "SANDBOX_WITHIN_SESSION", "SANDBOX_ITERATE_REPO_REF", "SANDBOX_LEDGER",
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _surroundings() -> Iterator[None]:
    """Tests that run in a job are no sessions of it; their git reads a configuration of ours, not
    the user's; no proxy is asked for this machine. Put back at the end: local_test, which runs
    tests in its own process, is in its job again.
    """
    environment = dict(os.environ)
    for name in environment:
        if name in _UNSET or name.startswith("GIT_"):
            del os.environ[name]
    os.environ |= {name: value for name, value in repos.GIT_ENV.items() if name.startswith("GIT_")}
    os.environ.update(loopback.exempt(environment))
    yield
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets, whose paths may have 107 bytes: pytest's own can be too deep."""
    with tempfile.TemporaryDirectory(prefix="it-", dir="/tmp") as folder:
        yield Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases",
        action="store_true",
        help="only tests/daytona and tests that prove a case; print the table at the end",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers are ended by the process that started them
        for signum in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup
                signal.signal(signum, _end_with_cleanup)
    if config.getoption("--cases"):
        config.stash[TABLE] = cases.Table()
        config.pluginmanager.register(config.stash[TABLE])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--cases"):
        return
    folder = project.ROOT / "tests/daytona"
    selection = [item for item in items if cases.ids(item) or folder in item.path.parents]
    config.hook.pytest_deselected(items=[item for item in items if item not in selection])
    items[:] = selection


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    result = yield
    assert not cases.ids(item) or cases.is_shown(item), "it does not show what the user sees"
    return result


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = config.stash.get(TABLE, None)
    if table is None or not table.rows:
        return
    text = table.markdown()
    path = project.state_dir() / "daytona-faults.md"
    path.write_text(text)
    terminalreporter.section(f"fault → what the user sees → left behind ({path.name})")
    terminalreporter.write(text)


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Puts a line into the table: the fault, and what the user sees of it."""
    return lambda fault, said: cases.add(request.node, fault, said)
