"""Versions are ordered as npm's own code orders them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.bump import semver

if TYPE_CHECKING:
    from collections.abc import Callable

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


@settings(max_examples=1500, deadline=None)
@given(first=version, second=version)
def test_any_two_versions_are_ordered_as_by_npm(
    npm: Callable[..., Any], first: str, second: str
) -> None:
    valid = [npm("valid", text) is not None for text in (first, second)]
    assert [semver.is_version(first), semver.is_version(second)] == valid
    if all(valid):
        a, b = semver.key(first), semver.key(second)
        assert (a > b) - (a < b) == npm("compare", first, second)
        assert a.is_prerelease == bool(npm("prerelease", first))


REAL = [
    "1.2.3-next.20260101.1", "0.0.0-main-20260101123000", "2.0.0-canary.5.abcdef", "1.2.3-beta.1",
    "1.4.2-canary.20260928.1", "0.99.1", "1.0.0-0.dev.3", "24.19.0", "1.2.3+build.5", "1.2.3-rc.10",
    "1.2.3-rc.9", "1.2.3-rc", "1.2.3", "1.2.3-Beta", "1.2.3-0", "0.0.0-dev-202512230000",
]  # fmt: skip


def test_real_versions_are_ordered_as_by_npm(npm: Callable[..., Any]) -> None:
    for first in REAL:
        for second in REAL:
            a, b = semver.key(first), semver.key(second)
            assert (a > b) - (a < b) == npm("compare", first, second), (first, second)


@pytest.mark.parametrize(
    "text",
    ["", "1.2", "1.2.3.4", "v1.2.3", "1.2.3\nRUN evil", "../../x", "01.2.3", "1.2.3-01", "1.2.3-",
     "1.2.3 ", "latest", "1.2.3-é", "٣.1.1", "9007199254740992.0.0", "1.2.3-" + "a" * 300],
)  # fmt: skip
def test_a_text_that_is_no_version_is_refused(text: str) -> None:
    assert not semver.is_version(text)


@pytest.mark.parametrize(("old", "new", "step"), [
    ("1.2.3", "2.0.0", "major"), ("1.2.3", "1.3.0", "minor"), ("1.2.3", "1.2.4", "patch"),
    ("1.2.3-a", "1.2.3", "pre-release"), ("1.2.3-a", "1.2.3-b", "pre-release"),
    ("1.2.3", "1.2.3", "none"), ("2.0.0", "1.9.9", "major"),
])  # fmt: skip
def test_step_names_the_first_number_that_differs(old: str, new: str, step: str) -> None:
    assert semver.step(semver.key(old), semver.key(new)) == step
