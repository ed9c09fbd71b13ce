"""The applications stand alone: they import nothing of ours, and their modules form no cycle."""

from __future__ import annotations

import pytest

from tasks.base import project
from tests.support import imports

APPLICATIONS = {"apps/daemon": "iterate_daemon", "apps/daytona-standin": "daytona_standin"}


@pytest.mark.parametrize("folder", APPLICATIONS)
def test_an_application_imports_nothing_of_the_repository(folder: str) -> None:
    edges = imports.read_imports(project.ROOT / folder, APPLICATIONS[folder])
    assert len(edges) > 50
    repository_packages = {"tasks", "tests", *APPLICATIONS.values()} - {APPLICATIONS[folder]}
    assert [edge for edge in edges if edge.imported.split(".")[0] in repository_packages] == []


@pytest.mark.parametrize("folder", APPLICATIONS)
def test_the_modules_of_an_application_form_no_cycle(folder: str) -> None:
    package = APPLICATIONS[folder]
    edges = imports.read_imports(project.ROOT / folder, package)
    inside = [(e.importer, e.imported) for e in edges if e.imported.startswith(f"{package}.")]
    assert inside
    assert imports.cycles((a, b) for a, b in inside if a != b) == []
