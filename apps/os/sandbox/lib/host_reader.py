"""Local mode on a checkout that the sandbox's user may not read: another uid's, closed to others.

The sync is then carried out by the same user with one capability more, CAP_DAC_OVERRIDE
(capabilities(7)), which root can hand on: the copies still belong to the user, and the mount is
only read, as always. Where root cannot be had (no-new-privileges, dropped capabilities, a network
file system that knows no root) the true cause is said.

`host_reader.py SOURCE REPO` is that sync; it prints what was done.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import sync

from tasks.base import console
from tasks.base.errors import TaskError


def mirror(source: Path, repo: Path) -> str:
    """`sync.mirror`, whoever owns the files at `source`. Raises `TaskError`."""
    try:
        return sync.mirror(source, repo)
    except (TaskError, OSError):
        unreadable = _find_unreadable(source)
        if unreadable is None:
            raise
    cause = _describe(unreadable)
    reader = _reader_command()
    opening = "import os, sys; os.open(sys.argv[1], os.O_RDONLY)"
    probe_command = [*reader, sys.executable, "-E", "-s", "-c", opening, str(unreadable)]
    probe = subprocess.run(probe_command, check=False, capture_output=True)
    if probe.returncode:
        raise TaskError(
            cause,
            fix=f"on the host, let it be read: setfacl -R -m u:{os.getuid()}:rX CHECKOUT, or"
            " chmod -R o+rX CHECKOUT",
        )
    console.say(f"{cause}: it is read with root's permission")
    command = [*reader, sys.executable, "-E", "-s", __file__, str(source), str(repo)]
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise TaskError("the checkout could not be copied", fix="the line above says why")
    return result.stdout.strip()


def _find_unreadable(folder: Path) -> Path | None:
    """Something below `folder` that this user may not read."""
    command = ["find", str(folder), "!", "-readable", "-print0", "-quit"]
    result = subprocess.run(command, check=False, capture_output=True)
    name = result.stdout.partition(b"\0")[0]
    return Path(os.fsdecode(name)) if name else None


def _describe(unreadable: Path) -> str:
    status = unreadable.lstat()
    mode = stat.S_IMODE(status.st_mode)
    return (
        f"the sandbox's user (uid {os.getuid()}) may not read {console.printable(str(unreadable))},"
        f" which belongs to uid {status.st_uid} and has mode {mode:04o}"
    )


def _reader_command() -> list[str]:
    """What makes a command run as this user with CAP_DAC_OVERRIDE beside."""
    user = pwd.getpwuid(os.getuid())
    return [
        "sudo", "-n", "-E",
        "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
        # access(2) would not count the capability otherwise, and git asks that before it reads.
        "--securebits=+no_setuid_fixup",
        "env", f"HOME={Path.home()}",
    ]  # fmt: skip


if __name__ == "__main__":
    try:
        print(sync.mirror(Path(sys.argv[1]), Path(sys.argv[2])))
    except TaskError as error:
        console.fail(str(error))
        sys.exit(error.exit_status)
    except OSError as error:
        console.fail(f"{error.strerror} ({error.filename})")
        sys.exit(1)
