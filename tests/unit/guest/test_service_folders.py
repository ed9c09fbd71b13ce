"""The services are `SERVICES`; each has its folder for s6, and whoever names them agrees."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import environment

from tasks.base.project import DOCKERFILE, ROOT, SANDBOX_DIR, SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDERS: Final = ROOT / SANDBOX_DIR / "s6-daemons"
SKELETON: Final = f"{SANDBOX_DIR}/home-skeleton/AGENTS.md"


def missing_places(services: Sequence[str]) -> list[str]:
    """Each place that does not agree with that list: its file, and what is missing or wrong."""
    folders = {path.name for path in FOLDERS.iterdir() if path.is_dir()}
    dockerfile = (ROOT / DOCKERFILE).read_text()
    agents, running = ((ROOT / name).read_text() for name in (SKELETON, "docs/running.md"))
    places = [
        *(f"tasks/base/project.py, SERVICES lacks {name}" for name in folders - set(services)),
        *(f"{SANDBOX_DIR}/lib/environment.py, SECRETS_OF has no service {name}"
          for name in environment.SECRETS_OF if name not in services),
    ]  # fmt: skip
    for service in services:
        if not re.search(rf"install -d .*/var/log/{service}\b", dockerfile):
            places.append(f"{DOCKERFILE} makes no /var/log/{service}")
        if f"| `{service}` |" not in agents:
            places.append(f"{SKELETON} has no row for {service}")
        if f"`{service}`" not in running:
            places.append(f"docs/running.md does not name {service}")
        places += (f"{SANDBOX_DIR}/s6-daemons/{place}" for place in _faults_of_folder(service))
    return places


def _faults_of_folder(service: str) -> Iterator[str]:
    folder = FOLDERS / service
    for script in ("run", "finish", "log/run"):
        if not os.access(folder / script, os.X_OK):
            yield f"{service}/{script} is not a program"
    if not folder.is_dir():
        return
    if f"\nbecome {service}\n" not in (folder / "run").read_text():
        yield f"{service}/run does not become {service}"
    log = (folder / "log/run").read_text()
    if not log.endswith(f"/service-log.sh {service}\n"):
        yield f"{service}/log/run writes the log of another service"


def test_every_place_names_every_service() -> None:
    assert missing_places(SERVICES) == []


def test_a_service_that_is_only_in_the_list_is_missed_in_every_other_place() -> None:
    places = set(missing_places([*SERVICES, "nobodys-service"])) - set(missing_places(SERVICES))
    assert len(places) == 6
    assert all("nobodys-service" in place for place in places)


def test_a_service_that_is_only_a_folder_is_missed_in_the_list() -> None:
    shorter_list = [name for name in SERVICES if name != "opencode"]
    places = set(missing_places(shorter_list)) - set(missing_places(SERVICES))
    assert places == {
        "tasks/base/project.py, SERVICES lacks opencode",
        f"{SANDBOX_DIR}/lib/environment.py, SECRETS_OF has no service opencode",
    }
