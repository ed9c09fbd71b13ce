from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.build import platforms, source
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


def test_the_platform_is_part_of_the_identity(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    arm = source.from_working_tree(repo, build_args={}, platform="linux/arm64")
    intel = source.for_platform(arm, "linux/amd64", build_args={})
    assert arm.identity != intel.identity
    scanned = source.from_working_tree(repo, build_args={}, platform="linux/amd64")
    assert (intel.identity, intel.platform) == (scanned.identity, "linux/amd64")
    default = source.from_working_tree(repo, build_args={})
    assert default.platform == platforms.of_machine()


@pytest.mark.parametrize(
    ("text", "platform"),
    [("linux/ARM64/v8", "linux/arm64"), ("x86_64", "linux/amd64"),
     (" linux/arm/v7 ", "linux/arm/v7"), ("aarch64", "linux/arm64"), ("", None)],
)  # fmt: skip
def test_the_variable_is_read_as_docker_does(text: str, platform: str | None) -> None:
    assert platforms.requested_platform({platforms.VARIABLE: text}) == platform


@pytest.mark.parametrize("text", ["windows/amd64", "linux/", "a/b/c/d", "linux arm64", "linux\n"])
def test_a_platform_that_no_sandbox_has_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a platform that a sandbox can be built for") as caught:
        platforms.normalize(text)
    assert platforms.VARIABLE in str(caught.value)
    assert "\n" not in str(caught.value)
