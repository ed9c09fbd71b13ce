"""Another PID namespace on the same files, as a container has it that mounts the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

from tasks.base import project

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOUNT = "--mount-proc"
_UNSHARE = ("unshare", "--pid", "--fork", _MOUNT)


@cache
def _prefix() -> tuple[str, ...]:
    """As root, as root of a user namespace, or with sudo where a system forbids those."""
    choices = [_UNSHARE, (*_UNSHARE, "--user", "--map-root-user")]
    if shutil.which("sudo"):
        choices.append(("sudo", "--non-interactive", "--preserve-env", *_UNSHARE))
    for choice in choices:
        if subprocess.run([*choice, "true"], capture_output=True, check=False).returncode == 0:
            return choice
    raise AssertionError("this machine does not let us make a PID namespace (unshare, sudo)")


def run_python(
    program: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    mount_proc: bool = True,
) -> str:
    """The output of a Python program in a namespace of its own, with a /proc that fits or not."""
    prefix = [word for word in _prefix() if mount_proc or word != _MOUNT]
    result = subprocess.run(
        [*prefix, sys.executable, "-c", program, *arguments],
        cwd=project.ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
