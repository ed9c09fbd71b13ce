"""The imports of a Python package, as its modules write them: for types, at the top, or at use."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Place = Literal["top", "types", "function"]


@dataclass(frozen=True)
class Import:
    """`importer` and `imported` are modules, dotted. `imported` may be another project's."""

    importer: str
    imported: str
    place: Place


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(root: Path, package: str) -> list[Import]:
    """Of all modules of `package`, which is a folder in `root`."""
    paths = {module_name(path, root): path for path in sorted((root / package).rglob("*.py"))}
    return [
        Import(importer, _resolve(name, paths), place)
        for importer, path in paths.items()
        for name, place in _names(ast.parse(path.read_text()), "top")
    ]


def _names(node: ast.AST, place: Place) -> Iterator[tuple[str, Place]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, place) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "relative imports are not used"
        yield from ((f"{node.module}.{alias.name}", place) for alias in node.names)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        place = "function"
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for statement in node.body:
            yield from _names(statement, "types")
        return
    for child in ast.iter_child_nodes(node):
        yield from _names(child, place)


def _resolve(name: str, modules: Iterable[str]) -> str:
    """`tasks.base.console.say` is in the module `tasks.base.console`."""
    container = name.rpartition(".")[0]
    return container if name not in modules and container in modules else name


def cycles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of nodes that reach each other."""
    targets: dict[str, set[str]] = {}
    for source, target in edges:
        targets.setdefault(source, set()).add(target)
    reachable = {node: _reach(node, targets) for node in targets}
    groups = {
        tuple(sorted(target for target in nodes if node in reachable.get(target, ())))
        for node, nodes in reachable.items()
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def _reach(node: str, targets: dict[str, set[str]]) -> set[str]:
    visited: set[str] = set()
    waiting = [node]
    while waiting:
        for target in targets.get(waiting.pop(), ()):
            if target not in visited:
                visited.add(target)
                waiting.append(target)
    return visited
