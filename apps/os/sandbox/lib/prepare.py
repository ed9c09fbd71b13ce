"""At every start, before s6 or a command takes over: the repository, its dependencies, the service
folders.

With a checkout mounted at /local-iterate-repo (local mode) the sandbox's repository is made equal
to it. A sync that fails ends the start, since a half-copied tree must not be served; a failing
install or UI build leaves what was there before in service, and is said on the daemon's health.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import build
import folders
import host_reader
import services
import sync

from tasks import git
from tasks.base import console, project
from tasks.base.errors import TaskError
from tasks.git import line_ends

if TYPE_CHECKING:
    from collections.abc import Callable

MOUNT = Path(project.LOCAL_MOUNT)
REPO = Path.home() / project.IDENTITY.repository
STATE_FILE = Path("/run/iterate/state.json")
#: Tells health.sh that a command runs instead of the services.
COMMAND_FILE = Path("/run/iterate/command")


def main(*, for_a_command: bool) -> None:
    started_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    folders.require(STATE_FILE.parent)
    problems = [_problem("folders", message) for message in folders.mend(Path.home())]
    sync.unlock(REPO)
    local = MOUNT.exists()
    if local:
        _step("sync", partial(host_reader.mirror, MOUNT, REPO))
        if names := line_ends.find_crlf(str(REPO)):
            message = f"{line_ends.describe(names)} → {line_ends.CURE}, on the host"
            problems.append(_problem("line-ends", message))
        steps = {step.name: step.run for step in build.STEPS} | {"home": build.set_up_home}
        for name, work in steps.items():
            try:
                _step(name, partial(work, REPO))
            except (TaskError, OSError) as error:
                problems.append(_problem(name, str(error)))
    if for_a_command:
        COMMAND_FILE.touch()
    else:
        problems += [_problem("services", message) for message in services.lay_out(REPO)]
    state = {
        "mode": "local" if local else "baked",
        "started_at": started_at,
        "source": _source(),
        "problems": problems,
    }
    STATE_FILE.write_text(json.dumps(state, indent=2) + "\n")


def _problem(step: str, message: str) -> dict[str, str]:
    """For the daemon's health, and in the log."""
    console.fail(f"{step}: {message}")
    return {"step": step, "message": message}


def _step(name: str, work: Callable[[], str]) -> None:
    start = time.monotonic()
    result = work()
    console.good(f"{name}: {result} ({console.seconds(time.monotonic() - start)})")


def _source() -> dict[str, Any]:
    """What the repository is at now; agents may have committed since the image was made."""
    repo = git.open_repo(REPO)
    sha, branch = git.head(repo)
    return {"sha": sha, "branch": branch, "dirty": repo.count_changes() > 0}


if __name__ == "__main__":
    try:
        main(for_a_command="--for-a-command" in sys.argv)
    except TaskError as error:
        console.fail(str(error))
        sys.exit(error.exit_status)
    except OSError as error:
        console.fail(f"the sandbox cannot start: {error.strerror} ({error.filename})")
        sys.exit(1)
