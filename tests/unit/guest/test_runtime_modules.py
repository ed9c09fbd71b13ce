"""What runs inside a sandbox brings all it imports along, and needs no package."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import bake
import pytest

from tasks.settings import ROOT, SANDBOX_DIR

if TYPE_CHECKING:
    from pathlib import Path

LIB = ROOT / SANDBOX_DIR / "lib"
ALL = [*LIB.glob("*.py"), *(ROOT / f"tasks/{name}.py" for name in bake.RUNTIME_MODULES)]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not _for_types_only(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({f"{node.module}.{alias.name}" for alias in node.names}
                         if node.module == "tasks" else {node.module})  # fmt: skip
    return names


def _for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def test_the_copied_modules_are_closed_under_import() -> None:
    copied = {f"tasks.{name}" for name in bake.RUNTIME_MODULES}
    at_start = [path for path in LIB.glob("*.py") if path.name != "bake.py"]
    for path in [*at_start, *(ROOT / f"tasks/{name}.py" for name in bake.RUNTIME_MODULES)]:
        ours = {name for name in imported(path) if name.startswith("tasks.")}
        assert ours <= copied, path


@pytest.mark.parametrize(
    "path", [*LIB.glob("*.py"), *(ROOT / f"tasks/{n}.py" for n in bake.RUNTIME_MODULES)], ids=str
)
def test_only_the_standard_library_is_needed(path: Path) -> None:
    own = {"tasks", *(module.stem for module in LIB.glob("*.py"))}
    assert {name.partition(".")[0] for name in imported(path)} <= own | sys.stdlib_module_names
