"""The image that ours is built from: pulled, or made of Debian's packages."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tasks.base import console, process, project
from tasks.base.errors import CommandFailed, TaskError, TimedOut
from tasks.setup.apt import mirror_of, source_lines
from tasks.setup.system import root_prefix

if TYPE_CHECKING:
    from tasks.engine.engine import Engine
    from tasks.setup.apt import Apt
    from tasks.setup.setup_log import SetupLog
    from tasks.setup.system import System

NAME: Final = project.BASE_IMAGE
SUITE: Final = NAME.partition(":")[2].partition("-")[0]
#: Marks an image that was made here and not pulled.
LABEL: Final = f"{project.LABEL}.base=bootstrapped"
PACKAGES: Final = ("mmdebstrap", "debian-archive-keyring")
#: Seconds until a registry has shown a sign of the image, and for the whole pull.
FIRST_SIGN: Final = 20.0
LONGEST_PULL: Final = 900.0
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: As Debian's own slim images: no manuals, no translations; licences stay.
SLIM: Final = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
)


class NoBaseImage(TaskError):
    code = "no-base-image"


def is_present(engine: Engine) -> bool:
    return engine.get(f"/images/{quote(NAME, safe='')}/json").status == 200


def get(engine: Engine, system: System, apt: Apt) -> None:
    """Pull the base image; where no registry answers, make it."""
    try:
        pull(engine, apt.log)
    except (CommandFailed, TimedOut) as error:
        reason = error.what
    else:
        return
    if not system.has_apt:
        raise NoBaseImage(
            f"{NAME} could not be pulled ({reason})",
            fix=f"docker pull REGISTRY/{NAME} from a registry you can reach, then docker tag "
            f"REGISTRY/{NAME} {NAME}",
        )
    console.say(f"  {reason}", "dim")
    console.step(f"no registry provides {NAME}: making it of Debian's packages")
    bootstrap(engine, system, apt)


def pull(engine: Engine, log: SetupLog) -> None:
    log.run(
        engine.command("pull", NAME),
        title=f"pulling {NAME}",
        env=engine.environment,
        give_up=give_up,
    )


def give_up(text: str, seconds: float) -> str:
    """Why to stop `docker pull`: there is no sign of the image, or it takes too long."""
    if "Pulling from" not in text and seconds > FIRST_SIGN:
        return f"no registry answered within {FIRST_SIGN:g} s"
    return f"it takes longer than {LONGEST_PULL:g} s" if seconds > LONGEST_PULL else ""


def bootstrap(engine: Engine, system: System, apt: Apt) -> None:
    arch = process.capture(["dpkg", "--print-architecture"]).stdout.decode().strip()
    if engine.arch != arch:
        raise NoBaseImage(
            f"{NAME} cannot be made here: the engine runs {engine.arch}, this machine is {arch}",
            fix=f"pull or load {NAME} on the engine yourself",
        )
    prefix = root_prefix("making the base image")
    if missing := [p for p in PACKAGES if not _is_installed(p)]:
        apt.install(missing)
    mirror = mirror_of(system)
    # On Ubuntu mmdebstrap knows where Debian is. A mirror may carry the suite without its
    # updates, hence the second try.
    choices = [source_lines(mirror, SUITE), [mirror.main]] if mirror else [[]]
    with tempfile.TemporaryDirectory(prefix="base-", dir=project.state_dir()) as folder:
        tar = Path(folder, "base.tar")
        for number, sources in enumerate(choices):
            try:
                _debootstrap(prefix, sources, tar, apt.log)
            except CommandFailed as error:
                if number + 1 == len(choices):
                    raise
                console.warn(f"{error.what}; trying again without updates")
            else:
                break
        changes = (f"ENV PATH={PATH}", 'CMD ["bash"]', f"LABEL {LABEL}")
        options = [word for change in changes for word in ("--change", change)]
        command = engine.command("import", *options, str(tar), NAME)
        display = process.show(engine.command("import", "…", NAME))
        apt.log.run(command, title=f"importing {NAME}", display=display, env=engine.environment)


def _debootstrap(prefix: list[str], sources: list[str], tar: Path, log: SetupLog) -> None:
    options = [f"--dpkgopt={option}" for option in SLIM]
    # A host with a frozen mirror has configured its apt to ignore the date.
    dates = process.capture(["apt-config", "dump", "Acquire::Check-Valid-Until"]).stdout
    if b'"false"' in dates:
        options.append('--aptopt=Acquire::Check-Valid-Until "false"')
    log.run(
        [
            *prefix,
            "mmdebstrap",
            "--variant=minbase",
            "--format=tar",
            *options,
            SUITE,
            "-",
            *sources,
        ],
        title=f"making Debian {SUITE}",
        display=process.show([*prefix[:1], "mmdebstrap", "--variant=minbase", SUITE]),
        output=tar,
    )


def _is_installed(package: str) -> bool:
    args = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return process.capture(args, check=False).stdout == b"installed"
