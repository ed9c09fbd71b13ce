"""Names and places that several modules share."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from tasks.base import files

ROOT: Final = Path(__file__).resolve().parent.parent.parent
SANDBOX_DIR: Final = "apps/os/sandbox"
DOCKERFILE: Final = f"{SANDBOX_DIR}/Dockerfile"

BASE_IMAGE: Final = "debian:trixie-slim"
LOCAL_IMAGE: Final = "iterate-sandbox:local"

#: Everything this project creates on an engine carries labels below this prefix.
LABEL: Final = "dev.iterate.sandbox"

#: The git ref that is meant where no option names one.
REF_VARIABLE: Final = "SANDBOX_ITERATE_REPO_REF"

#: Inside the image.
USER: Final = "iterate"
HOME: Final = f"/home/{USER}"
REPO: Final = f"{HOME}/src/github.com/iterate/iterate"
S6_DIR: Final = f"{REPO}/{SANDBOX_DIR}/s6-daemons"
LOCAL_MOUNT: Final = "/local-iterate-repo"
BUILD_INFO: Final = "/etc/sandbox-build.json"
DAEMON_PORT: Final = 3000
OPENCODE_PORT: Final = 4096
SERVICES: Final = ("iterate-daemon", "opencode")

#: Seconds.
_KEPT_LOGS: Final = 30 * 86400.0


def state_dir() -> Path:
    """Logs and diagnostics of this checkout's runs; git ignores it."""
    path = ROOT / ".sandbox"
    path.mkdir(exist_ok=True)
    return path


def new_log(command: str) -> Path:
    """Where a run of `command` writes its log; logs of a month ago are removed."""
    folder = state_dir() / "logs"
    folder.mkdir(exist_ok=True)
    files.remove_unused(folder, seconds=_KEPT_LOGS, pattern="*.log")
    return folder / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}.log"


def cache_dir() -> Path:
    """Downloads and layers that another run, also of another checkout, can use again."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "iterate-sandbox"
