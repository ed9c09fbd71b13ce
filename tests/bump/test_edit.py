"""Writing a bump down survives kills; what does not work is taken back and its culprit named."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import project
from tasks.bump import documents, edit, journal, lock_files, pins, verification, work_folder
from tasks.bump.outcome import Outcome
from tasks.bump.registries import npm
from tests.bump.conftest import DOCKERFILE, VERSIONS, lock_text
from tests.support.package_registry import packument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.bump.conftest import BumpWorkspace

#: 1,000 in a soak: ITERATE_KILLS=1000 nox -s tests -- bump -k killed
KILLS = int(os.environ.get("ITERATE_KILLS", "50"))
PADDING = "\n" * 4000


def outcome(name: str, old: str, new: str) -> Outcome:
    pin = pins.find_pin(name)
    document = packument(pin.package, {old: {}, new: {}})
    package = npm.parse(json.dumps(document).encode(), pin.package)
    lock = lock_text(pin, new) + PADDING
    return Outcome(pin, old, package.releases[new], lock=lock, package=package)


def bump(root: Path, work: Path | None = None) -> edit.Edit:
    """Bun's and pnpm's pins to the other of two versions."""
    work = work or root / ".sandbox"
    document = documents.read(root, project.DOCKERFILE)
    versions = pins.current_versions(document.text)
    outcomes = []
    for name, first, second in (("bun", "1.4.0", "1.4.1"), ("pnpm", "12.21.0", "12.22.0")):
        version = versions[pins.find_pin(name).variable]
        outcomes.append(outcome(name, version, second if version == first else first))
    return edit.prepare(root, document, outcomes, work=work)


def run_once(root: Path) -> None:
    with work_folder.work_folder(root / ".sandbox") as work:
        bump(root, work).apply()


def run_trial(root: Path) -> None:
    """As `--verify`: an open trial is taken back first; the bump fails its verification."""
    state = root / ".sandbox"
    with work_folder.work_folder(state) as work, work_folder.exclusive_run(state):
        if journal.is_open(state):
            journal.restore(root, state, work=work)
        with pytest.raises(journal.VerificationFailed):
            verification.verify(bump(root, work), state, lambda: False)


def kill(root: str, times: str) -> None:
    """Bump forth and back in a child, kill it, look at what it left; again and again."""
    dockerfile = Path(root, project.DOCKERFILE)
    texts = {DOCKERFILE, bump(Path(root)).new_text}
    texts_seen = set()
    for _ in killed_children(lambda: run_once(Path(root)), int(times)):
        text = dockerfile.read_bytes().decode()
        assert text in texts
        assert dockerfile.stat().st_mode & 0o777 == 0o640
        assert_locks(Path(root), text)
        texts_seen.add(text)
    assert texts_seen == texts


def kill_trials(root: str, times: str) -> None:
    """Kill a child in the middle of trials; then the next run restores the old versions."""
    path, state = Path(root), Path(root, ".sandbox")
    dockerfile = path / project.DOCKERFILE
    hits = 0
    for _ in killed_children(lambda: run_trial(path), int(times)):
        hits += dockerfile.read_bytes().decode() != DOCKERFILE
        with work_folder.work_folder(state) as work:
            if journal.is_open(state):
                journal.restore(path, state, work=work)
            assert dockerfile.read_bytes().decode() == DOCKERFILE
            edit.tidy(path, [(pin, VERSIONS[pin.variable]) for pin in pins.PINS], work=work)
        assert not journal.is_open(state)
        assert_locks(path, DOCKERFILE)
        assert '"pnpm@12.21.0"' in (path / "package.json").read_text()
    assert hits, "no kill hit a trial"


def killed_children(work: Callable[[], None], times: int) -> Iterator[int]:
    """Children that do the work over and over, each killed in the middle of it. How long it takes
    on this machine is measured first.
    """
    start = time.monotonic()
    work()
    work()
    duration = time.monotonic() - start
    rng = random.Random(20261123)  # noqa: S311 - to be repeated
    for number in range(times):
        child = os.fork()
        while child == 0:
            work()
        time.sleep(rng.random() * duration)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        yield number


def assert_locks(root: Path, dockerfile: str) -> None:
    """The lock files of the versions that the Dockerfile names exist, and are whole."""
    versions = pins.current_versions(dockerfile)
    for name in ("bun", "pnpm"):
        pin = pins.find_pin(name)
        version = versions[pin.variable]
        text = (root / lock_files.lock_path(pin, version)).read_text()
        assert text.removesuffix(PADDING) == lock_text(pin, version)


def in_single_thread(workspace: BumpWorkspace, function: str) -> None:
    """Call a function of this module with the workspace: in a process without threads, as it
    forks.
    """
    code = f"import sys; from tests.bump import test_edit; test_edit.{function}(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(workspace.root), str(KILLS)]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def leftovers(workspace: BumpWorkspace) -> set[str]:
    """Files below `.sandbox` that are not meant to stay."""
    files = {str(path.relative_to(workspace.state))
             for path in workspace.state.rglob("*") if path.is_file()}  # fmt: skip
    expected = {"bump-versions.lock"}
    return {file for file in files - expected if not file.startswith("npm-cache")}


def test_a_bump_killed_at_any_instant_is_old_or_new(workspace: BumpWorkspace) -> None:
    """The Dockerfile is exactly old or exactly new, its line ends and mode stay, and the lock files
    of the versions that it names exist, whole.
    """
    workspace.dockerfile.chmod(0o640)
    in_single_thread(workspace, "kill")
    bump(workspace.root).apply()
    assert len(workspace.locks()) == len(VERSIONS)


def test_temporaries_of_killed_runs_are_swept(workspace: BumpWorkspace) -> None:
    workspace.dockerfile.chmod(0o640)
    in_single_thread(workspace, "kill")
    (workspace.state / "Dockerfile.0123456789ab.new").write_text("unfinished")
    (workspace.state / "notes.new").write_text("somebody else's")
    assert workspace.run("--check").returncode in {0, 1}
    assert leftovers(workspace) == {"notes.new"}


def test_the_folder_of_a_living_run_is_not_swept(workspace: BumpWorkspace) -> None:
    with work_folder.work_folder(workspace.state) as work:
        (work / "file").write_text("in use")
        with work_folder.work_folder(workspace.state) as second:
            assert second != work
        assert (work / "file").exists()
    assert not work.exists()


def test_a_working_bump_is_kept(workspace: BumpWorkspace) -> None:
    verification.verify(bump(workspace.root), workspace.state, lambda: True)
    assert workspace.pinned_versions()["SANDBOX_BUN_VERSION"] == "1.4.1"
    assert {"bun-1.4.1.json", "pnpm-12.22.0.json"} < workspace.locks()
    assert not journal.is_open(workspace.state)


def snapshot(workspace: BumpWorkspace) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in workspace.root.rglob("*")
            if p.is_file() and ".sandbox" not in p.parts}  # fmt: skip


@pytest.mark.parametrize(("bad_versions", "message"), [
    ({"bun": "1.4.1"}, "because of bun 1.4.0 → 1.4.1; the"),
    ({"pnpm": "12.22.0"}, "because of pnpm 12.21.0 → 12.22.0; the"),
    ({"bun": "1.4.1", "pnpm": "12.22.0"},
     "because of bun 1.4.0 → 1.4.1 and pnpm 12.21.0 → 12.22.0 (only together)"),
    ({}, "does not work without any bump either"),
])  # fmt: skip
def test_a_failing_bump_is_taken_back_and_its_culprit_named(
    workspace: BumpWorkspace, bad_versions: dict[str, str], message: str
) -> None:
    untouched = snapshot(workspace)

    def works() -> bool:
        versions = workspace.pinned_versions()
        return not all(
            versions[pins.find_pin(name).variable] == bad for name, bad in bad_versions.items()
        )

    with pytest.raises(journal.VerificationFailed, match="Dockerfile is as it was") as failure:
        verification.verify(bump(workspace.root), workspace.state, works)
    assert message in failure.value.what
    assert snapshot(workspace) == untouched
    assert not journal.is_open(workspace.state)


def test_an_interrupt_takes_the_bump_back(workspace: BumpWorkspace) -> None:
    untouched = snapshot(workspace)

    def works() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verification.verify(bump(workspace.root), workspace.state, works)
    assert snapshot(workspace) == untouched
    assert not journal.is_open(workspace.state)


def test_other_changes_of_the_dockerfile_stay_when_a_bump_is_taken_back(
    workspace: BumpWorkspace,
) -> None:
    change = bump(workspace.root)
    change.apply()
    text = workspace.dockerfile.read_bytes().replace(b"# head", b"# a head")
    workspace.dockerfile.write_bytes(text)
    edit.take_back(workspace.root, change.moves, work=change.work)
    assert workspace.dockerfile.read_bytes().decode() == DOCKERFILE.replace("# head", "# a head")


def test_a_bump_killed_during_its_trial_is_restored_by_the_next_run(
    workspace: BumpWorkspace,
) -> None:
    in_single_thread(workspace, "kill_trials")


KILLED_TRIAL = """
import os, signal, sys
from pathlib import Path
from tests.bump import test_edit
from tasks.bump import verification, work_folder
state = Path(sys.argv[1], ".sandbox")
with work_folder.work_folder(state) as work, work_folder.exclusive_run(state):
    change = test_edit.bump(Path(sys.argv[1]), work)
    verification.verify(change, state, lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.fixture
def killed_trial(workspace: BumpWorkspace) -> BumpWorkspace:
    """A workspace whose last run was killed with `kill -9` while it verified its bump."""
    workspace.offer("bun", "1.4.1")
    command = [sys.executable, "-c", KILLED_TRIAL, str(workspace.root)]
    status = subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode
    assert status == -signal.SIGKILL
    assert workspace.pinned_versions()["SANDBOX_BUN_VERSION"] == "1.4.1"
    return workspace


@pytest.mark.parametrize("mode", ["--check", "--dry-run"])
def test_a_run_that_only_looks_fails_after_a_killed_trial(
    killed_trial: BumpWorkspace, mode: str
) -> None:
    state = snapshot(killed_trial)
    result = killed_trial.run(mode)
    assert result.returncode == 1
    assert "killed while it verified its bump" in result.stderr
    assert snapshot(killed_trial) == state


def test_a_run_that_writes_takes_a_killed_trial_back_first(killed_trial: BumpWorkspace) -> None:
    killed_trial.registry.npm("bun", {"1.4.0": {}, "1.4.1": {"age": 1}})
    result = killed_trial.run()
    assert result.returncode == 0, result.stderr
    assert "taken back: bun 1.4.0 → 1.4.1, pnpm 12.21.0 → 12.22.0" in result.stderr
    assert killed_trial.pinned_versions() == VERSIONS
    assert {"bun-1.4.0.json", "pnpm-12.21.0.json"} < killed_trial.locks()
    assert len(killed_trial.locks()) == len(VERSIONS)
    assert killed_trial.run("--check").returncode == 0


def test_a_check_beside_a_living_trial_says_that_it_runs(workspace: BumpWorkspace) -> None:
    change = bump(workspace.root)
    with work_folder.exclusive_run(workspace.state):
        journal.begin(workspace.state, change.moves, work=change.work)
        result = workspace.run("--check")
    assert result.returncode == 1
    assert "is running in this repository already" in result.stderr


def test_unreadable_notes_of_a_trial_are_an_error(workspace: BumpWorkspace) -> None:
    (workspace.state / "bump-on-trial.json").write_text("[{}]")
    result = workspace.run()
    assert result.returncode == 1
    assert "cannot be read" in result.stderr


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(
    st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))  # fmt: skip
def test_bisecting_finds_all_that_fail_alone(case: tuple[int, set[int]]) -> None:
    count, bad = case
    attempts: list[Sequence[int]] = []

    def fails(changes: Sequence[int]) -> bool:
        attempts.append(changes)
        return bool(bad & set(changes))

    assert set(verification.find_culprits(range(count), fails)) == bad
    if len(bad) == 1:
        assert len(attempts) <= 8


@given(st.sets(st.integers(0, 6), min_size=2))
def test_bisecting_finds_what_fails_only_together(bad: set[int]) -> None:
    assert bad == set(verification.find_culprits(range(7), lambda changes: bad <= set(changes)))
