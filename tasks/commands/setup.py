"""`nox -s setup`: get what is missing, and touch nothing else."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console, project
from tasks.base.errors import TaskError
from tasks.base.options import Parser
from tasks.engine import endpoint as at
from tasks.engine import engine
from tasks.engine.engine import Engine, EngineError
from tasks.setup import apt, base_image, browser, dockerd, oci_registry
from tasks.setup import system as this
from tasks.setup.work import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.setup.system import System

Kind = Literal["packages", "start-engine", "base-image", "registry", "by-hand"]

#: The one thing to do where this does not install an engine.
ELSEWHERE: Final = {
    "macos": "brew install colima docker docker-buildx && colima start (or Docker Desktop)",
    "fedora": "sudo dnf install moby-engine docker-buildx && sudo systemctl enable --now docker",
    "arch": "sudo pacman -S docker docker-buildx && sudo systemctl enable --now docker",
    "suse": "sudo zypper install docker docker-buildx && sudo systemctl enable --now docker",
    "alpine": "doas apk add docker docker-cli-buildx && doas rc-service docker start",
}
OTHERWISE: Final = "install Docker Engine 23 or newer with buildx, and start it"

#: What docker.io brings on Ubuntu, and docker.io does not bring on Debian.
ENGINE: Final = ("docker.io", "docker-cli", "docker-buildx")
CLIENT: Final = ("docker-cli", "docker-buildx")


class CannotSetUp(TaskError):
    code = "cannot-set-up"


@dataclass(frozen=True)
class Findings:
    """How things stand. Made by looking only."""

    system: System
    engine: Engine | None
    trouble: EngineError | None  # why `engine` is None or will not do
    answers: bool  # an engine answers, be it without a docker CLI
    wanted: at.ChosenBy  # how the user chose the endpoint
    dockerd: str | None  # version of the installed engine
    buildx: bool  # there is a docker CLI with its build plugin
    base_image: bool | None  # None: no engine to ask
    browser: Path | None
    git: bool
    registry: Path | None


@dataclass(frozen=True)
class Action:
    kind: Kind
    what: str
    packages: tuple[str, ...] = ()


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s setup --", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, only")
    parser.add_argument(
        "--engine-only", action="store_true", help="engine and base image, not what tests need"
    )
    options = parser.parse_args(arguments)
    watch = console.Stopwatch()
    findings = look()
    report(findings, engine_only=options.engine_only)
    actions = plan(findings, engine_only=options.engine_only)
    if not actions:
        console.good(f"everything is there: nothing to do ({watch})")
        return
    console.step("would do:" if options.dry_run else "about to do:")
    for number, action in enumerate(actions, 1):
        console.say(f"  {number}. {action.what}")
    if options.dry_run:
        return
    with _one_at_a_time():
        execute(actions, findings)
    console.good(f"set up ({watch})")


def look() -> Findings:
    cli = shutil.which("docker")
    found: Engine | None = None
    trouble: EngineError | None = None
    try:
        found = engine.find()
        engine.check(found)
    except EngineError as error:
        trouble = error
    configured = None
    with contextlib.suppress(TaskError):
        configured = at.configured(cli, timeout=1)
    wanted = configured.chosen_by if configured else "context"
    without_cli = False
    if isinstance(trouble, engine.NoDocker):
        silence = engine.trouble()
        without_cli = silence is None
        if silence and wanted != "default":
            trouble = silence  # which a docker command would not change
    program = dockerd.installed()
    return Findings(
        system=this.this_system(),
        engine=found,
        trouble=trouble,
        answers=found is not None or without_cli,
        wanted=wanted,
        dockerd=dockerd.version(program) if program and found is None else None,
        buildx=bool(cli and (found.buildx if found else engine.buildx(cli))),
        base_image=base_image.present(found) if found else None,
        browser=browser.find(),
        git=shutil.which("git") is not None,
        registry=oci_registry.find(),
    )


def report(findings: Findings, *, engine_only: bool) -> None:
    console.say(f"this is {findings.system.name}")
    if (found := findings.engine) and findings.trouble is None:
        console.good(f"engine {found.version} at {found.endpoint}, buildx {found.buildx}")
    else:
        console.warn(findings.trouble.what if findings.trouble else "no engine")
    if findings.base_image is not None:
        _state(f"base image {base_image.NAME}", there=findings.base_image)
    if not engine_only:
        _state(f"browser {findings.browser or ''}".rstrip(), there=findings.browser is not None)
        if not findings.git:
            _state("git", there=False)
        _state("registry program", there=findings.registry is not None)


def _state(what: str, *, there: bool) -> None:
    (console.good if there else console.warn)(what if there else f"{what}: missing")


def plan(findings: Findings, *, engine_only: bool = False) -> list[Action]:
    """What to do, in order. Raises what `setup` cannot and must not do itself."""
    actions = _plan_engine(findings)
    if not findings.base_image:
        unless = "" if findings.base_image is False else ", unless the engine has it"
        way = "pull it, or where no registry answers make it of Debian's packages"
        what = f"get the base image {base_image.NAME}{unless}: {way}"
        actions.append(Action("base-image", what))
    return actions if engine_only else actions + _plan_tests(findings)


def _plan_engine(findings: Findings) -> list[Action]:
    trouble, system = findings.trouble, findings.system
    if trouble is None:
        return []
    down = isinstance(trouble, engine.EngineDown | engine.NoDocker) and not findings.answers
    client_only = findings.answers and isinstance(trouble, engine.NoDocker | engine.NoBuildx)
    if not down and not client_only:
        raise trouble
    if down and findings.wanted != "default":
        raise trouble
    if not system.has_apt:
        raise CannotSetUp(
            f"{trouble.what}, and on {system.name} this does not install one",
            fix=_by_hand(findings),
        )
    if client_only:
        what = f"install docker's client parts from {system.name}'s packages; the engine stays"
        return [Action("packages", what, CLIENT)]
    actions = []
    if findings.dockerd is None or engine.numbers(findings.dockerd) < engine.MIN_ENGINE:
        what = "install Docker Engine with buildx from the distribution's packages"
        actions.append(Action("packages", what, ENGINE))
    elif not findings.buildx:
        actions.append(Action("packages", "install docker's client parts", CLIENT))
    allow = "" if system.root else f" and let {this.user()} use it (the group `docker`)"
    actions.append(Action("start-engine", f"start the Docker Engine{allow}"))
    return actions


def _by_hand(findings: Findings) -> str:
    if findings.dockerd and findings.system.systemd:
        return "sudo systemctl start docker"
    return ELSEWHERE.get(findings.system.family, OTHERWISE)


def _plan_tests(findings: Findings) -> list[Action]:
    actions = []
    system = findings.system
    if not findings.git:
        if system.has_apt:
            actions.append(Action("packages", "install git", ("git",)))
        else:
            actions.append(Action("by-hand", "git is for you to install"))
    if findings.browser is None:
        if system.family == "debian":  # Ubuntu's package only points to the snap
            what = "install Chromium, which the tests of the daemon's pages drive"
            actions.append(Action("packages", what, browser.PACKAGES))
        else:
            by_hand = browser.how_to_get(system)
            actions.append(Action("by-hand", f"a browser is for you to install: {by_hand}"))
    if findings.registry is None:
        if system.has_apt:
            what = f"unpack {oci_registry.PACKAGE}, which tests of pushing to Daytona run"
            actions.append(Action("registry", what))
        else:
            by_hand = oci_registry.how_to_get(system)
            actions.append(Action("by-hand", f"a registry is for you to install: {by_hand}"))
    return actions


def execute(actions: list[Action], findings: Findings) -> None:
    packages = apt.Apt(Log(project.state_dir() / "setup.log"))
    by_hand = []
    for action in actions:
        console.step(action.what)
        match action.kind:
            case "packages":
                _install(action.packages, findings.system, packages)
            case "start-engine":
                dockerd.start(findings.system)
            case "base-image":
                found = engine.require()
                if base_image.present(found):
                    console.good(f"the engine has {base_image.NAME}")
                else:
                    base_image.get(found, findings.system, packages)
            case "registry":
                if not apt.candidates((oci_registry.PACKAGE,)):
                    packages.refresh()
                console.good(f"unpacked {oci_registry.get()}")
            case "by-hand":
                by_hand.append(action)
    engine.require()
    if by_hand:
        raise CannotSetUp("the rest is set up, but " + "; ".join(a.what for a in by_hand))


def _install(wanted: tuple[str, ...], system: System, packages: apt.Apt) -> None:
    if set(wanted) & set(ENGINE):
        packages.refresh()
        available = apt.candidates(ENGINE)
        if apt.needs_newer(system, available):
            console.say("  Debian 12's engine is too old: taking Debian 13's", "dim")
            packages.add_newer(system)
            available = apt.candidates(ENGINE)
        wanted = choose(wanted, available, system)
    packages.install(wanted)


def choose(wanted: tuple[str, ...], available: dict[str, str], system: System) -> tuple[str, ...]:
    """The packages that bring `wanted` here; raises where they are too old."""
    version = available.get("docker.io", "")
    if apt.upstream(version or "0") < engine.MIN_ENGINE or "docker-buildx" not in available:
        raise CannotSetUp(
            f"{system.name} has {f'docker.io {version}' if version else 'no docker.io'}"
            f" and {'' if 'docker-buildx' in available else 'no '}docker-buildx; too old",
            fix="upgrade to Debian 12, Ubuntu 22.04 or newer, or " + OTHERWISE,
        )
    # Ubuntu's client is in its docker.io; where it stands alone it is a package.
    client = "docker-cli" if "docker-cli" in available else "docker.io"
    return tuple(dict.fromkeys(client if name == "docker-cli" else name for name in wanted))


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (project.state_dir() / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say("another setup is at work here; waiting for it to end …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
