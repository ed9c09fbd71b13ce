from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine import errors
from tasks.engine.endpoint import Endpoint
from tasks.engine.engine import Engine
from tasks.setup import steps
from tasks.setup.machine import MachineState
from tasks.setup.steps import CannotSetUp, choose_packages, choose_steps
from tasks.setup.system import System

DEBIAN = System("debian", "Debian GNU/Linux 12 (bookworm)", "12", "bookworm", root=True)
MACOS = System("macos", "macOS 15")
FEDORA = System("fedora", "Fedora 43", systemd=True)
ENGINE = Engine(
    cli="/usr/bin/docker",
    endpoint=Endpoint("unix:///var/run/docker.sock", "default"),
    version="26.1.5",
    api="1.45",
    os="linux",
    arch="amd64",
    buildx="0.13.1",
)
READY = MachineState(
    system=DEBIAN,
    engine=ENGINE,
    engine_error=None,
    engine_answers=True,
    chosen_by="default",
    dockerd_version=None,
    has_buildx=True,
    has_base_image=True,
    browser=Path("/usr/bin/chromium"),
    has_git=True,
    registry=Path("/usr/bin/docker-registry"),
)
BARE = replace(
    READY,
    engine=None,
    engine_error=errors.NoDocker("no docker", fix="nox -s setup"),
    engine_answers=False,
    has_buildx=False,
    has_base_image=None,
    browser=None,
    registry=None,
)
ENGINE_DOWN = errors.EngineDown("it is down", fix="nox -s setup")


def kinds(machine: MachineState, *, engine_only: bool = False) -> list[str]:
    return [step.kind for step in choose_steps(machine, engine_only=engine_only)]


def test_a_complete_machine_needs_no_step() -> None:
    assert choose_steps(READY) == []


def test_a_bare_debian_gets_everything() -> None:
    assert kinds(BARE) == ["packages", "start-engine", "base-image", "packages", "registry"]
    assert kinds(BARE, engine_only=True) == ["packages", "start-engine", "base-image"]
    assert choose_steps(BARE)[0].packages == steps.ENGINE_PACKAGES


def test_an_installed_engine_is_started_not_installed() -> None:
    machine = replace(BARE, engine_error=ENGINE_DOWN, dockerd_version="26.1.5", has_buildx=True)
    assert kinds(machine, engine_only=True) == ["start-engine", "base-image"]


def test_an_installed_engine_that_is_too_old_is_replaced() -> None:
    machine = replace(BARE, engine_error=ENGINE_DOWN, dockerd_version="20.10.24", has_buildx=False)
    assert kinds(machine, engine_only=True) == ["packages", "start-engine", "base-image"]


def test_an_installed_engine_gets_its_missing_client() -> None:
    chosen_steps = choose_steps(
        replace(BARE, engine_error=ENGINE_DOWN, dockerd_version="26.1.5"), engine_only=True
    )
    assert [step.kind for step in chosen_steps] == ["packages", "start-engine", "base-image"]
    assert chosen_steps[0].packages == steps.CLIENT_PACKAGES


@pytest.mark.parametrize("error", [errors.NoBuildx("no buildx"), errors.NoDocker("no cli")])
def test_an_engine_that_answers_is_left_alone(error: errors.EngineError) -> None:
    chosen_steps = choose_steps(replace(READY, engine_error=error, has_buildx=False))
    assert [step.kind for step in chosen_steps] == ["packages"]
    assert chosen_steps[0].packages == steps.CLIENT_PACKAGES
    assert "docker.io" not in chosen_steps[0].packages


@pytest.mark.parametrize(
    "error",
    [
        errors.EngineHangs("x"),
        errors.EngineDenied("x"),
        errors.EngineTooOld("x"),
        errors.ApiTooOld("x"),
        errors.EngineUnreachable("x"),
        errors.NotDocker("x"),
        errors.ContextUnusable("x"),
    ],
)
def test_setup_never_touches_an_engine_in_trouble(error: errors.EngineError) -> None:
    with pytest.raises(type(error)):
        choose_steps(replace(BARE, engine_error=error))


@pytest.mark.parametrize("chosen_by", ["DOCKER_HOST", "context"])
def test_an_engine_chosen_by_the_user_is_not_replaced_by_a_local_one(chosen_by: str) -> None:
    with pytest.raises(errors.EngineDown):
        choose_steps(replace(BARE, engine_error=ENGINE_DOWN, chosen_by=chosen_by))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (MACOS, "colima start"),
        (FEDORA, "dnf install moby-engine"),
        (System("other", "NixOS"), "Docker Engine 23"),
    ],
)
def test_a_system_without_apt_gets_one_command_to_type(system: System, words: str) -> None:
    with pytest.raises(CannotSetUp) as caught:
        choose_steps(replace(BARE, system=system))
    assert words in caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_system_without_apt_only_starts_an_installed_engine() -> None:
    with pytest.raises(CannotSetUp) as caught:
        choose_steps(
            replace(BARE, system=FEDORA, engine_error=ENGINE_DOWN, dockerd_version="28.0.0")
        )
    assert caught.value.fix == "sudo systemctl start docker"


def test_a_system_without_apt_still_gets_the_base_image() -> None:
    machine = replace(READY, system=MACOS, has_base_image=False, browser=None)
    assert kinds(machine) == ["base-image", "by-hand"]


def test_ubuntus_browser_is_installed_by_hand() -> None:
    machine = replace(READY, system=System("ubuntu", "Ubuntu 24.04"), browser=None)
    (step,) = choose_steps(machine)
    assert step.kind == "by-hand"
    assert "snap install chromium" in step.description


def test_a_user_is_let_in_and_root_is_not() -> None:
    user = replace(BARE, system=replace(DEBIAN, root=False))
    assert "group `docker`" in choose_steps(user)[1].description
    assert "group `docker`" not in choose_steps(BARE)[1].description


def test_package_names_depend_on_the_distribution() -> None:
    new = {"docker.io": "26.1.5+dfsg1-9", "docker-cli": "26.1.5", "docker-buildx": "0.13.1"}
    ubuntu = {"docker.io": "27.5.1-0ubuntu3", "docker-buildx": "0.20.1"}
    assert choose_packages(steps.ENGINE_PACKAGES, new, DEBIAN) == (
        "docker.io",
        "docker-cli",
        "docker-buildx",
    )
    assert choose_packages(steps.ENGINE_PACKAGES, ubuntu, DEBIAN) == ("docker.io", "docker-buildx")
    assert choose_packages(steps.CLIENT_PACKAGES, new, DEBIAN) == ("docker-cli", "docker-buildx")


@pytest.mark.parametrize(
    "available",
    [{}, {"docker.io": "20.10.24", "docker-buildx": "0.10"}, {"docker.io": "26.1.5"}],
)
def test_a_distribution_that_is_too_old_is_refused(available: dict[str, str]) -> None:
    with pytest.raises(CannotSetUp, match="too old"):
        choose_packages(steps.ENGINE_PACKAGES, available, DEBIAN)
