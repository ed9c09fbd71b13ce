"""What may replace a pin, as the project decides it: `[tool.sandbox.pins]` in pyproject.toml."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tasks.base.errors import BadInput
from tasks.base.parsing import parse_toml
from tasks.bump import ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

PinOrigin = Literal["npm", "pypi"]

_TABLE: Final = "[tool.sandbox.pins] in pyproject.toml"
#: Days; a date that is moved by more is beyond what a calendar holds.
_LONGEST_COOL_DOWN: Final = 10_000


@dataclass(frozen=True)
class PinPolicy:
    """What may replace a pin. `[tool.sandbox.pins]` overrides it for all pins, a table below it,
    named like the variable, for one.
    """

    #: Days since publication: malicious releases of 2025 and 2026 lived for hours.
    cool_down: float = 3.0
    #: "" for no limit. Clauses with commas between them, as in `>=24,<25`: each is a range of npm
    #: for a package of npm, and a specifier of PEP 440 for one of PyPI.
    allowed: str = ""
    prereleases: bool = False

    def allows(self, text: str, key: Version, origin: PinOrigin) -> bool:
        """Whether a version is within the allowed range. Pre-releases are judged elsewhere."""
        if not self.allowed:
            return True
        if origin == "pypi":
            return SpecifierSet(self.allowed).contains(key, prereleases=True)
        return all(_meets(text, clause) for clause in self.allowed.split(","))


DEFAULT_POLICY: Final = PinPolicy()


def _meets(version: str, clause: str) -> bool:
    """Whether a version meets one clause for a package of npm; `==`, `!=` and `~=` mean what they
    mean in Python. Raises ValueError where the clause cannot be read.
    """
    text = clause.strip()
    is_excluded = text.startswith("!=")
    text = text.removeprefix("!=")
    if text.startswith("=="):
        text = text.lstrip("=")
    if text.startswith("~="):
        text = _compatible(text[2:].strip())
    if not text:
        raise ValueError(f"not a range: {clause!r}")
    return ranges.satisfies(version, text, prereleases=True) != is_excluded


def _compatible(version: str) -> str:
    """`1.4.2` → `>=1.4.2 <1.5`: PEP 440's compatible release."""
    *parts, _ = version.partition("-")[0].split(".")
    if not parts or not parts[-1].isdecimal():
        raise ValueError(f"not a version with two parts or more: {version!r}")
    return f">={version} <{'.'.join([*parts[:-1], str(int(parts[-1]) + 1)])}"


def read_overrides(
    pyproject: str, defaults: Mapping[str, tuple[PinOrigin, PinPolicy]]
) -> dict[str, PinPolicy]:
    """The policy of each variable in `defaults`. Raises `BadInput` for what makes no sense."""
    table = _pins_table(pyproject)
    common = {key: value for key, value in table.items() if key not in defaults}
    policies = {}
    for variable, (origin, policy) in defaults.items():
        overridden = _override(policy, common, origin)
        policies[variable] = _override(overridden, table.get(variable, {}), origin)
    return policies


def _pins_table(pyproject: str) -> dict[str, Any]:
    try:
        table: Any = parse_toml(pyproject)
    except ValueError as error:
        raise BadInput(f"pyproject.toml: {error}") from error
    for name in ("tool", "sandbox", "pins"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise BadInput(f"pyproject.toml: `{name}` of [tool.sandbox.pins] is not a table")
    result: dict[str, Any] = table
    return result


def _override(policy: PinPolicy, table: Any, origin: PinOrigin) -> PinPolicy:
    if not isinstance(table, dict):
        raise BadInput(f"{_TABLE}: a pin's settings are a table, not {table!r}")
    names = {field.name.replace("_", "-"): field.name for field in fields(PinPolicy)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            raise BadInput(
                f"{_TABLE}: `{key}` is neither a pin nor a setting",
                fix=f"settings: {', '.join(names)}",
            )
        setting = float(value) if type(value) is int else value
        if not _fits(setting, getattr(policy, names[key])):
            raise BadInput(f"{_TABLE}: `{key}` cannot be {value!r}")
        values[names[key]] = setting
    overridden = replace(policy, **values)
    _check_allowed(overridden, origin)
    return overridden


def _fits(value: Any, default: Any) -> bool:
    if type(value) is not type(default):
        return False
    return not isinstance(value, float) or 0 <= value < _LONGEST_COOL_DOWN


def _check_allowed(policy: PinPolicy, origin: PinOrigin) -> None:
    try:
        if origin == "pypi":
            SpecifierSet(policy.allowed)
        elif policy.allowed:
            for clause in policy.allowed.split(","):
                _meets("0.0.0", clause)
    except (InvalidSpecifier, ValueError) as error:
        raise BadInput(f"{_TABLE}: `allowed` cannot be {policy.allowed!r}") from error
