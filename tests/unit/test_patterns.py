"""Every regular expression of the project makes work that grows with the text, not with its
square: logs, files, refs and answers come from outside.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import redaction
from tasks.base.project import ROOT
from tasks.git.secrets import containers, rules, values
from tests.support import regex_attacks, regex_work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.regex_work import Mode

FOLDERS = (
    "tasks", "apps/daemon/iterate_daemon", "apps/daytona-standin/daytona_standin",
    "apps/os/sandbox/lib",
)  # fmt: skip
#: Steps may grow as the text does, and 2.5 times that; the square would be eight times that.
SHORT, LONG, GROWTH = 40, 320, 2.5
STEP_LIMIT = 10 * SHORT**2
#: Of one pattern, so many texts are tried, spread over all that can be made.
ATTACKS = 80
_FUNCTIONS: dict[str, Mode] = {
    "match": "match", "fullmatch": "fullmatch", "search": "search", "sub": "search",
    "subn": "search", "findall": "search", "finditer": "search", "split": "search",
}  # fmt: skip


@dataclass(frozen=True)
class Use:
    """A pattern as one place in the source uses it."""

    location: str
    pattern: re.Pattern[Any]
    mode: Mode


def uses() -> Iterator[Use]:
    for path in _sources():
        yield from _uses_in(path)


def _uses_in(path: Path) -> Iterator[Use]:
    tree = ast.parse(_sources()[path])
    name = path.relative_to(ROOT)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        function = node.func.attr
        is_regex = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
        if is_regex and function in {*_FUNCTIONS, "compile"}:
            mode = _FUNCTIONS.get(function) or _mode_of(tree, node, path)
            yield Use(f"{name}:{node.lineno}", _pattern(node, path), mode)


def _mode_of(tree: ast.Module, call: ast.Call, path: Path) -> Mode:
    """How a compiled pattern is used: `search` unless every use of its name begins at the start."""
    name = next(
        (
            target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is call
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        ),
        None,
    )
    methods = set(_methods(name, path)) if name else set()
    if methods and methods <= {"match", "fullmatch"}:
        return "fullmatch" if methods == {"fullmatch"} else "match"
    return "search"


def _methods(name: str, path: Path) -> list[str]:
    """The methods that are called on a name: in its own file, and of a public one in all."""
    public = name.isupper() and not name.startswith("_")
    texts = _sources() if public else {path: _sources()[path]}
    return [method for text in texts.values() for method in re.findall(rf"\b{name}\.(\w+)\(", text)]


@functools.cache
def _sources() -> dict[Path, str]:
    paths = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return {path: path.read_text() for path in paths}


def _pattern(call: ast.Call, path: Path) -> re.Pattern[Any]:
    """The pattern as the source has it: names in it are those of its module, `x` for a local."""
    names = vars(_module(path)) | {"re": re}
    function = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    place = {"compile": 1, "split": 3, "sub": 4, "subn": 4}.get(function, 2)
    flags = [*call.args[place : place + 1], *(k.value for k in call.keywords if k.arg == "flags")]
    try:
        source = _value(call.args[0], names)
    except NameError:
        source = _value(_WithoutLocals(names).visit(call.args[0]), names)
    return re.compile(source, sum(_value(flag, names) for flag in flags))


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    tree = ast.fix_missing_locations(ast.Expression(node))
    return eval(compile(tree, "<pattern>", "eval"), names)  # noqa: S307 - our own source


class _WithoutLocals(ast.NodeTransformer):
    """What only a call knows stands there as `x`."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def visit_FormattedValue(self, _node: ast.FormattedValue) -> ast.Constant:
        return ast.Constant("x")

    def visit_Name(self, node: ast.Name) -> ast.Name | ast.Constant:
        return node if node.id in self._names else ast.Constant("x")


@functools.cache
def _module(path: Path) -> Any:
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "tasks":
        dotted = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    elif relative.parts[1] in {"daemon", "daytona-standin"}:
        dotted = ".".join(relative.with_suffix("").parts[2:]).removesuffix(".__init__")
    else:
        dotted = relative.stem
    return importlib.import_module(dotted)


USES = list(uses())


def test_patterns_are_found() -> None:
    assert len(USES) > 100
    assert {use.mode for use in USES} == {"search", "match", "fullmatch"}


@pytest.mark.parametrize("use", USES, ids=lambda use: use.location)
def test_a_pattern_makes_linear_work(use: Use) -> None:
    if regex_work.is_bounded(use.pattern):
        return
    _assert_linear(use.pattern, use.mode)


def _assert_linear(pattern: re.Pattern[Any], mode: Mode) -> None:
    texts = list(regex_attacks.attacks(pattern, SHORT, LONG))
    for short, long in texts[:: len(texts) // ATTACKS + 1]:
        short_steps = regex_work.work(pattern, short, mode, limit=STEP_LIMIT)
        assert short_steps <= STEP_LIMIT, f"{short[:60]!r}: more than {STEP_LIMIT} steps"
        limit = int(GROWTH * max(short_steps, len(short)) * len(long) / len(short))
        long_steps = regex_work.work(pattern, long, mode, limit=limit)
        assert long_steps <= limit, f"{short[:60]!r}…: {short_steps} steps, then more than {limit}"


@pytest.mark.parametrize(
    ("slow", "mode"),
    [
        (r"\bsk-(?:proj-|svcacct-)?[\w-]{20,}T3BlbkFJ[\w-]{20}", "search"),
        (r"(?i)(\b[\w-]*(?:token|password)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&]{6,}", "search"),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", "search"),
        (r"(?:a+)+b", "match"),
        (r"(?:a|a)*b", "match"),
        (r"\s+$", "search"),
        (r"<[^>]*>", "search"),
    ],
)
def test_slow_patterns_are_told_from_others(slow: str, mode: Mode) -> None:
    """What was found in use, and the classics."""
    with pytest.raises(AssertionError, match="steps"):
        _assert_linear(re.compile(slow, re.DOTALL), mode)


@pytest.mark.parametrize(
    "quick", [r"a+b?", r"(?:a+;)*", r"\w+(?:-\w+)*+$", r"(?>a+)b", r"<[^<>]*>"]
)
def test_quick_patterns_are_told_from_others(quick: str) -> None:
    _assert_linear(re.compile(quick), "match")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)(b|c)*?d$", "aabcbd"), (r"(?i)[x-z]{2,3}\b", "XyZ zy"), (r"(\w)\1", "abccd"),
        (r"(?<=a)b(?!c)", "abc ab"), (r"^\d+$", "12\n34"), (r"(?:ab|a)*+c", "ababc"),
        (r"[^\s\"]+", 'x "y" z'), (r"a.*?c", "a\nc abc"),
    ],
)  # fmt: skip
def test_the_counter_matches_as_python_does(pattern: str, text: str) -> None:
    for flags in (0, re.MULTILINE | re.DOTALL):
        compiled = re.compile(pattern, flags)
        nodes = list(regex_work.parse(compiled))
        for at in range(len(text) + 1):
            counter = regex_work.Counter(text, compiled.flags, 10**6)
            match = compiled.match(text, at) if "^" not in pattern or at == 0 else None
            if match or "^" not in pattern:
                assert counter.sequence(nodes, at, lambda end: end) == (match and match.end())


#: Many are made of parts, which a reader of the source alone does not see.
SECRET_FORMS = [
    *(form for _, form in rules.CONTENT.values()),
    *(form for forms in rules.TOKENS.values() for _, form in forms),
    rules.BEGINNING, values.KEYED, values.LOOSE, values.URL, values.JWT,
    *containers.FORMS.values(),
]  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "end"),
    [
        (b"sk-", b"T3BlbkFJ"), (b"sk-proj-", b""), (b"T3BlbkFJ", b""), (b"sk-ant-api03-", b""),
        (b"-----BEGIN PRIVATE KEY-----", b""), (b"-----BEGIN A ", b"PRIVATE KEY-----"),
        (b":_authToken" + b" " * 50, b""), (b"ghp_", b""), (b"AKIA", b""), (b"xoxb-", b""),
    ],
)  # fmt: skip
def test_a_file_of_hostile_content_is_scanned_in_linear_work(unit: bytes, end: bytes) -> None:
    def steps(count: int) -> int:
        text = (unit * (count // len(unit)) + end).decode()
        return sum(regex_work.work(form, text, "search") for form in SECRET_FORMS)

    assert steps(1200) <= 5 * steps(300)


def test_each_form_of_a_secret_makes_linear_work() -> None:
    for form in SECRET_FORMS:
        if not regex_work.is_bounded(form):
            _assert_linear(form, "search")


@pytest.mark.parametrize(
    "unit",
    ["a-", "token", "token=", "token = ", "a-token-", "://a:", "://a:b", "sk-", "bearer ",
     "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "-----BEGIN A "],
)  # fmt: skip
def test_a_log_of_hostile_lines_is_redacted_in_linear_work(unit: str) -> None:
    def steps(count: int) -> int:
        text = unit * (count // len(unit))
        return sum(
            regex_work.work(form, text, "search")
            for form in (*redaction.PATTERNS, redaction.KEY_BOUNDARY)
        )

    assert steps(4 * LONG) <= 5 * steps(LONG)
    assert redaction.redact(unit * 100_000)  # minutes, if it was not so
