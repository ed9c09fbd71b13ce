"""Compares the project's identity, `[tool.sandbox]` in pyproject.toml, with the files that cannot
read it: the Dockerfile, shell scripts, what agents find in their home, the documentation.

A rule is a pattern whose group is a value of the identity, wherever it matches in the rule's files.
A rule that matches nowhere in one of them is a fault, too: it would no longer check anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import console, files, identity
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.base.identity import Identity

_LISTED_PLACES: Final = 20

_SANDBOX: Final = "apps/os/sandbox"
_DOCKERFILE: Final = f"{_SANDBOX}/Dockerfile"
_AGENTS_MD: Final = f"{_SANDBOX}/home-skeleton/AGENTS.md"
_CLAUDE_JSON: Final = f"{_SANDBOX}/home-skeleton/.claude.json"
_ENVIRONMENT: Final = f"{_SANDBOX}/lib/environment.py"
_HEALTH: Final = f"{_SANDBOX}/lib/health.sh"
_DAEMON_RUN: Final = f"{_SANDBOX}/s6-daemons/iterate-daemon/run"
_OPENCODE_RUN: Final = f"{_SANDBOX}/s6-daemons/opencode/run"
_DAEMON_CONFIG: Final = "apps/daemon/iterate_daemon/config.py"
_VITE_CONFIG: Final = "apps/daemon/web/vite.config.ts"
_OVERVIEW: Final = "docs/images/overview.svg"
#: Where a path of the image goes on below the repository, or ends.
_PATH_END: Final = r"(?=/(?:apps|node_modules)\b|[^\w./-]|$)"
_HOME: Final = r"/home/(\w[\w-]*)"


_FLAGS: Final = re.MULTILINE | re.ASCII


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`key` is a field of `Identity`. `pattern` has one group or more, and each is that value.

    It has to match in each of `paths`; with `in_documents` it may match in the documentation, too.
    """

    key: str
    pattern: re.Pattern[str]
    paths: tuple[str, ...]
    in_documents: bool = False

    def matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Where in `text` the value stands: start and end, in order."""
        for match in self.pattern.finditer(text):
            for number, group in enumerate(match.groups(), 1):
                if group is not None:
                    yield match.span(number)

    def files(self, root: Path) -> list[str]:
        """The files it is applied to, relative to `root`."""
        paths = [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]
        documents = [str(path.relative_to(root)) for path in paths]
        return list(dict.fromkeys([*self.paths, *(documents if self.in_documents else [])]))


RULES: Final = (
    Rule(
        key="slug",
        pattern=re.compile(r'^\[project\]\nname = "(.+)"', _FLAGS),
        paths=("pyproject.toml",),
    ),
    Rule(key="slug", pattern=re.compile(r'^  "name": "(.+)"', _FLAGS), paths=("package.json",)),
    Rule(
        key="slug",
        pattern=re.compile(r"target=/root/\.cache/(\w{1,40}(?:-\w{1,40}){1,8}) ", _FLAGS),
        paths=(_DOCKERFILE,),
    ),
    Rule(key="name", pattern=re.compile(r'image\.title="(.+?)"', _FLAGS), paths=(_DOCKERFILE,)),
    Rule(
        key="name",
        pattern=re.compile(r"^\tname = (.+)$", _FLAGS),
        paths=(f"{_SANDBOX}/home-skeleton/.config/git/config",),
    ),
    Rule(key="name", pattern=re.compile(r"^# (.+)$\n\n[^#\n]", _FLAGS), paths=("README.md",)),
    Rule(
        key="name",
        pattern=re.compile(r"^Copyright \(c\) \d{4} The (.{1,80}) authors$", _FLAGS),
        paths=("LICENSE",),
    ),
    Rule(
        key="label",
        pattern=re.compile(r"labels below `([\w.-]+)`", _FLAGS),
        paths=("CONTRIBUTING.md",),
    ),
    Rule(
        key="image",
        pattern=re.compile(r"(?<![\w./-])([a-z0-9][\w./-]*):local(?![\w-])", _FLAGS),
        paths=("README.md", "noxfile.py"),
        in_documents=True,
    ),
    Rule(
        key="user", pattern=re.compile(_HOME, _FLAGS), paths=(_DOCKERFILE, f"{_SANDBOX}/entry.sh")
    ),
    Rule(
        key="user",
        pattern=re.compile(_HOME, _FLAGS),
        paths=(_ENVIRONMENT, _CLAUDE_JSON),
        in_documents=True,
    ),
    Rule(
        key="user",
        pattern=re.compile(
            r"(?:/bin/bash |printf '|/sudoers\.d/|-o |-g |runuser -u |^USER )(\w[\w-]*)", _FLAGS
        ),
        paths=(_DOCKERFILE,),
    ),
    Rule(
        key="user",
        pattern=re.compile(r"the user `([\w-]+)` \(uid", _FLAGS),
        paths=("docs/running.md",),
    ),
    Rule(key="uid", pattern=re.compile(r"` \(uid (\d+)\)", _FLAGS), paths=("docs/running.md",)),
    Rule(key="uid", pattern=re.compile(r"--uid (\d+)", _FLAGS), paths=(_DOCKERFILE,)),
    Rule(key="uid", pattern=re.compile(r"--chown=(\d+):(\d+)", _FLAGS), paths=(_DOCKERFILE,)),
    Rule(
        key="repository",
        pattern=re.compile(r"/home/[\w-]+/(\w[\w./-]*?)" + _PATH_END, _FLAGS),
        paths=(_DOCKERFILE, _CLAUDE_JSON),
    ),
    Rule(
        key="repository",
        pattern=re.compile(r"\{home\}/(\w[\w./-]+)\"", _FLAGS),
        paths=(_ENVIRONMENT,),
    ),
    Rule(
        key="repository",
        pattern=re.compile(r"~/(\w[\w./-]*)`, with its git", _FLAGS),
        paths=(_AGENTS_MD,),
    ),
    Rule(
        key="repository",
        pattern=re.compile(r"S6DIR=~/(\w[\w./-]*?)/apps/", _FLAGS),
        paths=(),
        in_documents=True,
    ),
    Rule(key="daemon_port", pattern=re.compile(r"^EXPOSE (\d+) \d+", _FLAGS), paths=(_DOCKERFILE,)),
    Rule(
        key="opencode_port", pattern=re.compile(r"^EXPOSE \d+ (\d+)", _FLAGS), paths=(_DOCKERFILE,)
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(r"127\.0\.0\.1:(\d+)/readyz", _FLAGS),
        paths=(_HEALTH, _AGENTS_MD),
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(r"`iterate-daemon` \| (\d+)", _FLAGS),
        paths=(_AGENTS_MD,),
    ),
    Rule(
        key="opencode_port", pattern=re.compile(r"`opencode` \| (\d+)", _FLAGS), paths=(_AGENTS_MD,)
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(r"DAEMON_PORT=(\d+)|on port (\d+)", _FLAGS),
        paths=(_DAEMON_RUN,),
    ),
    Rule(
        key="opencode_port",
        pattern=re.compile(r"GATEWAY_PORT=(\d+)|OpenCode, on (\d+)", _FLAGS),
        paths=(_DAEMON_RUN,),
    ),
    Rule(
        key="opencode_port",
        pattern=re.compile(r"on port (\d+)", _FLAGS),
        paths=(_OPENCODE_RUN,),
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(r"^    port: int = (\d+)", _FLAGS),
        paths=(_DAEMON_CONFIG,),
    ),
    Rule(
        key="opencode_port",
        pattern=re.compile(r"http://127\.0\.0\.1:(\d+)", _FLAGS),
        paths=(_DAEMON_CONFIG,),
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(r"http://127\.0\.0\.1:(\d+)", _FLAGS),
        paths=(_VITE_CONFIG,),
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(r"-p 127\.0\.0\.1:(\d+):(\d+) -p|http://localhost:(\d+)", _FLAGS),
        paths=("README.md",),
        in_documents=True,
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(
            r"`iterate-daemon` \(port (\d{1,5})\)|DAEMON_TOKEN` guards port (\d{1,5})", _FLAGS
        ),
        paths=("docs/running.md",),
    ),
    Rule(
        key="opencode_port",
        pattern=re.compile(
            r"`opencode`\s\(port (\d{1,5})\)|\(user `opencode`\) guards port (\d{1,5})", _FLAGS
        ),
        paths=("docs/running.md",),
    ),
    Rule(
        key="daemon_port",
        pattern=re.compile(r"iterate-daemon, port (\d{1,5})", _FLAGS),
        paths=(_OVERVIEW,),
    ),
    Rule(
        key="opencode_port",
        pattern=re.compile(r"opencode, port (\d{1,5})", _FLAGS),
        paths=(_OVERVIEW,),
    ),
    Rule(
        key="opencode_port",
        pattern=re.compile(r" -p [\d.:]{1,30} -p 127\.0\.0\.1:(\d+):(\d+)", _FLAGS),
        paths=("README.md",),
        in_documents=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A place with another value than the table's. `key` is spelled as in the table."""

    path: str
    line: int
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.path}:{self.line}: {self.value!r}, but {self.key} in {identity.TABLE}"
            f" makes it {self.expected!r}"
        )


def differences(root: Path, project: Identity) -> list[Difference]:
    """Every place below `root` that names another identity, in order of files and lines.

    Raises `TaskError` for a rule that matches nothing in one of its files.
    """
    places: set[tuple[str, int, str, str, str]] = set()
    for rule in RULES:
        expected = str(getattr(project, rule.key))
        for path in rule.files(root):
            text = (root / path).read_text(encoding="utf-8")
            spans = list(rule.matches(text))
            if not spans and path in rule.paths:
                raise TaskError(
                    f"{path}: nothing here matches {rule.pattern!r}, which finds the identity's"
                    f" {_key(rule)}",
                    fix=f"correct the file, or the rule in {__file__.rpartition('/')[2]}",
                )
            for start, end in spans:
                if text[start:end] != expected:
                    line = text.count("\n", 0, start) + 1
                    places.add((path, line, _key(rule), text[start:end], expected))
    return [
        Difference(path=path, line=line, key=key, value=value, expected=expected)
        for path, line, key, value, expected in sorted(places)
    ]


def _key(rule: Rule) -> str:
    return {"slug": "name"}.get(rule.key, rule.key.replace("_", "-"))


def correct(root: Path, project: Identity) -> list[str]:
    """Write the table's values into every file that differs; the paths of those files."""
    paths = sorted({difference.path for difference in differences(root, project)})
    for path in paths:
        text = (root / path).read_text(encoding="utf-8")
        for rule in RULES:
            if path in rule.files(root):
                for start, end in sorted(rule.matches(text), reverse=True):
                    text = text[:start] + str(getattr(project, rule.key)) + text[end:]
        files.write(root / path, text)
    return paths


def check(root: Path, *, fix: bool = False) -> None:
    """Print each difference and raise `TaskError`, or with `fix` correct all of them."""
    project = identity.read(root / "pyproject.toml")
    if fix:
        for path in correct(root, project):
            console.say(f"{path}: the identity is corrected")
    places = differences(root, project)
    for place in places[:_LISTED_PLACES]:
        console.say(str(place))
    if places:
        raise TaskError(
            f"{len(places)} places differ from {identity.TABLE}",
            fix="nox -s lint -- --fix corrects them; docs/make-it-yours.md explains it",
        )
    console.good(f"identity: the files agree with {identity.TABLE}")
