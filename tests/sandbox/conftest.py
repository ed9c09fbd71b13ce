"""The suite's side of the `Sandbox` interface: which provider, which image, and what is left."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING, Any, get_args

import psutil
import pytest

from tasks.base import project
from tasks.base.errors import TaskError
from tasks.sandbox import diagnostics, providers
from tasks.sandbox.provider import Provider
from tasks.sandbox.run import Run
from tasks.sandbox.sandbox import Sandbox
from tasks.sandbox.values import Capability, Spec
from tests.sandbox import checkout as checkouts
from tests.sandbox.docker_run import Containers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from types import FrameType

    from tests.sandbox.checkout import Checkout

PROVIDER = pytest.StashKey[Provider]()
ENDED_BY = pytest.StashKey[int]()
KEPT_SANDBOXES = pytest.StashKey[list[str]]()
DIAGNOSED = pytest.StashKey[set[str]]()
NOT_OFFERED = pytest.StashKey[list[str]]()

#: Seconds a test may take in all; whatever it waits for has a shorter deadline of its own.
TIMEOUT = 240
SOAK_TIMEOUT = 6 * 3600


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sandbox")
    group.addoption("--provider", default=providers.DEFAULT, choices=providers.PROVIDERS)
    group.addoption("--image", default=project.LOCAL_IMAGE)
    group.addoption("--keep", action="store_true", help="leave the sandboxes")
    group.addoption("--soak", action="store_true", help="fault tests at full count")
    group.addoption("--seed", type=int, default=None, help="of the fault tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): runs where a provider offers them")
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)


def pytest_report_header(config: pytest.Config) -> str:
    o = config.option
    return f"sandbox: {o.image} on {o.provider}; faults replay with --seed {o.seed}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """What was asked for and is missing is a failure, before anything is tried."""
    config = session.config
    if config.option.collectonly:
        return
    try:
        provider = providers.connect(config.option.provider)
        config.stash[PROVIDER] = provider
        provider.check(config.option.image)
    except TaskError as error:
        pytest.exit(f"cannot test: {error}", returncode=error.exit_status)

    def end(signum: int, _frame: FrameType | None) -> None:
        # Once is enough: a second signal would only cut the clean-up short.
        if ENDED_BY not in config.stash:
            config.stash[ENDED_BY] = signum
            # Those that run the tests clean up after themselves, and are waited for.
            for worker in psutil.Process().children():
                worker.send_signal(signum)
            raise KeyboardInterrupt

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if signum := config.stash.get(ENDED_BY, None):
        session.exitstatus = 128 + signum
    worker_output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if worker_output is not None:
        worker_output.update(
            not_offered=config.stash.get(NOT_OFFERED, []), kept=config.stash.get(KEPT_SANDBOXES, [])
        )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker has to tell; only the one that started it writes the report."""
    worker_output: dict[str, list[str]] = getattr(node, "workeroutput", {})
    stash = node.config.stash
    stash[NOT_OFFERED] = worker_output.get("not_offered", [])  # each worker collects all tests
    stash.setdefault(KEPT_SANDBOXES, []).extend(worker_output.get("kept", []))


def pytest_unconfigure(config: pytest.Config) -> None:
    if provider := config.stash.get(PROVIDER, None):
        provider.close()


@pytest.hookimpl(trylast=True)  # of what -k has left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    provider = config.stash.get(PROVIDER, None)
    offered, lines = [], []
    for item in items:
        timeout = SOAK_TIMEOUT if config.option.soak else TIMEOUT
        item.add_marker(pytest.mark.timeout(timeout, method="signal"))
        wanted = {c for mark in item.iter_markers("needs") for c in mark.args}
        if strange := wanted - set(get_args(Capability)):
            raise pytest.UsageError(f"{item.nodeid} needs {strange}: no such capability")
        reasons = provider.not_offered if provider else {}
        missing = sorted(c for c in wanted if c in reasons)
        if missing:
            lines += [f"{item.nodeid}: {c}: {reasons[c]}" for c in missing]
        else:
            offered.append(item)
    config.stash[NOT_OFFERED] = lines
    if lines:
        config.hook.pytest_deselected(items=[i for i in items if i not in offered])
        items[:] = offered


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(NOT_OFFERED, []):
        terminalreporter.write_line(f"not offered by {config.option.provider}: {line}")
    for line in config.stash.get(KEPT_SANDBOXES, []):
        terminalreporter.write_line(line)


# ── diagnostics ─────────────────────────────────────────────────────────────────────────────


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when != "teardown" and call.excinfo is not None:
        seen = item.config.stash.setdefault(DIAGNOSED, set())
        for sandbox in _sandboxes_of(item):
            if call.when == "setup":
                # A shared fixture fails for every test that wants it: once is enough.
                if sandbox.name in seen:
                    continue
                seen.add(sandbox.name)
            folder = diagnostics.folder_for(sandbox.run.id, item.name, sandbox.name)
            bundle = diagnostics.collect(sandbox, folder, reason=str(report.longrepr))
            report.sections.append((f"diagnostics in {bundle.folder}", bundle.summary))
        report.sections.append(("replay", f"--seed {item.config.option.seed}"))
    return report


def _sandboxes_of(item: pytest.Item) -> list[Sandbox]:
    sandboxes: list[Sandbox] = []
    for value in getattr(item, "funcargs", {}).values():
        items = value if isinstance(value, Sandbox) else getattr(value, "made", ())
        sandboxes += [items] if isinstance(items, Sandbox) else items
    return list(dict.fromkeys(sandboxes))


# ── sandboxes ───────────────────────────────────────────────────────────────────────────────


class Maker:
    """Makes sandboxes that a test, or a module of tests, has for itself."""

    def __init__(self, run: Run, config: pytest.Config, purpose: str) -> None:
        self.made: list[Sandbox] = []
        self._run = run
        self._image = str(config.option.image)
        self._kept = config.stash.setdefault(KEPT_SANDBOXES, [])
        self._purpose = purpose

    def __call__(self, *, ready: bool = True, timeout: float = 120, **spec: Any) -> Sandbox:
        wanted = Spec(**{"image": self._image, "purpose": self._purpose, **spec})
        sandbox = self._run.provider.create(wanted, self._run)
        self.made.append(sandbox)
        if ready:
            sandbox.start()
            sandbox.wait_until_ready(timeout=timeout)
        return sandbox

    def end(self) -> None:
        for sandbox in self.made:
            if self._run.keep:
                self._kept.append(f"kept {sandbox.name}: {sandbox.how_to_reach()}")
                self._kept.append(f"  to delete it: {sandbox.how_to_delete()}")
            else:
                sandbox.delete()
        self.made.clear()


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Iterator[Run]:
    provider = pytestconfig.stash[PROVIDER]
    with Run(provider, keep=pytestconfig.option.keep) as run:
        yield run
    if kept := pytestconfig.stash.get(KEPT_SANDBOXES, []):
        kept.append(f"to delete all that was kept: python -m tasks reap --run {run.id}")


@pytest.fixture(scope="session")
def provider(run: Run) -> Provider:
    return run.provider


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.option.image)


@pytest.fixture(scope="session")
def everyones(run: Run, pytestconfig: pytest.Config) -> Iterator[Maker]:
    maker = Maker(run, pytestconfig, "shared")
    yield maker
    maker.end()


@pytest.fixture(scope="session")
def sandbox(everyones: Maker) -> Sandbox:
    """Ready, and only to be looked at: every test sees this one."""
    return everyones()


@pytest.fixture
def make(run: Run, request: pytest.FixtureRequest) -> Iterator[Maker]:
    maker = Maker(run, request.config, request.node.name)
    yield maker
    maker.end()


@pytest.fixture
def containers(run: Run, image: str, request: pytest.FixtureRequest) -> Iterator[Containers]:
    """For what only `docker run` can ask for."""
    test_containers = Containers(run, image, request.node.name)
    yield test_containers
    test_containers.end()


@pytest.fixture
def fresh_sandbox(make: Maker) -> Sandbox:
    """Ready, and this test's alone: to be broken."""
    return make()


@pytest.fixture
def checkout(run: Run, request: pytest.FixtureRequest) -> Iterator[Checkout]:
    """A checkout of this repository on this machine, as local mode mounts it."""
    name = f"{os.getpid()}-{abs(hash(request.node.nodeid)):x}"
    folder: Path = run.folder / "checkouts" / name
    yield checkouts.create(folder)
    if not run.keep:
        checkouts.delete(folder)


# ── faults ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """The same for the same --seed and test."""
    return random.Random(f"{request.config.option.seed}:{request.node.name}")  # noqa: S311


@pytest.fixture
def times(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """How often to inject a fault: `times(few, many)` is `many` with --soak."""
    return lambda few, many: many if pytestconfig.option.soak else few
