"""What `doctor` says about this machine beside the engine: tools, disk, network, Daytona."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tasks.base import certificates, ports, process, programs, project
from tasks.base.errors import TaskError
from tasks.engine.engine import version_numbers
from tasks.setup import browser, engine_checks, registry_program
from tasks.setup.prerequisite import Prerequisite, check_disk
from tasks.setup.system import PROXY_VARIABLES, current_system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.setup.prerequisite import PrerequisiteState

MIN_PYTHON: Final = (3, 11)
MIN_GIT: Final = (2, 25)  # the first whose commands take --pathspec-from-file
#: Bytes for logs and diagnostics in the checkout.
CHECKOUT_DISK: Final = 1_000_000_000
PROXIES: Final = tuple(n for name in PROXY_VARIABLES for n in (name.upper(), name))
DAYTONA_KEYS: Final = ("DAYTONA_API_KEY", "DAYTONA_JWT_TOKEN")
#: Seconds for a tool to print its version.
TOOL_TIMEOUT: Final = 2.0


def examine() -> list[Prerequisite]:
    """Every check, all at the same time: the slowest one decides how long it takes."""
    checks: list[Callable[[], list[Prerequisite]]] = [
        lambda: [check_python()],
        lambda: [check_git()],
        lambda: [check_package("nox", "Nox", requirement="any", required=True)],
        # Without uv, nox makes its environments with virtualenv, which is only slower.
        lambda: [check_package("uv", "uv", requirement="optional: any", required=False)],
        engine_checks.check_engine,
        lambda: [check_node()],
        lambda: [check_pnpm()],
        lambda: [check_checkout_disk()],
        lambda: [check_browser()],
        lambda: [check_registry()],
        lambda: [check_proxies(os.environ)],
        lambda: [check_ca_bundle()],
        lambda: [check_port(project.DAEMON_PORT), check_port(project.OPENCODE_PORT)],
        lambda: [check_daytona(os.environ)],
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [row for rows in pool.map(lambda check: check(), checks) for row in rows]


def check_python() -> Prerequisite:
    state: PrerequisiteState = "ok" if sys.version_info >= MIN_PYTHON else "missing"
    return Prerequisite(
        "python", "Python", state, platform.python_version(), "3.11 or newer",
        "install Python 3.11 or newer",
    )  # fmt: skip


def check_git() -> Prerequisite:
    version = tool_version(["git", "--version"])
    state: PrerequisiteState = "ok" if version_numbers(version) >= MIN_GIT else "missing"
    requirement = ".".join(map(str, MIN_GIT)) + " or newer"
    return Prerequisite(
        "git", "git", state, version or "none", requirement, "nox -s setup, or install git"
    )


def check_package(package: str, name: str, *, requirement: str, required: bool) -> Prerequisite:
    """Of nox's own environment, or a program on PATH."""
    if importlib.util.find_spec(package):
        version = importlib.metadata.version(package)
    else:
        version = tool_version([package, "--version"])
    missing: PrerequisiteState = "missing" if required else "absent"
    state: PrerequisiteState = "ok" if version else missing
    fix = 'pip install "nox[uv]"'
    return Prerequisite(
        package, name, state, version or "none", requirement, fix, required=required
    )


def check_node() -> Prerequisite:
    version = tool_version(["node", "--version"])
    state: PrerequisiteState = "ok" if version else "absent"
    requirement = "optional: the image has its own"
    return Prerequisite("node", "Node", state, version or "none", requirement, required=False)


def check_pnpm() -> Prerequisite:
    # It is not asked for its version: a corepack shim would download one.
    path = shutil.which("pnpm")
    state: PrerequisiteState = "ok" if path else "absent"
    requirement = "optional: for the pnpm scripts"
    fix = "npm install --global pnpm"
    return Prerequisite("pnpm", "pnpm", state, path or "none", requirement, fix, required=False)


def check_checkout_disk() -> Prerequisite:
    folder = str(project.ROOT)
    return check_disk(
        "checkout-disk", "checkout's disk", folder, CHECKOUT_DISK, "free some disk space"
    )


def check_browser() -> Prerequisite:
    requirement = "Chromium or Chrome, for the tests of the page"
    fix = f"nox -s setup, or {browser.how_to_install(current_system())}"
    try:
        path = programs.find_browser()
    except TaskError as error:
        return Prerequisite("browser", "browser", "missing", error.what, requirement, error.fix)
    state: PrerequisiteState = "ok" if path else "missing"
    return Prerequisite("browser", "browser", state, str(path or "none"), requirement, fix)


def check_registry() -> Prerequisite:
    path = programs.find_registry()
    state: PrerequisiteState = "ok" if path else "absent"
    requirement = "optional: for the tests with the Daytona stand-in"
    fix = registry_program.how_to_install(current_system())
    actual = str(path or "none")
    return Prerequisite("registry", "registry", state, actual, requirement, fix, required=False)


def check_proxies(environment: Mapping[str, str]) -> Prerequisite:
    proxies = [f"{n}={_without_password(environment[n])}" for n in PROXIES if environment.get(n)]
    state: PrerequisiteState = "ok" if proxies else "absent"
    actual = ", ".join(proxies) or "none"
    requirement = "optional: passed to the build"
    return Prerequisite("proxies", "proxies", state, actual, requirement, required=False)


def _without_password(url: str) -> str:
    """The proxy's address without the user name and the password in it."""
    try:
        netloc = urlsplit(url).netloc
    except ValueError:
        return "(not an address)"
    return url.replace(netloc, netloc.rpartition("@")[2]) if netloc else url.rpartition("@")[2]


def check_ca_bundle() -> Prerequisite:
    requirement = "optional: a secret of the build, for a proxy that inspects TLS"
    try:
        path, reason = certificates.find_with_reason()
    except TaskError as error:
        return Prerequisite("ca-bundle", "CA bundle", "missing", error.what, requirement, error.fix)
    state: PrerequisiteState = "ok" if path else "absent"
    actual = f"{path} ({reason})" if path else reason
    return Prerequisite("ca-bundle", "CA bundle", state, actual, requirement, required=False)


def check_port(port: int) -> Prerequisite:
    requirement = "optional: free, to publish a sandbox on it"
    name, id_ = f"port {port}", f"port-{port}"
    if ports.is_free(port):
        return Prerequisite(id_, name, "ok", "free", requirement, required=False)
    owner = ports.find_owner(port) or "a process of another user"
    fix = "end that process, or publish the sandbox on another port"
    return Prerequisite(
        id_, name, "attention", f"used by {owner}", requirement, fix, required=False
    )


def check_daytona(environment: Mapping[str, str]) -> Prerequisite:
    names = [name for name in DAYTONA_KEYS if environment.get(name)]
    state: PrerequisiteState = "ok" if names else "absent"
    actual = f"{names[0]} is set" if names else "none"
    requirement = "optional: for snapshots at Daytona"
    fix = f"set {DAYTONA_KEYS[0]}"
    return Prerequisite("daytona", "Daytona", state, actual, requirement, fix, required=False)


def tool_version(args: list[str]) -> str:
    """The version in what a tool prints about itself; "" when there is none."""
    try:
        result = process.capture(args, timeout=TOOL_TIMEOUT, check=False)
    except (TaskError, OSError):
        return ""
    words = (result.stdout or result.stderr).decode(errors="replace").split()
    return next((w.lstrip("v") for w in words if w.lstrip("v")[:1].isdigit()), "")
