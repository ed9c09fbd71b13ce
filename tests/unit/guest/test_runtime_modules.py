"""What runs inside a sandbox brings all it imports along, and needs no package but its own."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import bake
import pytest

from tasks.base.project import ROOT, SANDBOX_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIB = ROOT / SANDBOX_DIR / "lib"
COPIED = [ROOT / f"tasks/{name}.py" for name in bake.RUNTIME_MODULES]


def imported(path: Path) -> Iterator[str]:
    """Modules by their full names; of `from a import b`, `a.b` where that is one of ours."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not _for_types_only(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if file_of(whole) else node.module


def file_of(module: str) -> Path | None:
    """The file of a module of ours."""
    path = ROOT / module.replace(".", "/")
    found = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in found if file.is_file()), None)


def _for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def test_the_copied_modules_are_closed_under_import() -> None:
    at_start = [path for path in LIB.glob("*.py") if path.name != "bake.py"]
    for path in [*at_start, *COPIED]:
        ours = {file_of(name) for name in imported(path) if name.startswith("tasks")}
        assert ours <= {*COPIED}, path


@pytest.mark.parametrize(
    "path", [*LIB.glob("*.py"), *COPIED], ids=lambda path: str(path.relative_to(ROOT))
)
def test_only_the_standard_library_is_needed(path: Path) -> None:
    own = {"tasks", *(module.stem for module in LIB.glob("*.py"))}
    # apps/os/sandbox/requirements.txt, for the one module that wraps it.
    own |= {"dotenv"} if path.name == "envfile.py" else set()
    assert {name.partition(".")[0] for name in imported(path)} <= own | sys.stdlib_module_names
