"""npm's version ranges: which versions satisfy `^1.2.3`, `>=18 <21 || >=22`, `1.2 - 2`.

npm's own code answers (https://github.com/npm/node-semver#ranges), because no library for Python
agrees with it about pre-releases. It runs in one child process, which ends with this one.
"""

from __future__ import annotations

import atexit
import json
import subprocess
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from tasks.base import process
from tasks.base.errors import TaskError
from tasks.base.parsing import parse_json
from tasks.bump import semver
from tasks.bump.registries import npm_program

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Characters of a range that is read; the longest one in a real package of 2026 has 150.
LONGEST: Final = 2000
#: Reads questions and writes answers, one JSON value a line; null means: not a range.
_PROGRAM: Final = """
const semver = require(process.argv[1]);
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const [versions, range, includePrerelease] = JSON.parse(line);
  const options = {includePrerelease};
  const answer = semver.validRange(range, options) === null
    ? null : versions.filter(version => semver.satisfies(version, range, options));
  process.stdout.write(JSON.stringify(answer) + '\\n');
});
"""
_turn: Final = Lock()


def satisfying(versions: Iterable[str], text: str, *, prereleases: bool = False) -> list[str]:
    """Those of `versions` that satisfy npm's range `text`. Raises ValueError where it is not one.

    `prereleases` is npm's `includePrerelease`: a pre-release is treated like any other version.
    """
    answer = None
    if len(text) <= LONGEST:
        question = [[v for v in versions if semver.is_version(v)], text, prereleases]
        answer = _ask_npm(question)
    if answer is None:
        raise ValueError(f"not a range: {text[:80]!r}")
    return [str(version) for version in answer]


def satisfies(version: str, text: str, *, prereleases: bool = False) -> bool:
    """Whether `version` satisfies npm's range `text`. Raises ValueError where that is not one."""
    return bool(satisfying([version], text, prereleases=prereleases))


def any_satisfies(versions: Iterable[str], specifier: str) -> bool:
    """Whether one of the versions fits what a manifest asks of a dependency.

    True as well where the specifier is not a range (a tag, an address, an alias): npm knows.
    """
    try:
        return bool(satisfying(versions, specifier))
    except ValueError:
        return True


def _ask_npm(question: list[object]) -> Any:
    with _turn:
        child = _start_npm()
        try:
            child.stdin.write(json.dumps(question).encode() + b"\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            return parse_json(child.stdout.readline())  # type: ignore[union-attr]
        except (OSError, ValueError) as error:
            raise TaskError("npm's code for version ranges ended without an answer") from error


@cache
def _start_npm() -> subprocess.Popen[bytes]:
    node, modules = npm_program.bundled_node()
    command = [str(node), "-e", _PROGRAM, str(modules / "npm/node_modules/semver")]
    child = process.start(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    atexit.register(child.communicate)  # closes its input, which ends it
    return child
