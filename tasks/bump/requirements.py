"""The requirement files: every package of the code pinned, with hashes, for every platform.

`uv` compiles them from what the pyproject.toml files declare.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.base import console, files, process
from tasks.base.errors import CommandFailed, MissingTool, TaskError
from tasks.base.project import ROOT


@dataclass(frozen=True)
class Compiled:
    """A requirement file, what it is compiled from, and the files whose pins it shares."""

    path: str
    sources: tuple[str, ...]
    group: str = ""
    shares: tuple[str, ...] = ()


DAEMON: Final = "apps/daemon/requirements.txt"
SANDBOX: Final = "apps/os/sandbox/requirements.txt"
STAND_IN: Final = "apps/daytona-standin/requirements.txt"
#: The applications that tests run in their own environment.
APPLICATIONS: Final = ("apps/daemon/pyproject.toml", "apps/daytona-standin/pyproject.toml")
#: In order: the image's own pins decide the tests', which decide the checks'.
FILES: Final = (
    Compiled(DAEMON, ("apps/daemon/pyproject.toml",)),
    Compiled(SANDBOX, (), "sandbox"),
    Compiled("requirements/daytona.txt", (), "daytona", (DAEMON, SANDBOX)),
    Compiled(
        STAND_IN,
        ("apps/daytona-standin/pyproject.toml",),
        shares=(DAEMON, "requirements/daytona.txt"),
    ),
    Compiled(
        "requirements/test.txt",
        APPLICATIONS,
        "test",
        (DAEMON, SANDBOX, "requirements/daytona.txt", STAND_IN),
    ),
    Compiled("requirements/nox.txt", (), "nox", ("requirements/test.txt",)),
    Compiled(
        "requirements/lint.txt",
        APPLICATIONS,
        "lint",
        (DAEMON, "requirements/test.txt", "requirements/nox.txt"),
    ),
)
FLAGS: Final = (
    "--quiet",
    "--universal",
    *("--python-version", "3.11"),
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
)


class Stale(TaskError):
    """A requirement file does not fit what is declared."""

    code = "requirements-stale"


def compile_all(*, upgrade: bool) -> dict[Compiled, str]:
    """File → the text that it should have. Raises `Stale` for a file that cannot be compiled."""
    uv = find_uv()
    with tempfile.TemporaryDirectory(prefix="deps-") as folder:
        return {file: compile_file(file, Path(folder), uv=uv, upgrade=upgrade) for file in FILES}


def find_uv() -> str:
    """The `uv` that came with `nox[uv]`, else the one on PATH."""
    if importlib.util.find_spec("uv"):
        from uv import find_uv_bin  # noqa: PLC0415 - only in some environments

        return str(find_uv_bin())
    path = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if path is None:
        raise MissingTool("`uv` is not installed", fix='pip install "nox[uv]"')
    return path


def compile_file(file: Compiled, folder: Path, *, uv: str, upgrade: bool) -> str:
    """The text of `file`, compiled in `folder`, where the files that share its pins find it.

    uv keeps the pins of an output file that exists, so newer releases change nothing unless
    `upgrade` asks for them.
    """
    output = folder / file.path
    output.parent.mkdir(parents=True, exist_ok=True)
    if not upgrade:
        output.write_text(read(file.path), encoding="utf-8")
    args = [uv, "pip", "compile", *FLAGS, *file.sources, "--output-file", str(output)]
    args += ["--group", file.group] if file.group else []
    for shared_file in file.shares:
        args += ["--constraints", str(folder / shared_file)]
    args += ["--upgrade"] if upgrade else []
    try:
        process.capture(args, cwd=ROOT, timeout=300)
    except CommandFailed as error:
        for line in error.output.splitlines():
            console.say(f"  │ {console.printable(line)}", "dim")
        raise Stale(f"{file.path} cannot be compiled", fix="see above; the network?") from error
    text = header(file) + output.read_text(encoding="utf-8")
    output.write_text(text, encoding="utf-8")
    return text


def header(file: Compiled) -> str:
    sources = [*file.sources, *([f"pyproject.toml, group {file.group}"] if file.group else [])]
    return f"# Compiled by `nox -s deps` from {', and '.join(sources)}.\n"


def read(path: str) -> str:
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def write(path: Path, text: str) -> None:
    files.write(path, text)
    console.say(f"  wrote {path.relative_to(ROOT)}", "dim")


def pins(text: str) -> dict[str, bool]:
    """`name==1.2 ; marker` → whether it has a hash."""
    hashed: dict[str, bool] = {}
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = re.split(r"\s--hash=", line.split(" #")[0].strip())
        if requirement and not requirement.startswith("#"):
            hashed[requirement.strip()] = bool(hashes)
    return hashed


def difference(old_text: str, new_text: str) -> list[str]:
    """What changes for somebody who installs: pins, and pins that have no hash.

    Which files of a release an index lists changes nothing.
    """
    old_pins, new_pins = pins(old_text), pins(new_text)
    lines = [f"- {pin}" for pin in old_pins if pin not in new_pins]
    lines += [f"+ {pin}" for pin in new_pins if pin not in old_pins]
    lines += [f"- {pin} has no hash" for pin, has_hash in old_pins.items() if not has_hash]
    return sorted(lines, key=lambda line: line[2:])
