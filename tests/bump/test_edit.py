"""Writing a bump down survives kills; what does not work is taken back and its culprit named."""

from __future__ import annotations

import itertools
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
from tasks.bump import bisect, edit, locks, pins, verify
from tasks.bump.registries import npm
from tasks.bump.survey import Outcome
from tests.bump.conftest import DOCKERFILE, VERSIONS
from tests.support.registry import packument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bump.conftest import Desk

#: 1,000 in a soak: ITERATE_KILLS=1000 nox -s tests -- bump -k killed
KILLS = int(os.environ.get("ITERATE_KILLS", "50"))
KILLING = "import sys; from tests.bump import test_edit; test_edit.kill(*sys.argv[1:])"


def outcome(name: str, old: str, new: str) -> Outcome:
    pin = pins.find(name)
    document = packument(pin.package, {old: {}, new: {}})
    package = npm.parse(json.dumps(document).encode(), pin.package)
    return Outcome(pin, old, package.releases[new], f"lock of {new}\n" * 2000, package=package)


def change(root: Path) -> edit.Edit:
    """Bun's and pnpm's pins to the other of two versions."""
    old = edit.read(root)
    now = pins.current(old.text)
    wanted = []
    for name, a, b in (("bun", "1.4.0", "1.4.1"), ("pnpm", "12.21.0", "12.22.0")):
        here = now[pins.find(name).variable]
        wanted.append(outcome(name, here, b if here == a else a))
    return edit.plan(root, old, wanted)


def kill(root: str, times: str) -> None:
    """Bump forth and back in a child, kill it, look at what it left; again and again."""
    rng = random.Random(20261123)  # noqa: S311 - to be repeated
    dockerfile = Path(root, project.DOCKERFILE)
    texts = {DOCKERFILE, change(Path(root)).new_text}
    seen: set[str] = set()
    # The machine may be too busy for a child to get that far: then once more.
    for number in itertools.count():
        if number >= int(times) and seen == texts:
            break
        child = os.fork()
        if child == 0:
            while True:
                change(Path(root)).apply()
        time.sleep(rng.random() * 0.04)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        text = dockerfile.read_bytes().decode()
        assert text in texts
        assert dockerfile.stat().st_mode & 0o777 == 0o640
        for name in ("bun", "pnpm"):
            version = pins.current(text)[pins.find(name).variable]
            path = Path(root, locks.path(pins.find(name), version))
            assert path.read_text() in {f"lock of {version}\n" * 2000, f"old {name}"}
        seen.add(text)


def test_killed_at_any_instant(desk: Desk) -> None:
    """The Dockerfile is exactly old or exactly new, its line ends and mode kept, and the lock files
    of the versions that it names are there, whole.
    """
    desk.dockerfile.chmod(0o640)
    here = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", KILLING, str(desk.root), str(KILLS)]
    # In a process without threads, since it forks.
    result = subprocess.run(command, cwd=here, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    change(desk.root).apply()
    assert len(desk.locks()) == len(VERSIONS)
    assert list((desk.root / ".sandbox").glob("*.new")) == []


def test_what_works_is_kept(desk: Desk) -> None:
    verify.verify(change(desk.root), lambda: True)
    assert desk.pinned()["SANDBOX_BUN_VERSION"] == "1.4.1"
    assert {"bun-1.4.1.json", "pnpm-12.22.0.json"} < desk.locks()


def snapshot(desk: Desk) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in desk.root.rglob("*")
            if p.is_file() and ".sandbox" not in p.parts}  # fmt: skip


@pytest.mark.parametrize(("broken", "named"), [
    ({"bun": "1.4.1"}, "because of bun 1.4.0 → 1.4.1; the"),
    ({"pnpm": "12.22.0"}, "because of pnpm 12.21.0 → 12.22.0; the"),
    ({"bun": "1.4.1", "pnpm": "12.22.0"},
     "because of bun 1.4.0 → 1.4.1 and pnpm 12.21.0 → 12.22.0 (only together)"),
    ({}, "does not work without any bump either"),
])  # fmt: skip
def test_what_does_not_work_is_taken_back(desk: Desk, broken: dict[str, str], named: str) -> None:
    before = snapshot(desk)

    def works() -> bool:
        now = desk.pinned()
        return not all(now[pins.find(name).variable] == bad for name, bad in broken.items())

    with pytest.raises(edit.VerificationFailed, match="Dockerfile is as it was") as raised:
        verify.verify(change(desk.root), works)
    assert named in raised.value.what
    assert snapshot(desk) == before


def test_an_interrupt_takes_it_back(desk: Desk) -> None:
    before = snapshot(desk)

    def works() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify.verify(change(desk.root), works)
    assert snapshot(desk) == before


def test_what_others_changed_meanwhile_stays(desk: Desk) -> None:
    made = change(desk.root)
    made.apply()
    now = desk.dockerfile.read_bytes().replace(b"# head", b"# other head")
    desk.dockerfile.write_bytes(now)
    made.take_back()
    assert desk.dockerfile.read_bytes().decode() == DOCKERFILE.replace("# head", "# other head")


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(
    st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))  # fmt: skip
def test_bisecting_finds_all_that_fail_alone(case: tuple[int, set[int]]) -> None:
    count, bad = case
    asked: list[Sequence[int]] = []

    def fails(some: Sequence[int]) -> bool:
        asked.append(some)
        return bool(bad & set(some))

    assert set(bisect.culprits(range(count), fails)) == bad
    if len(bad) == 1:
        assert len(asked) <= 8


@given(st.sets(st.integers(0, 6), min_size=2))
def test_bisecting_finds_what_fails_only_together(bad: set[int]) -> None:
    found = bisect.culprits(range(7), lambda some: bad <= set(some))
    assert bad == set(found)
