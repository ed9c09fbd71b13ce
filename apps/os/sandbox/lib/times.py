"""At build time, the last command of a RUN: give one time to everything that the RUN has written.

Without it, two builds of a commit would differ in the time of every file. `times.py` looks at the
root's own file system; what a cache or a secret is mounted on stays as it is.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: 2000-01-01: not 1970, since zip archives know no time before 1980.
TIME = 946684800


def main() -> None:
    start, mounts = started(), mount_points()
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in mounts]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for path in [folder, *(os.path.join(folder, name) for name in [*links, *files])]:
            if path not in mounts and os.lstat(path).st_mtime >= start:
                with contextlib.suppress(PermissionError):  # not written by this RUN's user
                    os.utime(path, (TIME, TIME), follow_symlinks=False)


def started() -> float:
    """When the first process of this container started, in seconds since 1970 (proc(5))."""
    after_name = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
    booted = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime ")
    )
    # Whole seconds: what was written before the RUN has an older time anyway, or this one.
    return int(booted + int(after_name[19]) / os.sysconf("SC_CLK_TCK"))


def mount_points() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line.split()[4].replace("\\040", " ") for line in lines} - {"/"}


if __name__ == "__main__":
    main()
