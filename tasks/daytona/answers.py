"""Reading the JSON of a reply. Whatever has another shape than Daytona's API gives it is one line.

A server behind DAYTONA_API_URL may be another program, another version, or a proxy's page. So no
field is taken for what it should be: each reader checks, and `UnexpectedAnswer` names the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tasks.base.parsing import parse_json
from tasks.base.retry import RemoteFailed
from tasks.daytona.service import DAYTONA

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Final = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class UnexpectedAnswer(RemoteFailed):
    """The reply is not one of Daytona's API as this program knows it. Another try does not help."""

    def __init__(self, doing: str, problem: str) -> None:
        super().__init__(
            f"{doing}: {problem}", kind="rejected", message=problem, fix=DAYTONA.redirect_advice
        )


def parse(doing: str, body: bytes) -> JsonAnswer:
    """The object that a reply is, without fields for an empty reply."""
    if not body.strip():
        return JsonAnswer({}, doing=doing)
    try:
        value = parse_json(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        # Never the text itself: nobody knows what a foreign page repeats.
        raise UnexpectedAnswer(doing, f"the answer is {describe_form(body)}, not an object")
    return JsonAnswer(value, doing=doing)


def is_page(body: bytes) -> bool:
    """Whether it is a web page."""
    return body.lstrip()[:1] == b"<"


def describe_form(body: bytes) -> str:
    """What a body is, without a word of it."""
    if not body.strip():
        return "an empty reply"
    if is_page(body):
        return "a web page"
    try:
        return _KINDS[type(parse_json(body))]
    except ValueError:
        return "a text that is not JSON"


class JsonAnswer:
    """One JSON object. `doing` says in messages what was asked for."""

    def __init__(self, fields: Mapping[str, Any], *, doing: str) -> None:
        self.fields = fields
        self._doing = doing

    def text(self, name: str) -> str:
        """A text that must be there and not be empty."""
        value = self._typed(name, str, required=True)
        if not value:
            raise UnexpectedAnswer(self._doing, f"`{name}` of the answer is empty")
        return str(value)

    def optional_text(self, name: str) -> str:
        value = self._typed(name, str)
        return "" if value is None else str(value)

    def number(self, name: str) -> float | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(name, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self._wrong(name, "a number of a usable size") from None

    def integer(self, name: str) -> int | None:
        number = self.number(name)
        if number is None:
            return None
        if not number.is_integer():
            raise self._wrong(name, "a whole number")
        return int(number)

    def flag(self, name: str) -> bool:
        return bool(self._typed(name, bool))

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._typed(name, list) or []
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(name, "a list of texts")
        return tuple(values)

    def mapping(self, name: str) -> dict[str, str]:
        """An object whose values are texts; others among them are left out."""
        values = self._typed(name, dict) or {}
        return {key: value for key, value in values.items() if isinstance(value, str)}

    def child(self, name: str) -> JsonAnswer:
        """An object within this one, without fields where there is none."""
        return JsonAnswer(self._typed(name, dict) or {}, doing=self._doing)

    def children(self, name: str) -> list[JsonAnswer]:
        """The objects of a list that must be there."""
        values = self._typed(name, list, required=True)
        if not all(isinstance(value, dict) for value in values):
            raise self._wrong(name, "a list of objects")
        return [JsonAnswer(value, doing=self._doing) for value in values]

    def _typed(self, name: str, kind: type, *, required: bool = False) -> Any:
        value = self.fields.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, kind):
            raise self._wrong(name, _KINDS[kind])
        return value

    def _wrong(self, name: str, expected: str) -> UnexpectedAnswer:
        if self.fields.get(name) is None:
            return UnexpectedAnswer(self._doing, f"the answer has no `{name}`")
        return UnexpectedAnswer(self._doing, f"`{name}` of the answer is not {expected}")
