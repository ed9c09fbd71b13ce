"""JSON and TOML from outside: whatever the text is, a fault in it is a `ValueError`."""

from __future__ import annotations

import json
import tomllib
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value in `text`. Raises `ValueError`, also where Python gives up: brackets nested deeper
    than its stack, numbers of more digits than it converts, bytes that are not Unicode.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """As `parse_json`, for TOML. All values can be shown."""
    try:
        tables = tomllib.loads(text)
        repr(tables)  # `0x` may have any number of digits
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return tables
