"""Debian's and Ubuntu's packages, from where the host's own apt gets them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console, process, project
from tasks.base.errors import CommandFailed, TaskError
from tasks.engine.engine import MIN_ENGINE, version_numbers
from tasks.setup.system import root_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasks.setup.setup_log import SetupLog
    from tasks.setup.system import System

#: Debian 12's own engine is 20.10 and it has no buildx; Debian 13's runs on Debian 12 as it is.
NEWER: Final = "trixie"
#: With runc and tini of Debian 12: 13's want a newer libc (2026-11).
FROM_NEWER: Final = ("docker.io", "docker-cli", "docker-buildx", "containerd")
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCES: Final = f"/etc/apt/sources.list.d/{project.SLUG}-{NEWER}.sources"
PREFERENCES: Final = f"/etc/apt/preferences.d/{project.SLUG}-{NEWER}"
#: Another package manager may be at work: wait for its lock. Slow mirrors get a second try.
_OPTIONS: Final = (
    *("-o", "DPkg::Lock::Timeout=180"),
    *("-o", "Acquire::Retries=2"),
    *("-o", "Dpkg::Use-Pty=0"),
    *("-o", "Dpkg::Options::=--force-confold"),
    "-q",
)
_INSTALL: Final = ("--yes", "--no-install-recommends", "--no-remove", "install")
_QUIET: Final = ("DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
_FIELDS: Final = "$(REPO_URI)|$(RELEASE)|$(CODENAME)|$(COMPONENT)|$(ORIGIN)"


class NoMirror(TaskError):
    code = "no-mirror"


@dataclass(frozen=True)
class PackageList:
    """One package list that apt knows."""

    uri: str
    release: str  # as written in the sources: `bookworm`, `stable-security`
    codename: str  # as the mirror says; empty until the lists are fetched
    component: str
    origin: str


@dataclass(frozen=True)
class Mirror:
    """Where the host gets Debian from. `security` and `updates` may be missing."""

    main: str
    security: str = ""
    updates: bool = False


def parse_package_lists(text: str) -> list[PackageList]:
    """The output of `apt-get indextargets --format …` with our fields."""
    rows = (line.split("|") for line in text.splitlines())
    return [PackageList(*row) for row in rows if len(row) == 5]


def parse_policy(text: str) -> dict[str, str]:
    """Package → the version that apt would install, from `apt-cache policy`; a package without a
    version is left out.
    """
    versions: dict[str, str] = {}
    package = ""
    for line in text.splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            package = line[:-1]
        elif line.strip().startswith("Candidate:"):
            version = line.partition(":")[2].strip()
            if package and version != "(none)":
                versions[package] = version
    return versions


def upstream(version: str) -> tuple[int, ...]:
    """`5:26.1.5+dfsg1-9` → (26, 1, 5)."""
    return version_numbers(version.rpartition(":")[2])


def debian_mirror(lists: Iterable[PackageList], codename: str) -> Mirror | None:
    """Debian's own source among all package lists, which include those of third parties."""
    debian = [t for t in lists if t.origin == "Debian" and t.component == "main"]
    usable = [t for t in debian if not t.uri.startswith("cdrom:")]
    main = next((t.uri for t in usable if t.codename == codename), None)
    if main is None:
        return None
    security = next((t.uri for t in usable if t.codename == f"{codename}-security"), "")
    updates = any(t.codename == f"{codename}-updates" and t.uri == main for t in usable)
    return Mirror(main, security, updates)


def source_lines(mirror: Mirror, suite: str) -> list[str]:
    """sources.list(5) lines of `suite` on the host's mirror, as mmdebstrap takes them."""
    lines = [f"deb {mirror.main} {suite} main"]
    lines += [f"deb {mirror.main} {suite}-updates main"] if mirror.updates else []
    lines += [f"deb {mirror.security} {suite}-security main"] if mirror.security else []
    return lines


def newer_source(mirror: Mirror) -> str:
    return (
        "# Debian 13's Docker Engine for Debian 12. Other packages of Debian 13 are pinned away.\n"
        f"# Made by `nox -s setup`. See also {PREFERENCES}.\n"
        f"Types: deb\nURIs: {mirror.main}\nSuites: {NEWER}\nComponents: main\n"
        f"Signed-By: {KEYRING}\n"
    )


def newer_preferences(*, only_engine: bool) -> str:
    """Allow the engine's packages; `only_engine` also keeps out everything else of Debian 13."""
    release = f"Pin: release o=Debian,n={NEWER}"
    rest = f"Package: *\n{release}\nPin-Priority: 1\n\n" if only_engine else ""
    return f"{rest}Package: {' '.join(FROM_NEWER)}\n{release}\nPin-Priority: 600\n"


def needs_newer(system: System, candidates: Mapping[str, str]) -> bool:
    """Whether the distribution's own engine is too old, and Debian 13's would run here."""
    is_recent = upstream(candidates.get("docker.io", "0")) >= MIN_ENGINE
    if is_recent and "docker-buildx" in candidates:
        return False
    return system.family == "debian" and system.codename == "bookworm"


def candidates(packages: Iterable[str]) -> dict[str, str]:
    args = ["apt-cache", "policy", *packages]
    return parse_policy(process.capture(args, env={"LC_ALL": "C"}).stdout.decode(errors="replace"))


def mirror_of(system: System) -> Mirror | None:
    mirror = debian_mirror(_package_lists(), system.codename)
    if mirror is None:
        return None
    return Mirror(_first_mirror(mirror.main), _first_mirror(mirror.security), mirror.updates)


def _first_mirror(uri: str) -> str:
    """Cloud images name a file of mirrors, which exists on the host only: its first line."""
    path = uri.removeprefix("mirror+file:")
    if path == uri:
        return uri
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.strip() and line[0] != "#"), uri)


@dataclass
class Apt:
    """Installs packages as root. Refreshes the package lists once, before the first."""

    log: SetupLog
    _fresh: bool = False

    def install(self, packages: Iterable[str]) -> None:
        names = sorted(set(packages))
        title = ", ".join(names)
        prefix = root_prefix(f"installing {title}")
        self.refresh()
        display = process.show([*prefix[:1], "apt-get", "install", *names])
        # dpkg reports an installation that was interrupted; nothing installs until it is repaired.
        if process.capture(["dpkg", "--audit"], check=False).stdout:
            repair = [*prefix, "env", *_QUIET, "dpkg", "--configure", "-a"]
            self.log.run(
                repair, title="finishing an interrupted package installation", must_finish=True
            )
        command = [*prefix, "env", *_QUIET, "apt-get", *_OPTIONS, *_INSTALL, *names]
        self.log.run([*command, "--download-only"], title=f"downloading {title}", display=display)
        self.log.run(command, title=f"installing {title}", display="", must_finish=True)

    def refresh(self) -> None:
        """Fetch the package lists. A broken third-party source is no reason to stop."""
        if self._fresh:
            return
        prefix = root_prefix("refreshing the package lists")
        args = [*prefix, "apt-get", *_OPTIONS, "update"]
        display = process.show([*prefix[:1], "apt-get", "update"])
        try:
            self.log.run(args, title="refreshing the package lists", display=display)
        except CommandFailed as error:
            console.warn(f"{error.what}; continuing with the lists that are there")
        self._fresh = True

    def add_newer(self, system: System) -> None:
        """Add Debian 13's packages as a source, with pins that let only the engine through."""
        prefix = root_prefix("adding a package source")
        mirror = mirror_of(system)
        if mirror is None:
            raise NoMirror(
                f"apt on {system.name} has no working source of Debian's packages",
                fix="repair /etc/apt/sources.list.d/debian.sources, then run `apt-get update`",
            )
        is_listed = any(t.codename == NEWER and t.origin == "Debian" for t in _package_lists())
        _write(PREFERENCES, newer_preferences(only_engine=not is_listed), prefix)
        if is_listed:
            return
        _write(SOURCES, newer_source(mirror), prefix)
        options = ["-o", f"Dir::Etc::sourcelist={SOURCES}", "-o", "Dir::Etc::sourceparts=-"]
        options += ["-o", "APT::Get::List-Cleanup=0"]
        args = [*prefix, "apt-get", *_OPTIONS, *options, "update"]
        self.log.run(args, title="fetching Debian 13's package lists", display="")


def _package_lists() -> list[PackageList]:
    args = ["apt-get", "indextargets", "--format", _FIELDS, "Created-By: Packages"]
    return parse_package_lists(process.capture(args).stdout.decode(errors="replace"))


def _write(path: str, text: str, prefix: list[str]) -> None:
    console.say(f"  writing {path}", "dim")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        file.write_text(text, encoding="utf-8")
        process.capture([*prefix, "install", "-m", "0644", str(file), path])
