"""Ranges mean what they mean to npm, and nothing that a manifest says breaks the run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.bump import ranges

VERSIONS = [
    "0.0.0", "0.0.1-beta", "0.1.0", "0.9.0", "1.0.0-beta.1", "1.0.0-rc.1", "1.0.0-rc.2", "1.0.0",
    "1.0.1-rc.1", "1.0.1", "1.5.0", "2.0.0-0", "2.0.0", "18.0.0", "20.19.5", "22.1.0", "24.19.0",
]  # fmt: skip
STABLE = [version for version in VERSIONS if "-" not in version]


@pytest.mark.parametrize(("text", "expected"), [
    ("", STABLE), ("*", STABLE), ("x.x", STABLE), ("* || 1.0.0-rc.1", STABLE),
    (">=22.0.0", ["22.1.0", "24.19.0"]), (">= 20 <24", ["20.19.5", "22.1.0"]),
    (">=20.19 <21 || >=24", ["20.19.5", "24.19.0"]), ("^18 || ^20 ", ["18.0.0", "20.19.5"]),
    ("18.x", ["18.0.0"]), ("v18", ["18.0.0"]), ("~24.19", ["24.19.0"]), ("=24.19.0", ["24.19.0"]),
    ("1 - 2", ["1.0.0", "1.0.1", "1.5.0", "2.0.0"]), ("^1.0.1", ["1.0.1", "1.5.0"]),
    ("1.0.0-rc.1", ["1.0.0-rc.1"]), ("v1.0.0-rc.1+build.5", ["1.0.0-rc.1"]),
    (">1.0.0-rc.1 <1.0.1", ["1.0.0-rc.2", "1.0.0"]), ("<1.0.0-rc.2 >0.9.0", ["1.0.0-beta.1",
                                                                            "1.0.0-rc.1"]),
    ("~1.0.0-rc.2", ["1.0.0-rc.2", "1.0.0", "1.0.1"]), ("^0.0.1-beta", ["0.0.1-beta"]),
    ("^1.0.1-rc.1", ["1.0.1-rc.1", "1.0.1", "1.5.0"]), ("2.0.0-0", ["2.0.0-0"]),
])  # fmt: skip
def test_a_range_means_what_npm_says(text: str, expected: list[str]) -> None:
    assert ranges.satisfying(VERSIONS, text) == expected


def test_prereleases_count_like_other_versions_where_they_are_asked_for() -> None:
    expected = ["1.0.0-rc.2", "1.0.0", "1.0.1-rc.1", "1.0.1", "1.5.0", "2.0.0-0", "2.0.0"]
    assert ranges.satisfying(VERSIONS, ">1.0.0-rc.1 <=2", prereleases=True) == expected


@pytest.mark.parametrize("text", [
    "- - 0", "lts/*", "latest", ">", "^", "1.2.3.4", "01.2.3", "1.2-beta", "x.1", "1.x.3",
    "1.2.3-01", "||-", "1 -2", "^>0", "9007199254740992.0.0", "a" * 3000, "٣.1.1", "1.2.3\0",
    "node >= 18", "1" * 1_000_000, "latest\n", "\u2028>",
])  # fmt: skip
def test_a_text_that_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a range"):
        ranges.satisfies("1.0.0", text)


def test_what_is_no_version_satisfies_nothing() -> None:
    assert ranges.satisfying(["latest", "1.0", "v1.0.0", "1.0.0\n", "1.0.0"], "*") == ["1.0.0"]


def test_a_dependency_that_is_no_range_is_left_to_npm() -> None:
    assert ranges.any_satisfies([], "npm:other@^1")
    assert not ranges.any_satisfies(["1.0.0"], "^2")
    assert ranges.any_satisfies(["1.0.0", "2.1.0"], "^2")


@settings(deadline=None)
@given(text=st.text(max_size=40), version=st.text(max_size=20))
def test_no_text_causes_another_error(text: str, version: str) -> None:
    try:
        ranges.satisfies(version, text)
    except ValueError:
        return


@pytest.mark.parametrize("unit", ["= ", "v", "1.", "x", "-a", "|", "~> ", "1.2.3-a.", "+a", "1 - "])
def test_reading_a_long_text_takes_no_time(unit: str) -> None:
    """Npm's code reads the longest text that it is given within the limit; longer ones never
    reach it.
    """
    texts = [unit * (size // len(unit)) for size in (ranges.LONGEST, 1_000_000)]
    child = ranges._start_npm()
    start = _cpu_seconds(child.pid) + time.process_time()
    for text in texts:
        try:
            ranges.satisfies("1.0.0", text)
        except ValueError:
            continue
    assert _cpu_seconds(child.pid) + time.process_time() - start < 5


def _cpu_seconds(pid: int) -> float:
    """Of another process; proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
