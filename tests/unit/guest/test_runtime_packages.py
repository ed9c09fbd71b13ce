"""What runs inside a sandbox brings all it imports along, and needs no package but its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import bake

from tasks.base.project import ROOT, SANDBOX_DIR
from tests.support import imports

if TYPE_CHECKING:
    from pathlib import Path

LIB = ROOT / SANDBOX_DIR / "lib"
SCRIPTS = [path for path in sorted(LIB.glob("*.py")) if path.name != "bake.py"]
#: apps/os/sandbox/requirements.txt; imported by the one function that needs it.
INSTALLED = {"dotenv"}


def lay_out(folder: Path) -> Path:
    """The sandbox's lib folder, made as the image build makes it."""
    tree, lib = folder / "tree", folder / "lib"
    for name in (f"{SANDBOX_DIR}/lib", "tasks"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    shutil.copy(ROOT / SANDBOX_DIR / "entry.sh", tree / SANDBOX_DIR)
    shutil.copy(ROOT / "pyproject.toml", tree)
    bake._lay_out_lib(tree, lib)
    return lib


def test_scripts_of_the_sandbox_can_be_imported_from_its_folder_alone(tmp_path: Path) -> None:
    """With the standard library only: `-S` leaves the installed packages out."""
    lib = lay_out(tmp_path)
    names = ", ".join(path.stem for path in SCRIPTS)
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"import {names}"],
        cwd=lib, env={"PYTHONPATH": str(lib)}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.stderr == ""


def test_scripts_of_the_sandbox_import_nothing_that_is_not_there(tmp_path: Path) -> None:
    """Not at use either."""
    lib = lay_out(tmp_path)
    present = {path.stem for path in lib.glob("*.py")} | sys.stdlib_module_names | INSTALLED
    for entry in imports.read_imports(lib.parent, lib.name):
        if entry.importer.startswith("lib.tasks.") or entry.importer == "lib.bake":
            continue
        if entry.imported.startswith("tasks."):
            location = lib.joinpath(*entry.imported.split("."))
            places = (location, location.with_suffix(".py"), location.parent.with_suffix(".py"))
            assert any(place.exists() for place in places), entry
        elif entry.place != "types":
            assert entry.imported.partition(".")[0] in present, entry
