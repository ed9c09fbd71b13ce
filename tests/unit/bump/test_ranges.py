"""Ranges mean what npm's own code says they mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.bump import ranges
from tasks.bump.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Callable

READABLE = [
    ">=22.0.0", ">= 20", ">=20.19 <21 || >=22", "^18 || >=20", "*", "", "18.x", ">=18.0.0 <=24",
    "v18", "1 - 2", "~24.19", "^24", "<24", ">=24.19.1", "24", ">=18 || ^20 ", ">=v22", "=24.19.0",
    ">=16.0.0  <25", "^20.19.0||^22.12.0||>=24", "1.0.0-rc.1", "=1.0.0-rc.1", "v1.0.0-rc.1",
    "^1.0.0-rc.1", "~1.0.0-rc.1", ">1.0.0-rc.1", ">=1.0.0-rc.1 <1.0.0", "<1.0.0-rc.2",
    "1.0.0-rc.1 - 1.0.1", "1.0.0-rc.1 || 2", "* || 1.0.0-rc.1", ">=0.0.0 || 1.0.0-rc.1",
    "^0.0.1-beta", "~0.1.0-0", "1.0.0-rc.1+build.5", ">=1.0.0-rc.1 >=0.9.0", "x.x", "1.x.x",
    "^1.0.1-rc.2 || ^1.0.0-beta.1",
]  # fmt: skip
UNREADABLE = [
    "- - 0", "lts/*", "latest", ">", "^", "~", "<=", "1.2.3.4", "01.2.3", "1.2-beta", "x.1",
    "1.x.3", "> = 1.2.3", ">==1.2.3", "1.2.3-", "1.2.3-01", "-1", "1..2", "||-", "1 - ", "- 1",
    "1 -2", "^>0", "^ >1.2", "9007199254740992.0.0", "a" * 3000, "٣.1.1", "1.2.3\0", "node >= 18",
]  # fmt: skip
TEXTS = [
    "24.19.0", "22.1.0", "20.19.5", "18.0.0", "1.5.0", "25.0.0", "1.0.0", "1.0.0-rc.1",
    "1.0.0-rc.2", "1.0.0-beta.1", "1.0.1-rc.1", "0.0.1-beta", "0.0.0", "0.0.0-0", "0.1.0-0",
    "2.0.0", "2.0.0-0", "1.0.1", "0.9.0",
]  # fmt: skip

part = st.sampled_from(["0", "1", "2", "3", "x", "X", "*", "00", "20"])
prerelease = st.sampled_from(
    ["", "", "-0", "-rc.1", "-rc.2", "-beta", "-01", "-", "-a.-.b", "-1.0"]
)
partial = st.builds(
    lambda parts, tail, prefix: prefix + ".".join(parts) + tail,
    st.lists(part, min_size=1, max_size=4), prerelease,
    st.sampled_from(["", "", "", "v", "=", "= ", "v ", "=v"]),
)  # fmt: skip
sign = st.sampled_from(["", "", "^", "~", "~>", ">", ">=", "<", "<=", "=", "> ", "^ ", "~ ", "<  "])
word = st.builds(
    lambda s, p, b: s + p + b, sign, partial, st.sampled_from(["", "", "", "+b.1", "*"])
)
soup = st.text("0123.xX*v=<>~^-+| ra\t", max_size=12)
range_text = st.one_of(
    st.lists(st.one_of(word, st.sampled_from(["||", "-", " - ", "", "*"])), max_size=5).map(
        " ".join
    ),
    st.lists(word, max_size=3).map("||".join),
    st.builds(lambda a, b: f"{a} - {b}", partial, partial),
    soup,
)


def read_range(text: str, *, prereleases: bool = False) -> list[bool] | None:
    try:
        reading = Range.parse(text, prereleases=prereleases)
    except ValueError:
        return None
    return [reading.contains(version) for version in TEXTS]


def npms(npm: Callable[..., Any], text: str, *, prereleases: bool = False) -> list[bool] | None:
    options = {"includePrerelease": prereleases}
    if npm("validRange", text, options) is None:
        return None
    return [npm("satisfies", version, text, options) for version in TEXTS]


@pytest.mark.parametrize("prereleases", [False, True])
@pytest.mark.parametrize("text", READABLE)
def test_a_range_means_what_npm_says(
    npm: Callable[..., Any], text: str, *, prereleases: bool
) -> None:
    expected = npms(npm, text, prereleases=prereleases)
    assert expected is not None
    assert read_range(text, prereleases=prereleases) == expected


@settings(max_examples=1500, deadline=None)
@given(text=range_text, prereleases=st.booleans())
def test_any_text_means_what_npm_says(
    npm: Callable[..., Any], text: str, *, prereleases: bool
) -> None:
    assert read_range(text, prereleases=prereleases) == npms(npm, text, prereleases=prereleases)


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_text_that_is_no_range_is_refused(npm: Callable[..., Any], text: str) -> None:
    assert npm("validRange", text) is None
    assert read_range(text) is None


def test_a_prerelease_as_range_takes_only_itself() -> None:
    assert ranges.satisfies("1.0.0-rc.1", "1.0.0-rc.1")
    assert not ranges.satisfies("1.0.0", "1.0.0-rc.1")


@given(text=st.text(max_size=40), version=st.text(max_size=20))
def test_no_text_causes_another_error(text: str, version: str) -> None:
    try:
        ranges.satisfies(version, text)
    except ValueError:
        return


@pytest.mark.parametrize("unit", ["=", " ", "v", "1.", "x", "1.2.3-", "-a", "|", "~> ", "^ ", "> ",
                                  "1.2.3-a.", "0", "*", "+a", "1 - "])  # fmt: skip
def test_reading_a_long_text_takes_no_time(unit: str) -> None:
    """A megabyte is refused at once, and the longest text that is read takes linear time."""
    start = time.process_time()
    for size in (ranges.LONGEST, 1_000_000):
        read_range(unit * (size // len(unit)))
    assert time.process_time() - start < 5
