"""The live s6 service folders, in /run/service: copies of the repository's s6-daemons/.

Copies, since a sync that deletes must not cut supervisors off, and since s6 keeps its pipes and
locks beside `run`. In the repository's folders only git-ignored links lead to the live state, so
that s6-svstat and s6-svc work on the paths people know.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import folders

from tasks.base import console
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

LIVE: Final = Path("/run/service")
LOGS: Final = Path("/var/log")
LIB: Final = Path("/usr/local/lib/sandbox")
#: Without it nothing of the sandbox can be seen from outside.
INDISPENSABLE: Final = "iterate-daemon"
#: What s6 or a service starts, by its path in the service's folder → the script that does instead
#: if it cannot be started; "" where nothing can.
_SCRIPTS: Final = {
    "run": "",
    "data/check": "",
    "finish": f'#!/bin/bash\nexec {LIB}/service-finish.sh "$@"\n',
    "log/run": f'#!/bin/bash\nexec {LIB}/service-log.sh "$(basename "${{PWD%/log}}")"\n',
}
_LINKS: Final = ("supervise", "event")


def lay_out(repo: Path) -> list[str]:
    """Make /run/service afresh from `repo`'s services. What one of them has to do without.

    Raises `TaskError` if the daemon cannot be started, or the folder not be written.
    """
    _end_leftovers()
    folders.require(LIVE)
    for old in LIVE.iterdir():
        shutil.rmtree(old)
    definitions = repo / "apps/os/sandbox/s6-daemons"
    if not (definitions / INDISPENSABLE).is_dir():
        raise TaskError(
            f"{definitions} has no service {INDISPENSABLE}",
            fix=f"restore it: git -C {repo} checkout -- {definitions}",
        )
    problems = []
    for definition in sorted(path for path in definitions.iterdir() if path.is_dir()):
        live = LIVE / definition.name
        problems += _lay_out_one(definition, live)
        if reason := folders.make(LOGS / live.name):
            problems.append(f"no log is written to {LOGS / live.name}: {reason}")
    try:
        for definition in definitions.iterdir():
            _link(definition, LIVE / definition.name)
            _link(definition / "log", LIVE / definition.name / "log")
    except OSError as error:
        problems.append(f"{definitions} cannot be written ({error.strerror}), so s6-svstat and "
                        f"s6-svc do not work there → S6DIR={LIVE}")  # fmt: skip
    return problems


def _lay_out_one(definition: Path, live: Path) -> list[str]:
    required = {"run", "log/run"} if (definition / "log").is_dir() else {"run"}
    defects = {
        name: defect
        for name in _SCRIPTS
        if (name in required or os.path.lexists(definition / name))
        and (defect := find_defect(definition / name))
    }
    ignored = {str(definition / name) for name in defects}
    shutil.copytree(
        definition,
        live,
        ignore=lambda folder, names: [
            name for name in names if name in _LINKS or os.path.join(folder, name) in ignored
        ],
    )
    problems = [f"{definition / name} {defect}" for name, defect in defects.items()]
    for name in defects:
        if _SCRIPTS[name]:
            (live / name).write_text(_SCRIPTS[name])
        else:
            (live / "down").touch()
    if (live / "down").exists() and problems:
        problems[0] = f"{live.name} cannot be started: {problems[0]}"
        if live.name == INDISPENSABLE:
            raise TaskError(problems[0])
    _make_executable(live)
    return problems


def find_defect(script: Path) -> str:
    """Why `script` cannot be started, and what to do; "" if it can."""
    try:
        content = script.read_bytes()
    except FileNotFoundError:
        return "is missing → restore it, then restart the sandbox"
    except OSError as error:
        return f"cannot be read ({error.strerror}) → chmod 755 {script}"
    if content.startswith(b"\x7fELF"):
        return ""
    if b"\r\n" in content:
        cure = "git config core.autocrlf input, then delete the file and check it out again"
        return f"has Windows line ends (CRLF) → {cure}"
    return _find_interpreter_defect(content.partition(b"\n")[0])


def _find_interpreter_defect(first_line: bytes) -> str:
    words = os.fsdecode(first_line.removeprefix(b"#!")).split()
    if not first_line.startswith(b"#!") or not words:
        return "does not begin with #! and the path of its interpreter → write #!/bin/bash there"
    program = words[1] if os.path.basename(words[0]) == "env" and len(words) == 2 else words[0]
    if not os.path.isfile(words[0]) or shutil.which(program) is None:
        return f"names an interpreter that does not exist, {program} → write #!/bin/bash there"
    return ""


def _make_executable(live: Path) -> None:
    """Where programs cannot be run from /run (noexec), one of the image is put in a script's place
    and runs it.
    """
    is_noexec = bool(os.statvfs(live).f_flag & os.ST_NOEXEC)
    for script in (live / name for name in _SCRIPTS):
        if script.exists() and is_noexec:
            script.rename(f"{script}.script")
            script.symlink_to(LIB / "run-script.sh")
        elif script.exists():
            script.chmod(0o755)


def _link(definition: Path, live: Path) -> None:
    """Lead from the repository's folder to the live state."""
    if not definition.is_dir():
        return
    for name in _LINKS:
        link = definition / name
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)  # left by a supervisor that ran in the tree itself
        if not link.is_symlink() or link.readlink() != live / name:
            link.unlink(missing_ok=True)
            link.symlink_to(live / name)


def _end_leftovers() -> None:
    """End supervisors that outlived a killed s6-svscan: they hold locks and their services' ports.

    Nothing of the kind lives when the container itself was restarted, only when this runs as the
    child of another init.
    """
    if any(_processes_of("s6-svscan")):
        raise TaskError(
            "the sandbox's services run already", fix="s6-svscanctl -t /run/service ends them"
        )
    supervisors = list(_processes_of("s6-supervise"))
    if not supervisors:
        return
    console.warn(f"ending {len(supervisors)} supervisors left by a killed s6-svscan")
    # SIGTERM: take the service down, then exit (s6-supervise's documentation).
    for pid in supervisors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while any(_processes_of("s6-supervise")) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in _processes_of("s6-supervise"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes_of(name: str) -> Iterator[int]:
    """The processes of that name, of this user."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            is_ours = folder.name.isdigit() and folder.stat().st_uid == os.getuid()
            if is_ours and (folder / "comm").read_text().strip() == name:
                yield int(folder.name)
