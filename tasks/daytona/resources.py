"""What a sandbox gets: CPUs, memory and disk. A sandbox made from a snapshot has the snapshot's."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.base.options import Once
from tasks.base.parsing import parse_toml

if TYPE_CHECKING:
    from pathlib import Path

TABLE: Final = "[tool.sandbox.resources]"
_MOST: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Memory and disk are in GB. Agents build and test in a sandbox: Daytona's own defaults are
    1, 1 and 3, its usual limits 4, 8 and 10.
    """

    cpu: int = 2
    memory: int = 4
    disk: int = 10

    def __str__(self) -> str:
        return describe_resources(self.cpu, self.memory, self.disk)

    @property
    def slug(self) -> str:
        """For names."""
        return f"{self.cpu}x{self.memory}x{self.disk}"

    def options(self) -> dict[str, int]:
        """What Daytona is asked for."""
        return asdict(self)


def describe_resources(cpu: float, memory: float, disk: float) -> str:
    return f"{cpu:g} CPUs, {memory:g} GB memory and {disk:g} GB disk"


NAMES: Final = tuple(field.name for field in fields(Resources))


def add_resources(parser: argparse.ArgumentParser) -> None:
    """`--cpu`, `--memory` and `--disk`."""
    units = {"cpu": "CPUs", "memory": "GB of memory", "disk": "GB of disk"}
    for name in NAMES:
        parser.add_argument(
            f"--{name}",
            action=Once,
            type=count,
            metavar="N",
            help=f"{units[name]} of each sandbox; else {name} in {TABLE} of pyproject.toml, else"
            f" {getattr(Resources(), name)}",
        )


def from_options(options: argparse.Namespace, pyproject: Path) -> Resources:
    """The options, else the table of `pyproject`, else the defaults. Raises `BadInput`."""
    values = {name: value for name in NAMES if (value := getattr(options, name, None)) is not None}
    return replace(read_table(pyproject), **values)


def read_table(pyproject: Path) -> Resources:
    """What the file says. A file that is not there says nothing."""
    try:
        document = parse_toml(pyproject.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Resources()
    except (OSError, ValueError) as error:
        problem = console.printable(str(error))[:120]
        raise BadInput(f"{pyproject} cannot be read: {problem}", fix="correct it") from None
    table: Any = document
    path = ["tool", "sandbox", "resources"]
    for depth, key in enumerate(path, 1):
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise BadInput(
                f"{'.'.join(path[:depth])} of {pyproject} is not a table",
                fix=f"write {TABLE} with {', '.join(NAMES)}",
            )
    for key, value in table.items():
        _check(key, value, pyproject)
    return Resources(**table)


def _check(key: str, value: Any, pyproject: Path) -> None:
    shown = console.printable(f"{key} = {value!r}")[:80]
    if key not in NAMES:
        raise BadInput(
            f"{shown} in {TABLE} of {pyproject} is unknown", fix=f"it may have {', '.join(NAMES)}"
        )
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise BadInput(
            f"{shown} in {TABLE} of {pyproject} is not a whole number from 1 to {_MOST}",
            fix=f"write {key} = {getattr(Resources(), key)}, for instance",
        )


def count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"not a whole number from 1 to {_MOST}")
    return value
