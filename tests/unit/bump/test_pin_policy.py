"""What pyproject.toml may say about the pins, and what it means."""

from __future__ import annotations

import pytest

from tasks.base.errors import BadInput
from tasks.bump import pins, semver
from tasks.bump.pin_policy import PinPolicy


def test_overrides_apply_to_all_pins_and_to_one() -> None:
    text = """
    [tool.sandbox.pins]
    cool-down = 7
    [tool.sandbox.pins.SANDBOX_BUN_VERSION]
    allowed = "<2"
    cool-down = 1.5
    """
    by_name = {pin.name: pin.policy for pin in pins.with_overrides(text)}
    assert by_name["bun"] == PinPolicy(cool_down=1.5, allowed="<2")
    assert by_name["node"] == PinPolicy(cool_down=7, allowed=">=24,<25")
    assert pins.with_overrides("") == pins.PINS


@pytest.mark.parametrize("table", [
    "cooldown = 1", "cool-down = '3'", "cool-down = -1", "cool-down = true", "prereleases = 1",
    "allowed = '>>1'", "SANDBOX_BUN_VERSION = 3", "SANDBOX_BUM_VERSION = {}", "allowed = 3",
])  # fmt: skip
def test_overrides_that_make_no_sense_are_refused(table: str) -> None:
    with pytest.raises(BadInput, match="pyproject"):
        pins.with_overrides(f"[tool.sandbox.pins]\n{table}\n")


@pytest.mark.parametrize(("allowed_range", "version", "is_allowed"), [
    (">=1,<2", "1.5.0", True), (">=1,<2", "2.0.0", False), (">=1,<2", "2.0.0-rc.1", False),
    ("^1.4.0", "1.9.0", True), ("1.x || 3.x", "3.1.0", True), ("==1.0.*", "1.0.7", True),
    ("==1.0.*", "1.1.0", False), ("!=1.4.2", "1.4.2", False), ("!=1.4.2", "1.4.3", True),
    (">=1,!=1.4.*", "1.4.9", False), ("~=1.4.2", "1.4.9", True), ("~=1.4.2", "1.5.0", False),
    ("~=1.4", "1.9.0", True), ("~=1.4", "2.0.0", False), ("1.0.0-rc.1", "1.0.0", False),
    ("1.0.0-rc.1", "1.0.0-rc.1", True), (">1.0.0-rc.1", "1.0.0-rc.2", True),
    ("<1.0.0-rc.2", "1.0.0-rc.3", False), ("<1.0.0-rc.2", "1.0.0-rc.1", True), ("", "9.9.9", True),
])  # fmt: skip
def test_the_allowed_range_of_an_npm_pin_is_a_range_of_npm(
    allowed_range: str, version: str, *, is_allowed: bool
) -> None:
    assert (
        PinPolicy(allowed=allowed_range).allows(version, semver.key(version), "npm") == is_allowed
    )


@pytest.mark.parametrize(("variable", "allowed_range"), [
    ("SANDBOX_BUN_VERSION", "- - 0"), ("SANDBOX_BUN_VERSION", ">=1,"), ("SANDBOX_UV_VERSION", "^1"),
    ("SANDBOX_BUN_VERSION", "~=1"), ("SANDBOX_UV_VERSION", "1.x"),
])  # fmt: skip
def test_an_allowed_range_of_the_other_registry_is_refused(
    variable: str, allowed_range: str
) -> None:
    with pytest.raises(BadInput, match="`allowed` cannot be"):
        pins.with_overrides(f"[tool.sandbox.pins.{variable}]\nallowed = '{allowed_range}'\n")


@pytest.mark.parametrize("text", [
    "tool = 3", "[tool]\nsandbox = []", "[tool.sandbox]\npins = 'x'", "[tool.sandbox.pins",
    "[[tool.sandbox.pins]]", "a = " + "[" * 5000,
])  # fmt: skip
def test_a_pyproject_of_any_shape_is_one_error(text: str) -> None:
    with pytest.raises(BadInput, match="pyproject"):
        pins.with_overrides(text)
