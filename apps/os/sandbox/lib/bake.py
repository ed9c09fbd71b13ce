"""At build time: split the build context into what the image's last layers are made of.

`bake.py OUT` finds the context in OUT/tree and leaves there the files alone, their .git in OUT/git,
the image's record in OUT/sandbox-build.json, and in OUT/lib what /usr/local/lib/sandbox holds:
copies, so that no sync or edit of the repository changes a start that is under way.

A context packed by tasks/build/context.py is clean already and says what its source is; for a
build by hand from a plain clone the same code does both here.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import times

from tasks.base import console, project
from tasks.base.errors import BadInput, TaskError
from tasks.build import context, dockerignore, source
from tasks.git import gitdir, line_ends

PINS = Path("/pins")
INSTALLED_LIB = "/usr/local/lib/sandbox"
#: The packages of tasks/ that the scripts in the sandbox import; each goes along as a whole.
RUNTIME_PACKAGES = ("base", "git")


def main(out: Path) -> None:
    tree = out / "tree"
    source_file = tree / context.SOURCE_FILE
    if source_file.exists():
        record = json.loads(source_file.read_text())
        source_file.unlink()
        shutil.move(tree / ".git", out / "git")
    else:
        record = _clean_by_hand(tree, out)
    for folder in project.FILLED_FOLDERS:  # a ref's own link in such a place
        if (tree / folder).is_symlink() or (tree / folder).is_file():
            (tree / folder).unlink()
    _lay_out_lib(tree, out / "lib")
    (out / "sandbox-build.json").write_text(json.dumps(_complete(record), indent=2) + "\n")
    _set_times(out)


def _set_times(out: Path) -> None:
    """The same for every build: a layer in the cache may stem from another commit with the same
    files.
    """
    for folder, folders, names in os.walk(out):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for path in [folder, *(os.path.join(folder, name) for name in [*links, *names])]:
            os.utime(path, (times.TIME, times.TIME), follow_symlinks=False)


def _lay_out_lib(tree: Path, lib: Path) -> None:
    sandbox = tree / "apps/os/sandbox"
    shutil.copytree(sandbox / "lib", lib)
    shutil.copy(sandbox / "entry.sh", lib)
    for package in RUNTIME_PACKAGES:
        shutil.copytree(tree / "tasks" / package, lib / "tasks" / package)
    shutil.copy(tree / "tasks/__init__.py", lib / "tasks")
    shutil.copy(tree / "pyproject.toml", lib)  # tasks.base.project reads the identity in it
    for script in [*lib.glob("*.sh"), *lib.glob("shell/*")]:
        script.chmod(0o755)
    # By hash: a time stamp would make two builds differ.
    by_hash = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(
        lib, stripdir=lib, prependdir=INSTALLED_LIB, quiet=1, invalidation_mode=by_hash
    )


def _clean_by_hand(tree: Path, out: Path) -> dict[str, Any]:
    if not (tree / ".git").is_dir():
        raise BadInput(
            "the build context has no .git directory (a linked worktree has only a file)",
            fix="build in a plain clone, or with nox -s snapshot_local",
        )
    build_source = source.from_working_tree(tree, build_args=_build_args(), use_cache=False)
    for note in build_source.tree.all_notes():
        console.warn(note)
    dockerignore.refuse_left_out(build_source.tree)
    line_ends.refuse_crlf(build_source.tree, is_ref=False)
    context.refuse_secrets(build_source)
    for number, part in enumerate(build_source.tree.trees()):
        clean = out / f"git-{number}" if number else out / "git"
        gitdir.export(part, clean)
    kept = _keep_listed(os.fsencode(tree), build_source)
    for number, part in enumerate(build_source.tree.trees()):
        if number:
            shutil.move(out / f"git-{number}", tree / os.fsdecode(part.prefix) / ".git")
    console.good(f"{kept} files of {build_source.describe()}")
    return build_source.record()


def _keep_listed(root: bytes, tree_source: source.Source) -> int:
    """Remove what git does not list, all git data included; give the rest git's modes."""
    listed = {entry.path: entry for entry in tree_source.tree.everything()}
    for folder, folders, files in os.walk(root, topdown=False):
        for name in [*files, *folders]:
            path = os.path.join(folder, name)
            entry = listed.get(os.path.relpath(path, root))
            if entry is None and (name in files or os.path.islink(path)):
                os.unlink(path)
            elif entry is None:
                if not os.listdir(path):
                    os.rmdir(path)
            elif entry.kind != "symlink":
                os.chmod(path, 0o644 if entry.kind == "file" else 0o755)
    return len(listed)


def _build_args() -> dict[str, str]:
    return {"BASE_IMAGE": os.environ["BASE_IMAGE"]}


def _complete(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": 1,
        **record,
        "pins": {pin.name: pin.read_text() for pin in sorted(PINS.glob("*_VERSION"))},
        "base_image": os.environ["BASE_IMAGE"],
        "built_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except TaskError as error:
        console.fail(str(error))
        sys.exit(error.exit_status)
