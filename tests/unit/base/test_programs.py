from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base import programs
from tasks.base.errors import BadInput, MissingTool

if TYPE_CHECKING:
    from pathlib import Path


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _no_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "BROWSER_APPLICATIONS", ())


def test_a_chromium_on_the_path_is_found(tmp_path: Path) -> None:
    chromium = program(tmp_path / "bin/chromium", "#!/bin/sh\n")
    assert programs.find_browser({"PATH": str(tmp_path / "bin")}) == chromium


def test_a_machine_may_have_no_browser(tmp_path: Path) -> None:
    assert programs.find_browser({"PATH": str(tmp_path)}) is None


def test_ubuntus_stub_is_not_taken_for_a_browser(tmp_path: Path) -> None:
    stub = '#!/bin/sh\nif ! [ -x /snap/bin/chromium ]; then echo "snap install chromium" >&2; fi\n'
    program(tmp_path / "bin/chromium-browser", stub)
    assert programs.find_browser({"PATH": str(tmp_path / "bin")}) is None


def test_the_variable_names_the_browser(tmp_path: Path) -> None:
    browser = program(tmp_path / "mine", "")
    assert programs.find_browser({"ITERATE_CHROMIUM": str(browser)}) == browser
    with pytest.raises(BadInput, match="ITERATE_CHROMIUM"):
        programs.find_browser({"ITERATE_CHROMIUM": str(tmp_path / "missing")})


def test_a_registry_program_is_found_on_the_path_or_where_setup_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert programs.find_registry() is None
    with pytest.raises(MissingTool, match="docker-registry"):
        programs.require_registry()
    registry = programs.registry_from_setup()
    registry.parent.mkdir(parents=True)
    assert programs.find_registry() is None
    program(registry, "")
    assert programs.require_registry() == registry
    on_path = program(tmp_path / "bin/registry", "")
    assert programs.require_registry() == on_path
