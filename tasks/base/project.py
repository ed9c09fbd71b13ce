"""Names and places that several modules share; what is the project's own is in `identity`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from tasks.base import files, identity

ROOT: Final = Path(__file__).resolve().parent.parent.parent
#: In the image, a copy of pyproject.toml lies beside the copy of tasks/ (bake.py).
IDENTITY: Final = identity.read(ROOT / "pyproject.toml")
NAME: Final = IDENTITY.name
SLUG: Final = IDENTITY.slug

SANDBOX_DIR: Final = "apps/os/sandbox"
DOCKERFILE: Final = f"{SANDBOX_DIR}/Dockerfile"

BASE_IMAGE: Final = "debian:trixie-slim"
IMAGE: Final = IDENTITY.image
LOCAL_IMAGE: Final = f"{IMAGE}:local"

#: Everything this project creates on an engine carries labels below this prefix.
LABEL: Final = IDENTITY.label

#: The git ref that is meant where no option names one.
REF_VARIABLE: Final = "SANDBOX_ITERATE_REPO_REF"

#: Inside the image.
USER: Final = IDENTITY.user
UID: Final = IDENTITY.uid
HOME: Final = IDENTITY.home
REPO: Final = f"{HOME}/{IDENTITY.repository}"
S6_DIR: Final = f"{REPO}/{SANDBOX_DIR}/s6-daemons"
LOCAL_MOUNT: Final = "/local-iterate-repo"
BUILD_INFO: Final = "/etc/sandbox-build.json"
#: Folders of the repository that the image fills by itself (COPY --from in the Dockerfile): a link
#: or a file in their place has no room there.
FILLED_FOLDERS: Final = (
    "node_modules", "apps/daemon/.venv", "apps/daemon/web/node_modules", "apps/daemon/web/dist",
)  # fmt: skip
DAEMON_PORT: Final = IDENTITY.daemon_port
OPENCODE_PORT: Final = IDENTITY.opencode_port
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
    return Path(base) / SLUG
