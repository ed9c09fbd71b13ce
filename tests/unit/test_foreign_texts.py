"""Every parser of texts from outside answers in its own words, whatever the text is, and the work
that it makes grows with the text.
"""

from __future__ import annotations

import ast
import contextlib
import json
import string
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base import console, envfile, identity, markdown, parsing, proxies, redaction, retry
from tasks.base.errors import BadInput, TaskError
from tasks.base.project import ROOT
from tasks.build import build_log, builder, dockerfile, dockerfile_env, layer_cache
from tasks.bump.dependency_tree import DependencyTree
from tasks.bump.registries import npm, pypi
from tasks.daytona import answers, resources
from tasks.daytona.ledger_entry import LedgerEntry
from tasks.daytona.naming import SnapshotName
from tasks.engine.engine import version_numbers
from tasks.git import attributes, commits, indexfile
from tasks.git.secrets import findings, rules
from tasks.github import events
from tasks.sandbox import guest_exec, readiness
from tasks.setup import apt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NESTED = "[" * 100_000
NUMBER = "9" * 5_000


def fed(text: str) -> None:
    log = build_log.Build()
    for line in text.splitlines():
        log.feed(line)
    console.seconds(sum(step.seconds for step in log.steps.values()))


def of_a_file(read: Callable[[Path], object], text: str, *, folder: Path) -> None:
    file = folder / "pyproject.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    read(file)


def event(payload: Any, name: str = "pull_request") -> None:
    if isinstance(payload, dict):
        occasion = events.Event(
            name=name, payload=payload, repository="a/b", ref="refs/heads/x",
            resolve=lambda ref: ("a" * 40, ref),
        )  # fmt: skip
        events.plan(occasion, production=False)


class Reader(NamedTuple):
    """`faults` are what it may raise; `units` are pieces that its texts are made of."""

    read: Callable[[str], object]
    units: tuple[str, ...]
    faults: tuple[type[Exception], ...] = (TaskError,)


def raw(read: Callable[[bytes], object]) -> Callable[[str], object]:
    return lambda text: read(text.encode("utf-8", "surrogateescape"))


JSON = ("[", "]", '{"a":', "}", ",", '"', "1", "null", '"\\ud800"', "\\", NUMBER, NESTED)
TOML = ("[tool.sandbox]\n", "[tool.sandbox.secrets]\n", "[tool]\n", "sandbox = ", "allow = ",
        "name = ", "uid = ", "cpu = ", "[tool.sandbox.resources]\n", "0x" + "f" * 6_000, NUMBER,
        '"a\\u0007"', "'''", "{", "}", "[", "]", "\n", ",", "1979-05-27", "nan",
        NESTED)  # fmt: skip
PARSERS = {
    "JSON": Reader(parsing.parse_json, JSON, (ValueError,)),
    "TOML": Reader(parsing.parse_toml, TOML, (ValueError,)),
    "identity": Reader(identity.parse, TOML),
    "allowed secrets": Reader(findings.read_allowed, TOML),
    "environment file": Reader(
        raw(envfile.parse), ("A", "=", '"', "'", "\n", "\\", "#", " ", "export ", "\0", "$", "\r"),
    ),
    "Dockerfile": Reader(
        dockerfile.lint, ("RUN ", "COPY ", "[", '["a", "b"]', "<<E\n", "E\n", "\\\n", "# x=", "'",
                          "ENTRYPOINT ", "FROM x", "ENV a=", "--from=", "\n", NUMBER, NESTED),
    ),
    "ENV lines": Reader(
        dockerfile_env.definitions, ("ENV ", "A=1 ", "\\\n", "\\", '"', "'", " ", "\n",
                                     "# escape=`", "RUN <<E\n", "E\n"),
    ),
    "build log": Reader(fed, ("#1 ", "[a 1/2] ", "DONE ", "1.0s", "\n", "ERROR: ", "#", NUMBER)),
    "builder": Reader(builder.parse, ("Name:", "Driver:", "Nodes:", " a", "\n", ": ", "Endpoint:")),
    "layer cache": Reader(layer_cache.parse, ("type=", "local", ",", "dest=", "src=", "=", "gha")),
    "answer of Daytona": Reader(raw(partial(answers.parse, "x")), JSON),
    "entry of the ledger": Reader(LedgerEntry.from_message, ("\n\n", '{"snapshot":', *JSON)),
    "name of a snapshot": Reader(
        SnapshotName.parse, ("prd--", "20260116-230007", "-", "a", NUMBER),
    ),
    "package of npm": Reader(raw(lambda body: npm.parse(body, "x")), JSON),
    "package of PyPI": Reader(raw(lambda body: pypi.parse(body, "x")), JSON),
    "lock of npm": Reader(
        lambda text: DependencyTree.parse(text, "x"), ('{"packages":', '"":', *JSON), (ValueError,)
    ),
    "version of an engine": Reader(version_numbers, ("1", ".", "v", "+", NUMBER)),
    "index": Reader(
        raw(lambda text: list(indexfile._entries(text))),
        (f"100644 {'a' * 40} 0\t", "a\0", "  ctime: 1:2\n" * 4 + "  size: 1\tflags: 0\n", "\0",
         "\t", " "),
    ),
    "attributes": Reader(raw(attributes._parse), ("a\0", "text\0", "set\0", "\0", "\n")),
    "commit": Reader(
        raw(commits.parse), ("tree a\n", "committer A <a> ", NUMBER, "\n\n", "parent ", "<", ">"),
    ),
    "reply of a guest": Reader(guest_exec.parse, (guest_exec._PREFIX, "\n", '"status":', *JSON)),
    "services given up": Reader(readiness.parse_given_up, ("a", ":", " ", "\n", "/")),
    "no_proxy": Reader(
        lambda text: list(proxies._entries(text)), ("a.b", ",", "[::1]", ":", NUMBER, "*", " "),
    ),
    "Retry-After": Reader(
        lambda text: console.seconds(retry.asked_to_wait({"Retry-After": text}) or 0),
        (NUMBER, ".", "Wed, 21 Oct 2015 07:28:00 GMT", " ", "-0000"),
    ),
    "event": Reader(
        lambda text: event(parsing.parse_json(text)),
        ('{"pull_request":', '{"number":', '"x"', *JSON), (TaskError, ValueError),
    ),
    "packages of apt": Reader(apt.parse_policy, ("a:\n", "  Candidate: 1\n", "Candidate:", "\n")),
    "table in Markdown": Reader(markdown.code, ("`", "|", "\n", "<", "a")),
    "log to redact": Reader(
        redaction.redact, ("token=", "a", "-", "://a:b@", "Bearer ", "ghp_", "=", " ", "\n",
                           "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"),
    ),
    "line to print": Reader(console.printable_lines, ("\x1b[1m", "\udc80", "\n", "a", "\u202e")),
    "file to search for secrets": Reader(
        raw(lambda text: rules.by_content(text, b".npmrc")),
        ("ghp_", "a1B2" * 9, "sk-", "T3BlbkFJ", "eyJ", ".", "://", "a:b@",
         "-----BEGIN PRIVATE KEY-----", "token=", '"password": "', "key", "\0", "_auth=", " ", "\n",
         "x1Y" * 9, '"kty"', "=="),
    ),
}  # fmt: skip


def accept(parser: Reader, text: str) -> None:
    with contextlib.suppress(*parser.faults):
        parser.read(text)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_any_text_gets_an_answer(parser: Reader) -> None:
    for unit in parser.units:
        for second_unit in parser.units:
            accept(parser, unit + second_unit)
    accept(parser, "".join(parser.units))

    @settings(max_examples=60)
    @given(st.lists(st.sampled_from([*parser.units, *string.punctuation, "a", "1"]), max_size=12))
    def answer(parts: list[str]) -> None:
        accept(parser, "".join(parts))

    @settings(max_examples=30)
    @given(st.binary(max_size=60))
    def answer_to_bytes(content: bytes) -> None:
        accept(parser, content.decode("utf-8", "surrogateescape"))

    answer()
    answer_to_bytes()


SHORT, TIMES, GROWTH = 4_000, 16, 64
#: Seconds of processor time; less is noise.
NOISE = 0.001


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_work_grows_with_the_text(parser: Reader) -> None:
    """Of a text 16 times as long, 16 times the work; the square would be 256 times. Compared within
    this process, by its own processor time.
    """
    for unit in (unit for unit in parser.units if len(unit) < 200):
        for end in ("", "x"):
            # Once is enough: other work on the machine can only make a measurement worse.
            is_linear = any(growth(parser, unit, end) <= GROWTH for _ in range(5))
            assert is_linear, f"{unit!r} repeated, then {end!r}"


def growth(parser: Reader, unit: str, end: str) -> float:
    short, long = (f"{unit * (size // len(unit))}{end}" for size in (SHORT, SHORT * TIMES))
    return seconds(parser, long) / max(seconds(parser, short), NOISE)


def test_a_parser_that_is_too_slow_is_noticed() -> None:
    square = Reader(lambda text: [text[at:].count("b") for at in range(len(text))], ("a",))
    assert growth(square, "a", "") > GROWTH


def seconds(parser: Reader, text: str) -> float:
    start = time.process_time()
    accept(parser, text)
    return time.process_time() - start


VALUES = st.recursive(
    st.text(string.printable[:94], max_size=6).map(json.dumps)
    | st.integers(-(2**63), 2**63 - 1).map(str)
    | st.sampled_from(["true", "nan", "1979-05-27", "1.5", '""', '"*"']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    | st.dictionaries(st.sampled_from(["allow", "cpu", "name", "x"]), inner, max_size=2).map(
        lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
    ),
    max_leaves=4,
)  # fmt: skip
KEYS = ["tool", "tool.sandbox", "tool.sandbox.secrets", "tool.sandbox.secrets.allow",
        "tool.sandbox.resources", "tool.sandbox.resources.cpu", "tool.sandbox.uid",
        "tool.sandbox.origin", "tool.sandbox.bump", "tool.sandbox.user"]  # fmt: skip


@given(key=st.sampled_from(KEYS), value=VALUES)
def test_settings_of_any_shape_are_used_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    text = f"{key} = {value}\n"
    folder = tmp_path_factory.getbasetemp()
    for read in (
        identity.parse, findings.read_allowed,
        partial(of_a_file, resources.read_table, folder=folder),
        partial(of_a_file, identity.read, folder=folder),
    ):  # fmt: skip
        refusal = ""
        try:
            read(text)
        except BadInput as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert len(refusal) < 2_000


def test_json_and_toml_are_read_in_one_place() -> None:
    """Else a text that is nested too deeply ends in a traceback."""
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tasks").rglob("*.py")
        if path.name != "parsing.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"json.loads", "tomllib.loads"}
    ]
    # What runs in the guest has nothing of ours; the stand-in is a child of ours.
    assert [call for call in calls if "guest_exec" not in call and "stand_in" not in call] == []
