"""Compile the requirement files: every package pinned, with hashes, for every platform."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.base import console, process
from tasks.base.errors import CommandFailed, MissingTool, TaskError
from tasks.base.options import Parser
from tasks.base.project import ROOT


@dataclass(frozen=True)
class Compiled:
    """A requirement file, what it is compiled from, and the files whose pins it shares."""

    path: str
    sources: tuple[str, ...]
    group: str = ""
    shares: tuple[str, ...] = ()


DAEMON: Final = "apps/daemon/requirements.txt"
#: In order: the image's own pins decide the tests', which decide the checks'.
FILES: Final = (
    Compiled(DAEMON, ("apps/daemon/pyproject.toml",)),
    Compiled("requirements/daytona.txt", (), "daytona", (DAEMON,)),
    Compiled(
        "requirements/test.txt",
        ("apps/daemon/pyproject.toml",),
        "test",
        (DAEMON, "requirements/daytona.txt"),
    ),
    Compiled("requirements/nox.txt", (), "nox", ("requirements/test.txt",)),
    Compiled(
        "requirements/lint.txt",
        ("apps/daemon/pyproject.toml",),
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
    code = "requirements-stale"


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s deps_compile --", description=__doc__)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--check", action="store_true", help="only say whether they are up to date")
    way.add_argument("--upgrade", action="store_true", help="move every pin to the newest release")
    options = parser.parse_args(arguments)
    uv = find_uv()
    with tempfile.TemporaryDirectory(prefix="deps-") as folder:
        new = {f: compile_file(f, Path(folder), uv=uv, upgrade=options.upgrade) for f in FILES}
    changes = {file.path: difference(read(file.path), text) for file, text in new.items()}
    for path, lines in changes.items():
        if lines:
            console.step(path)
        for line in lines:
            console.say(f"  {line}", "red" if line.startswith("-") else "green")
    if options.check:
        if stale := [path for path, lines in changes.items() if lines]:
            raise Stale(f"not up to date: {', '.join(stale)}", fix="nox -s deps_compile")
        console.good("the requirement files are up to date")
        return
    for file, text in new.items():
        if read(file.path) != text:
            write(ROOT / file.path, text)
    console.good("changed" if any(changes.values()) else "every pin is as it was")


def find_uv() -> str:
    """The `uv` that came with `nox[uv]`, else the one on PATH."""
    if importlib.util.find_spec("uv"):
        from uv import find_uv_bin  # noqa: PLC0415  # may not be there

        return str(find_uv_bin())
    beside = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if beside is None:
        raise MissingTool("`uv` is not installed", fix='pip install "nox[uv]"')
    return beside


def compile_file(file: Compiled, folder: Path, *, uv: str, upgrade: bool) -> str:
    """The text of `file`, compiled in `folder`, where it stays for those that share its pins.

    uv keeps the pins of an output file that is there, so newer releases change nothing unless
    `upgrade` asks for them.
    """
    output = folder / file.path
    output.parent.mkdir(parents=True, exist_ok=True)
    if not upgrade:
        output.write_text(read(file.path), encoding="utf-8")
    args = [uv, "pip", "compile", *FLAGS, *file.sources, "--output-file", str(output)]
    args += ["--group", file.group] if file.group else []
    for other in file.shares:
        args += ["--constraints", str(folder / other)]
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
    return f"# Compiled by `nox -s deps_compile` from {', and '.join(sources)}.\n"


def read(path: str) -> str:
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def write(path: Path, text: str) -> None:
    """All of it or nothing."""
    new = path.with_suffix(".txt.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
    console.say(f"  wrote {path.relative_to(ROOT)}", "dim")


def pins(text: str) -> dict[str, bool]:
    """`name==1.2 ; marker` → whether it has a hash."""
    lines = text.replace("\\\n", " ").splitlines()
    found = {}
    for line in lines:
        requirement, *hashes = re.split(r"\s--hash=", line.split(" #")[0].strip())
        if requirement and not requirement.startswith("#"):
            found[requirement.strip()] = bool(hashes)
    return found


def difference(old: str, new: str) -> list[str]:
    """What changed for somebody who installs. Which files of a release an index lists does not."""
    before, after = pins(old), pins(new)
    lines = [f"- {pin}" for pin in before if pin not in after]
    lines += [f"+ {pin}" for pin in after if pin not in before]
    lines += [f"- {pin} has no hash" for pin, hashed in before.items() if not hashed]
    return sorted(lines, key=lambda line: line[2:])
