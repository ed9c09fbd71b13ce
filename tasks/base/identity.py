"""The identity of this project: what it is called, and where things are in its image.

It stands in the table `[tool.sandbox]` of pyproject.toml, and docs/make-it-yours.md says how to
change it. What cannot read that table is compared with it by tasks/testing/identity_check.py.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.base.parsing import parse_toml

if TYPE_CHECKING:
    from pathlib import Path

TABLE: Final = "[tool.sandbox] in pyproject.toml"

#: Key of the table → the whole of a valid value, and how the error calls it.
_TEXTS: Final = {
    "name": (re.compile(r"\A[A-Za-z0-9]+(?: [A-Za-z0-9]+)*"), "words of letters and digits"),
    "image": (
        re.compile(r"\A[a-z0-9]+(?:[._/-][a-z0-9]+)*"),
        "the name of an image, without a tag",
    ),
    "user": (
        re.compile(r"\A[a-z][a-z0-9-]{0,30}"),
        "a user's name: lower-case letters, digits, hyphens",
    ),
    "repository": (
        re.compile(r"\A[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)+", re.ASCII),
        "at least two folders below the home directory, such as src/monorepo",
    ),
    "origin": (
        re.compile(r"\A[^\s@]+", re.ASCII),
        "an address for `git fetch`, without a user or password",
    ),
    "label": (
        re.compile(r"\A[a-z0-9]+(?:[.-][a-z0-9]+)+"),
        "a domain name in reverse, such as com.example.sandbox",
    ),
}
_NUMBERS: Final = {
    "uid": (1000, 59999),  # below are system users; useradd(8), UID_MAX of Debian is 60000
    "daemon-port": (1024, 65535),
    "opencode-port": (1024, 65535),
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """`image` has no tag. `repository` is the folder of the repository below the home directory of
    `user`. `label` is the prefix of all labels that this project puts on what it creates.
    """

    name: str = "iterate sandbox"
    image: str = "iterate-sandbox"
    user: str = "iterate"
    uid: int = 1000
    repository: str = "src/github.com/iterate/iterate"
    origin: str = "https://github.com/iterate/iterate.git"
    label: str = "dev.iterate.sandbox"
    daemon_port: int = 3000
    opencode_port: int = 4096

    @property
    def slug(self) -> str:
        """The name where only letters, digits and hyphens may stand."""
        return self.name.lower().replace(" ", "-")

    @property
    def home(self) -> str:
        return f"/home/{self.user}"


def read(pyproject: Path) -> Identity:
    """The identity in a pyproject.toml. Raises `BadInput` for a value that cannot be used."""
    try:
        text = pyproject.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{pyproject} cannot be read: {error}", fix="correct it") from error
    return parse(text)


def parse(pyproject: str) -> Identity:
    """As `read`, of the file's text. A key that is missing has its default."""
    try:
        table: Any = parse_toml(pyproject)
    except ValueError as error:
        raise BadInput(f"pyproject.toml is not valid TOML: {error}") from error
    for name in ("tool", "sandbox"):
        table = table.get(name, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise BadInput(f"{TABLE} is not a table")
    keys = {field.name.replace("_", "-") for field in fields(Identity)}
    settings = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if unknown := sorted(settings.keys() - keys):
        raise BadInput(
            f"{TABLE}: unknown key `{console.printable(unknown[0])[:80]}`",
            fix=f"the keys are: {', '.join(sorted(keys))}",
        )
    values = {key.replace("-", "_"): _valid(key, value) for key, value in settings.items()}
    identity = Identity(**values)
    if identity.daemon_port == identity.opencode_port:
        raise BadInput(f"{TABLE}: daemon-port and opencode-port are the same")
    return identity


def _valid(key: str, value: object) -> Any:
    if key in _TEXTS:
        pattern, description = _TEXTS[key]
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
    else:
        low, high = _NUMBERS[key]
        description = f"a number from {low} to {high}"
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
    raise BadInput(f"{TABLE}: `{key}` is {reprlib.repr(value)}", fix=f"it has to be {description}")
