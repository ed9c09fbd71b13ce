"""GitHub's workflow expressions, as far as ours use them: `${{ needs.a.result == 'success' }}`.

For the rules, which ask whether a condition can ever hold on a fork, and for the rehearsal. What is
not known is an error here, while GitHub takes it for empty: a typing mistake must not pass.
https://docs.github.com/actions/reference/workflows-and-actions/expressions
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<number>-?(?:0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))
      | '(?P<text>(?:[^']|'')*)'
      | (?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<operator>==|!=|<=|>=|&&|\|\||[!<>()\[\].,*])
    )""",
    re.VERBOSE,
)
#: An expression holds no other one, but in a text; in a text two quotes are one.
_TEMPLATE: Final = re.compile(
    r"\$\{\{(?P<body>(?:'(?:[^']|'')*+'|(?!\$\{\{)[^'])*?)\}\}", re.DOTALL
)
_WORDS: Final = {"true": True, "false": False, "null": None}
#: A condition that names none of these holds only while nothing has failed.
_STATUS: Final = re.compile(r"\b(?:success|failure|always|cancelled)\s*\(")


class BadExpression(ValueError):
    """It cannot be read, or names what is not there."""


class Declared(dict[str, Any]):
    """A context whose names are all known, so that another name is a mistake."""


@dataclass(frozen=True)
class Scope:
    """`contexts` by name; `functions` beside the general ones: success() and its kin."""

    contexts: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]


# ── what workflows write ────────────────────────────────────────────────────────────────────


def condition(text: str, scope: Scope) -> bool:
    """An `if:`, with or without `${{ }}`; one without a status function needs success, too."""
    body = text.strip()
    whole = _TEMPLATE.fullmatch(body)
    if whole:
        body = whole["body"]
    elif _TEMPLATE.search(body):
        raise BadExpression(f"text around an expression is always true: {body}")
    if not _STATUS.search(_without_texts(body)):
        body = f"success() && ({body})"
    return truth(evaluate(body, scope))


def template(text: str, scope: Scope) -> Any:
    """`text` with its `${{ }}` filled in; the value itself where it is nothing but one."""
    whole = _TEMPLATE.fullmatch(text.strip())
    if whole:
        return evaluate(whole["body"], scope)
    return _TEMPLATE.sub(lambda match: shown(evaluate(match["body"], scope)), text)


def has_expression(text: str) -> bool:
    return "${{" in text


def bodies(text: str) -> list[str]:
    """The expressions in `text`."""
    return [match["body"].strip() for match in _TEMPLATE.finditer(text)]


def names(body: str) -> list[list[str]]:
    """The paths an expression reads: `a.b == c` → [[a, b], [c]]."""
    found: list[list[str]] = []
    tokens = list(_tokens(body))
    index = 0
    while index < len(tokens):
        kind, value = tokens[index]
        index += 1
        if kind != "name" or value in _WORDS or tokens[index : index + 1] == [("operator", "(")]:
            continue
        path = [value]
        while tokens[index : index + 1] == [("operator", ".")] and index + 1 < len(tokens):
            path.append(tokens[index + 1][1])
            index += 2
        found.append(path)
    return found


def texts(body: str) -> list[str]:
    """The texts that an expression compares with."""
    return [value for kind, value in _tokens(body) if kind == "text"]


def _without_texts(body: str) -> str:
    return re.sub(r"'(?:[^']|'')*+'", "''", body)


# ── values ──────────────────────────────────────────────────────────────────────────────────


def truth(value: Any) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return False
    return value not in (None, False, 0, "") if not isinstance(value, (dict, list)) else True


def shown(value: Any) -> str:
    """As it stands in a text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "Object" if isinstance(value, dict) else "Array"
    return format(value, "g") if isinstance(value, float) else str(value)


def _number(value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value.strip() or 0)
        except ValueError:
            return math.nan
    return math.nan


def same(left: Any, right: Any) -> bool:
    """Loosely, as GitHub has it: 'A' == 'a', and null == ''."""
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold() == right.casefold()
    if isinstance(left, (dict, list)) or isinstance(right, (dict, list)):
        return left is right
    if left is None and right is None:
        return True
    return _number(left) == _number(right)


def _ordered(operator: str, left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        a, b = left.casefold(), right.casefold()
        return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]
    x, y = _number(left), _number(right)
    return {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[operator]


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, list):
        return any(same(one, part) for one in whole)
    return shown(part).casefold() in shown(whole).casefold()


def _format(text: Any, *values: Any) -> str:
    def fill(match: re.Match[str]) -> str:
        if match[0] in {"{{", "}}"}:
            return match[0][0]
        return shown(values[int(match[1])])

    try:
        return re.sub(r"\{\{|\}\}|\{(\d+)\}", fill, shown(text))
    except IndexError:
        raise BadExpression(f"format() has no value for every place of {text!r}") from None


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "contains": _contains,
    "startswith": lambda whole, part: shown(whole).casefold().startswith(shown(part).casefold()),
    "endswith": lambda whole, part: shown(whole).casefold().endswith(shown(part).casefold()),
    "format": _format,
    "join": lambda values, by=",": shown(by).join(map(shown, values)),
    "tojson": lambda value: json.dumps(value, indent=2),
    "fromjson": lambda text: json.loads(shown(text)),
}


# ── reading ─────────────────────────────────────────────────────────────────────────────────


def evaluate(body: str, scope: Scope) -> Any:
    reader = _Reader(body, scope)
    value = reader.either()
    if reader.peek() is not None:
        raise BadExpression(f"cannot be read from `{reader.peek()}` on: {body}")
    return value


def _tokens(body: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(body.rstrip())
    while at < end:
        match = _TOKEN.match(body, at)
        if match is None:
            raise BadExpression(
                f"cannot be read from {body[at:].strip()[:20]!r} on: {body.strip()}"
            )
        kind = str(match.lastgroup)
        yield kind, match[kind].replace("''", "'") if kind == "text" else match[kind]
        at = match.end()


class _Reader:
    """Reads and works it out in one go. Both sides are read of `a && b`, whatever `a` is: so a
    mistake in either is found.
    """

    def __init__(self, body: str, scope: Scope) -> None:
        self._tokens = list(_tokens(body))
        self._at = 0
        self._body = body.strip()
        self._scope = scope

    def peek(self) -> str | None:
        if self._at >= len(self._tokens):
            return None
        kind, value = self._tokens[self._at]
        return value if kind == "operator" else f"{kind} {value}"

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise BadExpression(f"ends too early: {self._body}")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, *operators: str) -> str | None:
        found = self.peek()
        if found in operators:
            self._at += 1
            return found
        return None

    def _must(self, operator: str) -> None:
        if not self._take(operator):
            raise BadExpression(f"`{operator}` is missing: {self._body}")

    def either(self) -> Any:
        value = self._both()
        while self._take("||"):
            other = self._both()
            value = value if truth(value) else other
        return value

    def _both(self) -> Any:
        value = self._equal()
        while self._take("&&"):
            other = self._equal()
            value = other if truth(value) else value
        return value

    def _equal(self) -> Any:
        value = self._compared()
        while operator := self._take("==", "!="):
            value = same(value, self._compared()) == (operator == "==")
        return value

    def _compared(self) -> Any:
        value = self._negated()
        while operator := self._take("<", "<=", ">", ">="):
            value = _ordered(operator, value, self._negated())
        return value

    def _negated(self) -> Any:
        return not truth(self._negated()) if self._take("!") else self._path()

    def _path(self) -> Any:
        value = self._one()
        while operator := self._take(".", "["):
            if operator == "[":
                value = self._within(value, shown(self.either()))
                self._must("]")
                continue
            kind, name = self._next()
            if (kind, name) == ("operator", "*"):
                members = value.values() if isinstance(value, dict) else value
                value = _Several(members if isinstance(value, (dict, list)) else [])
            elif kind == "name":
                value = self._within(value, name)
            else:
                raise BadExpression(f"`.{name}`: {self._body}")
        return list(value) if isinstance(value, _Several) else value

    def _within(self, value: Any, name: str) -> Any:
        if isinstance(value, _Several):
            inner = [self._within(one, name) for one in value]
            return _Several([one for one in inner if one is not None])
        if isinstance(value, list) and name.isdecimal():
            return value[int(name)] if int(name) < len(value) else None
        if not isinstance(value, dict):
            return None
        for key, found in value.items():
            if key.casefold() == name.casefold():
                return found
        if isinstance(value, Declared):
            raise BadExpression(f"there is no `{name}` among {sorted(value)}: {self._body}")
        return None

    def _one(self) -> Any:
        kind, value = self._next()
        if kind == "number":
            return float(int(value, 16)) if "x" in value.lower() else float(value)
        if kind == "text":
            return value
        if (kind, value) == ("operator", "("):
            inner = self.either()
            self._must(")")
            return inner
        if kind != "name":
            raise BadExpression(f"`{value}` stands where a value belongs: {self._body}")
        if value in _WORDS:
            return _WORDS[value]
        if self._take("("):
            return self._called(value)
        if value not in self._scope.contexts:
            raise BadExpression(f"there is no context `{value}`: {self._body}")
        return self._scope.contexts[value]

    def _called(self, name: str) -> Any:
        arguments: list[Any] = []
        while not self._take(")"):
            if arguments:
                self._must(",")
            arguments.append(self.either())
        function = {**FUNCTIONS, **self._scope.functions}.get(name.casefold())
        if function is None:
            raise BadExpression(f"there is no function `{name}` here: {self._body}")
        try:
            return function(*arguments)
        except TypeError:
            raise BadExpression(f"`{name}` does not take that: {self._body}") from None


class _Several(list[Any]):
    """What `.*` stands for, until the path ends."""
