"""What `setup` will do on a machine in a given state, in order. Pure: nothing is changed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base.errors import TaskError
from tasks.engine.engine import MIN_ENGINE, version_numbers
from tasks.engine.errors import EngineDown, NoBuildx, NoDocker
from tasks.setup import apt, base_image, browser, registry_program
from tasks.setup.system import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.setup.machine import MachineState
    from tasks.setup.system import System

StepKind = Literal["packages", "start-engine", "base-image", "registry", "by-hand"]

#: The one thing to do where `setup` does not install an engine.
ENGINE_BY_HAND: Final = {
    "macos": "brew install colima docker docker-buildx && colima start (or Docker Desktop)",
    "fedora": "sudo dnf install moby-engine docker-buildx && sudo systemctl enable --now docker",
    "arch": "sudo pacman -S docker docker-buildx && sudo systemctl enable --now docker",
    "suse": "sudo zypper install docker docker-buildx && sudo systemctl enable --now docker",
    "alpine": "doas apk add docker docker-cli-buildx && doas rc-service docker start",
}
ENGINE_ELSEWHERE: Final = "install Docker Engine 23 or newer with buildx, and start it"

#: On Ubuntu docker.io contains the client; on Debian it does not.
ENGINE_PACKAGES: Final = ("docker.io", "docker-cli", "docker-buildx")
CLIENT_PACKAGES: Final = ("docker-cli", "docker-buildx")


class CannotSetUp(TaskError):
    code = "cannot-set-up"


@dataclass(frozen=True)
class SetupStep:
    """One thing to do; `description` is for people, `packages` are to be installed."""

    kind: StepKind
    description: str
    packages: tuple[str, ...] = ()


def choose_steps(machine: MachineState, *, engine_only: bool = False) -> list[SetupStep]:
    """What to do, in order.

    Raises `CannotSetUp` for what `setup` cannot do on this system, and the engine's own error
    where `setup` must not touch an engine that the user has chosen.
    """
    steps = _engine_steps(machine)
    if not machine.has_base_image:
        condition = "" if machine.has_base_image is False else ", if the engine does not have it"
        description = (
            f"get the base image {base_image.NAME}{condition}: pull it, or make it of Debian's "
            "packages where no registry answers"
        )
        steps.append(SetupStep("base-image", description))
    return steps if engine_only else steps + _test_steps(machine)


def _engine_steps(machine: MachineState) -> list[SetupStep]:
    error, system = machine.engine_error, machine.system
    if error is None:
        return []
    is_down = isinstance(error, EngineDown | NoDocker) and not machine.engine_answers
    lacks_client = machine.engine_answers and isinstance(error, NoDocker | NoBuildx)
    if not is_down and not lacks_client:
        raise error
    if is_down and machine.chosen_by != "default":
        raise error
    if not system.has_apt:
        raise CannotSetUp(
            f"{error.what}, and `setup` does not install one on {system.name}",
            fix=_engine_by_hand(machine),
        )
    if lacks_client:
        description = (
            f"install Docker's client from {system.name}'s packages; the engine stays as it is"
        )
        return [SetupStep("packages", description, CLIENT_PACKAGES)]
    return _install_and_start(machine)


def _install_and_start(machine: MachineState) -> list[SetupStep]:
    version = machine.dockerd_version
    steps = []
    if version is None or version_numbers(version) < MIN_ENGINE:
        description = "install Docker Engine with buildx from the distribution's packages"
        steps.append(SetupStep("packages", description, ENGINE_PACKAGES))
    elif not machine.has_buildx:
        steps.append(SetupStep("packages", "install Docker's client", CLIENT_PACKAGES))
    permission = "" if machine.system.root else f" and let {user_name()} use it (group `docker`)"
    return [*steps, SetupStep("start-engine", f"start the Docker Engine{permission}")]


def _engine_by_hand(machine: MachineState) -> str:
    if machine.dockerd_version and machine.system.systemd:
        return "sudo systemctl start docker"
    return ENGINE_BY_HAND.get(machine.system.family, ENGINE_ELSEWHERE)


def _test_steps(machine: MachineState) -> list[SetupStep]:
    """For what only tests need."""
    steps = []
    system = machine.system
    if not machine.has_git:
        steps.append(
            SetupStep("packages", "install git", ("git",))
            if system.has_apt
            else SetupStep("by-hand", "git has to be installed by hand")
        )
    if machine.browser is None:
        steps.append(_browser_step(system))
    if machine.registry is None:
        steps.append(_registry_step(system))
    return steps


def _browser_step(system: System) -> SetupStep:
    if system.family == "debian":  # Ubuntu's package only points to the snap
        description = "install Chromium, which the tests of the daemon's page drive"
        return SetupStep("packages", description, browser.PACKAGES)
    command = browser.how_to_install(system)
    return SetupStep("by-hand", f"a browser has to be installed by hand: {command}")


def _registry_step(system: System) -> SetupStep:
    if system.has_apt:
        description = (
            f"unpack {registry_program.PACKAGE}, which the tests of pushing to Daytona run"
        )
        return SetupStep("registry", description)
    command = registry_program.how_to_install(system)
    return SetupStep("by-hand", f"a registry has to be installed by hand: {command}")


def choose_packages(
    names: tuple[str, ...], candidates: Mapping[str, str], system: System
) -> tuple[str, ...]:
    """The packages that bring Docker's parts `names` on this system; `candidates` are the versions
    that its distribution offers. Raises `CannotSetUp` where they are too old.
    """
    version = candidates.get("docker.io", "")
    lacking = [name for name in ("docker.io", "docker-buildx") if name not in candidates]
    if lacking or apt.upstream(version) < MIN_ENGINE:
        reason = f"no {' and no '.join(lacking)}" if lacking else f"only docker.io {version}"
        raise CannotSetUp(
            f"{system.name} is too old: its packages have {reason}",
            fix="upgrade to Debian 12, Ubuntu 22.04 or newer, or " + ENGINE_ELSEWHERE,
        )
    # On Ubuntu the client is part of docker.io; elsewhere it is a package.
    client = "docker-cli" if "docker-cli" in candidates else "docker.io"
    return tuple(dict.fromkeys(client if name == "docker-cli" else name for name in names))
