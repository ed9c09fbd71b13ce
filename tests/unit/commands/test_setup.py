from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.commands import setup
from tasks.engine import engine
from tasks.engine.endpoint import Endpoint
from tasks.engine.engine import Engine
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
READY = setup.Findings(
    system=DEBIAN,
    engine=ENGINE,
    trouble=None,
    answers=True,
    wanted="default",
    dockerd=None,
    buildx=True,
    base_image=True,
    browser=Path("/usr/bin/chromium"),
    git=True,
    registry=Path("/usr/bin/docker-registry"),
)
BARE = replace(
    READY,
    engine=None,
    trouble=engine.NoDocker("no docker", fix="nox -s setup"),
    answers=False,
    buildx=False,
    base_image=None,
    browser=None,
    registry=None,
)
DOWN = engine.EngineDown("it is down", fix="nox -s setup")


def kinds(findings: setup.Findings, *, engine_only: bool = False) -> list[str]:
    return [action.kind for action in setup.plan(findings, engine_only=engine_only)]


def test_nothing_to_do() -> None:
    assert setup.plan(READY) == []


def test_a_bare_debian() -> None:
    assert kinds(BARE) == ["packages", "start-engine", "base-image", "packages", "registry"]
    assert kinds(BARE, engine_only=True) == ["packages", "start-engine", "base-image"]
    assert setup.plan(BARE)[0].packages == setup.ENGINE


def test_an_installed_engine_is_started_not_installed() -> None:
    stopped = replace(BARE, trouble=DOWN, dockerd="26.1.5", buildx=True)
    assert kinds(stopped, engine_only=True) == ["start-engine", "base-image"]


def test_an_installed_engine_that_is_too_old_is_replaced() -> None:
    stopped = replace(BARE, trouble=DOWN, dockerd="20.10.24", buildx=False)
    assert kinds(stopped, engine_only=True) == ["packages", "start-engine", "base-image"]


def test_an_installed_engine_without_client_parts() -> None:
    actions = setup.plan(replace(BARE, trouble=DOWN, dockerd="26.1.5"), engine_only=True)
    assert [a.kind for a in actions] == ["packages", "start-engine", "base-image"]
    assert actions[0].packages == setup.CLIENT


@pytest.mark.parametrize("trouble", [engine.NoBuildx("no buildx"), engine.NoDocker("no cli")])
def test_an_engine_that_answers_is_left_alone(trouble: engine.EngineError) -> None:
    actions = setup.plan(replace(READY, trouble=trouble, buildx=False))
    assert [a.kind for a in actions] == ["packages"]
    assert actions[0].packages == setup.CLIENT
    assert "docker.io" not in actions[0].packages


@pytest.mark.parametrize(
    "trouble",
    [
        engine.EngineHangs("x"),
        engine.EngineDenied("x"),
        engine.EngineTooOld("x"),
        engine.ApiTooOld("x"),
        engine.EngineUnreachable("x"),
        engine.NotDocker("x"),
        engine.ContextUnusable("x"),
    ],
)
def test_what_setup_must_not_mend(trouble: engine.EngineError) -> None:
    with pytest.raises(type(trouble)):
        setup.plan(replace(BARE, trouble=trouble))


@pytest.mark.parametrize("wanted", ["DOCKER_HOST", "context"])
def test_an_engine_chosen_by_the_user_is_not_replaced_by_a_local_one(wanted: str) -> None:
    with pytest.raises(engine.EngineDown):
        setup.plan(replace(BARE, trouble=DOWN, wanted=wanted))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (MACOS, "colima start"),
        (FEDORA, "dnf install moby-engine"),
        (System("other", "NixOS"), "Docker Engine 23"),
    ],
)
def test_elsewhere_it_says_the_one_thing_to_do(system: System, words: str) -> None:
    with pytest.raises(setup.CannotSetUp) as caught:
        setup.plan(replace(BARE, system=system))
    assert words in caught.value.fix
    assert "\n" not in str(caught.value)


def test_elsewhere_an_installed_engine_is_only_to_be_started() -> None:
    with pytest.raises(setup.CannotSetUp) as caught:
        setup.plan(replace(BARE, system=FEDORA, trouble=DOWN, dockerd="28.0.0"))
    assert caught.value.fix == "sudo systemctl start docker"


def test_elsewhere_with_an_engine_everything_else_goes_on() -> None:
    findings = replace(READY, system=MACOS, base_image=False, browser=None)
    assert kinds(findings) == ["base-image", "by-hand"]


def test_ubuntu_has_no_browser_package() -> None:
    findings = replace(READY, system=System("ubuntu", "Ubuntu 24.04"), browser=None)
    (action,) = setup.plan(findings)
    assert action.kind == "by-hand"
    assert "snap install chromium" in action.what


def test_who_is_let_in() -> None:
    user = replace(BARE, system=replace(DEBIAN, root=False))
    assert "group `docker`" in setup.plan(user)[1].what
    assert "group `docker`" not in setup.plan(BARE)[1].what


def test_package_names() -> None:
    new = {"docker.io": "26.1.5+dfsg1-9", "docker-cli": "26.1.5", "docker-buildx": "0.13.1"}
    ubuntu = {"docker.io": "27.5.1-0ubuntu3", "docker-buildx": "0.20.1"}
    assert setup.choose(setup.ENGINE, new, DEBIAN) == ("docker.io", "docker-cli", "docker-buildx")
    assert setup.choose(setup.ENGINE, ubuntu, DEBIAN) == ("docker.io", "docker-buildx")
    assert setup.choose(setup.CLIENT, new, DEBIAN) == ("docker-cli", "docker-buildx")


@pytest.mark.parametrize(
    "available",
    [{}, {"docker.io": "20.10.24", "docker-buildx": "0.10"}, {"docker.io": "26.1.5"}],
)
def test_a_distribution_that_is_too_old(available: dict[str, str]) -> None:
    with pytest.raises(setup.CannotSetUp, match="too old"):
        setup.choose(setup.ENGINE, available, DEBIAN)
