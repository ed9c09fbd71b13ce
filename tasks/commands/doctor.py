"""`nox -s doctor`: every prerequisite, what was found, what is needed, how to fix it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from tasks.base import certificates, console, ports, process, project
from tasks.base.errors import TaskError
from tasks.base.options import Parser
from tasks.engine import engine
from tasks.engine.engine import EngineError
from tasks.setup import base_image, browser, oci_registry
from tasks.setup import system as this

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.engine.engine import Engine

#: `missing` stops work when the check is required; `attention` never does.
State = Literal["ok", "missing", "attention", "absent"]

PYTHON: Final = (3, 11)
GIT: Final = (2, 25)  # the first whose commands take --pathspec-from-file
#: The image, its build cache and the test containers, on the engine's disk; logs in the checkout.
ENGINE_DISK: Final = 8_000_000_000
ENGINE_FREE: Final = f"{console.size(ENGINE_DISK)} free"
CHECKOUT_DISK: Final = 1_000_000_000
PROXIES: Final = tuple(n for v in this.PROXY_VARIABLES for n in (v.upper(), v))
DAYTONA: Final = ("DAYTONA_API_KEY", "DAYTONA_JWT_TOKEN")
TOOL_TIMEOUT: Final = 2.0

MARKS: Final[dict[State, str]] = {"ok": "✓", "missing": "✗", "attention": "!", "absent": "-"}
COLOURS: Final[dict[State, console.Colour]] = {
    "ok": "green",
    "missing": "red",
    "attention": "yellow",
    "absent": "dim",
}


class NotReady(TaskError):
    code = "prerequisite-missing"


@dataclass(frozen=True)
class Check:
    id: str
    name: str
    state: State
    found: str
    needed: str
    fix: str = ""
    required: bool = True

    @property
    def stops(self) -> bool:
        return self.required and self.state == "missing"


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s doctor --", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the same for machines, on stdout")
    options = parser.parse_args(arguments)
    checks = examine()
    stopping = [check.name for check in checks if check.stops]
    if options.json:
        rows = [asdict(c) | ({"fix": ""} if c.state == "ok" else {}) for c in checks]
        console.emit_json({"schema": 1, "ok": not stopping, "checks": rows})
    else:
        show(checks)
    if stopping:
        raise NotReady(
            f"missing: {', '.join(stopping)}",
            fix="nox -s setup gets what it can; the table says the rest",
        )
    if not options.json:
        console.good("everything that is required is there")


def examine() -> list[Check]:
    """All checks, at the same time: the slowest decides how long it takes."""
    looks: list[Callable[[], list[Check]]] = [
        lambda: [check_python()],
        lambda: [check_git()],
        lambda: [check_nox()],
        lambda: [check_uv()],
        check_engine,
        lambda: [check_node()],
        lambda: [check_pnpm()],
        lambda: [check_checkout_disk()],
        lambda: [check_browser()],
        lambda: [check_registry()],
        lambda: [check_proxies(os.environ)],
        lambda: [check_ca()],
        *(partial(_one_port, port) for port in (project.DAEMON_PORT, project.OPENCODE_PORT)),
        lambda: [check_daytona(os.environ)],
    ]
    with ThreadPoolExecutor(len(looks)) as pool:
        return [check for result in pool.map(lambda look: look(), looks) for check in result]


def check_python() -> Check:
    found = platform.python_version()
    state: State = "ok" if sys.version_info >= PYTHON else "missing"
    return Check("python", "Python", state, found, "3.11 or newer", "install Python 3.11 or newer")


def check_git() -> Check:
    version = tool_version(["git", "--version"])
    state: State = "ok" if engine.numbers(version) >= GIT else "missing"
    needed = ".".join(map(str, GIT)) + " or newer"
    return Check("git", "git", state, version or "none", needed, "nox -s setup, or install git")


def check_nox() -> Check:
    if importlib.util.find_spec("nox"):
        version = importlib.metadata.version("nox")
    else:
        version = tool_version(["nox", "--version"])
    state: State = "ok" if version else "missing"
    return Check("nox", "Nox", state, version or "none", "any", 'pip install "nox[uv]"')


def check_uv() -> Check:
    if importlib.util.find_spec("uv"):
        version = importlib.metadata.version("uv")
    else:
        version = tool_version(["uv", "--version"])
    # Without it, nox makes its environments with virtualenv, only slower.
    state: State = "ok" if version else "absent"
    fix = 'pip install "nox[uv]"'
    return Check("uv", "uv", state, version or "none", "any; optional", fix, required=False)


def check_engine() -> list[Check]:
    """Client, engine, API, buildx, and what is on the engine."""
    cli = shutil.which("docker")
    client = Check(
        "docker-cli", "docker CLI", "ok" if cli else "missing", cli or "none", "any", "nox -s setup"
    )
    needed = f"{engine.MIN_ENGINE[0]} or newer"
    try:
        found = engine.find()
    except EngineError as error:
        unknown = "no engine to ask"
        return [
            client,
            Check("engine", "Docker Engine", "missing", error.what, needed, error.fix),
            # What cannot be asked now has its row all the same: the ids are stable.
            Check("engine-api", "engine API", "absent", unknown, "1.41 or newer"),
            Check("buildx", "buildx", "absent", unknown, "any"),
            Check("base-image", "base image", "absent", unknown, base_image.NAME),
            Check("engine-disk", "engine's disk", "absent", unknown, ENGINE_FREE, required=False),
        ]
    return [client, *judge_engine(found), check_base_image(found), check_engine_disk(found)]


def judge_engine(found: Engine) -> list[Check]:
    upgrade = "install Docker Engine 23 or newer, or choose another docker context"
    new = engine.numbers(found.version) >= engine.MIN_ENGINE and found.os == "linux"
    speaks = engine.numbers(found.api) >= engine.MIN_API
    described = f"{found.version} ({found.os}/{found.arch}) at {found.endpoint}"
    return [
        Check(
            "engine", "Docker Engine", "ok" if new else "missing", described,
            f"{engine.MIN_ENGINE[0]} or newer, Linux", upgrade,
        ),
        Check(
            "engine-api", "engine API", "ok" if speaks else "missing", found.api,
            ".".join(map(str, engine.MIN_API)) + " or newer", upgrade,
        ),
        Check(
            "buildx", "buildx", "ok" if found.buildx else "missing", found.buildx or "none",
            "any", "nox -s setup",
        ),
    ]  # fmt: skip


def check_base_image(found: Engine) -> Check:
    there = base_image.present(found)
    state: State = "ok" if there else "missing"
    text = "there" if there else "none"
    return Check("base-image", "base image", state, text, base_image.NAME, "nox -s setup")


def check_engine_disk(found: Engine) -> Check:
    root = found.get("/info").json().get("DockerRootDir", "") if found.is_local else ""
    if not root or not Path(root).is_dir():
        where = "on the engine's machine; not known here"
        return Check("engine-disk", "engine's disk", "absent", where, ENGINE_FREE, required=False)
    return judge_disk("engine-disk", "engine's disk", root, ENGINE_DISK, "docker system prune")


def check_checkout_disk() -> Check:
    root = str(project.ROOT)
    return judge_disk("checkout-disk", "checkout's disk", root, CHECKOUT_DISK, "free some space")


def judge_disk(id_: str, name: str, path: str, needed: int, fix: str) -> Check:
    free = shutil.disk_usage(path).free
    state: State = "ok" if free >= needed else "missing"
    found = f"{console.size(free)} free at {path}"
    return Check(id_, name, state, found, f"{console.size(needed)} free", fix)


def check_node() -> Check:
    version = tool_version(["node", "--version"])
    state: State = "ok" if version else "absent"
    needed = "optional: the image brings its own"
    return Check("node", "Node", state, version or "none", needed, required=False)


def check_pnpm() -> Check:
    # Not asked for its version: a corepack shim would download one.
    path = shutil.which("pnpm")
    state: State = "ok" if path else "absent"
    needed = "optional: for the pnpm scripts"
    fix = "npm install --global pnpm"
    return Check("pnpm", "pnpm", state, path or "none", needed, fix, required=False)


def check_browser() -> Check:
    needed = "Chromium or Chrome, for the page's tests"
    fix = f"nox -s setup, or {browser.how_to_get(this.this_system())}"
    try:
        path = browser.find()
    except TaskError as error:
        return Check("browser", "browser", "missing", error.what, needed, error.fix)
    state: State = "ok" if path else "missing"
    return Check("browser", "browser", state, str(path or "none"), needed, fix)


def check_registry() -> Check:
    path = oci_registry.find()
    state: State = "ok" if path else "absent"
    needed = "for tests of Daytona's stand-in"
    fix = oci_registry.how_to_get(this.this_system())
    return Check("registry", "registry", state, str(path or "none"), needed, fix, required=False)


def check_proxies(environment: Mapping[str, str]) -> Check:
    given = [f"{n}={_without_password(environment[n])}" for n in PROXIES if environment.get(n)]
    state: State = "ok" if given else "absent"
    needed = "optional: passed to the build"
    return Check("proxies", "proxies", state, ", ".join(given) or "none", needed, required=False)


def _without_password(url: str) -> str:
    """The proxy's address; who logs in there is nobody's business."""
    try:
        netloc = urlsplit(url).netloc
    except ValueError:
        return "(not an address)"
    return url.replace(netloc, netloc.rpartition("@")[2]) if netloc else url.rpartition("@")[2]


def check_ca() -> Check:
    needed = "optional: a build secret, behind a proxy that inspects TLS"
    try:
        path, reason = certificates.find_with_reason()
    except TaskError as error:
        return Check("ca-bundle", "CA bundle", "missing", error.what, needed, error.fix)
    state: State = "ok" if path else "absent"
    found = f"{path} ({reason})" if path else reason
    return Check("ca-bundle", "CA bundle", state, found, needed, required=False)


def _one_port(port: int) -> list[Check]:
    return [check_port(port)]


def check_port(port: int) -> Check:
    needed = "optional: free, to publish a sandbox there"
    name, id_ = f"port {port}", f"port-{port}"
    if ports.is_free(port):
        return Check(id_, name, "ok", "free", needed, required=False)
    owner = ports.owner(port) or "another user's process"
    fix = "end it, or publish the sandbox on another port"
    return Check(id_, name, "attention", f"taken by {owner}", needed, fix, required=False)


def check_daytona(environment: Mapping[str, str]) -> Check:
    there = [name for name in DAYTONA if environment.get(name)]
    state: State = "ok" if there else "absent"
    found = f"{there[0]} is set" if there else "none"
    needed = "optional: for Daytona snapshots"
    return Check("daytona", "Daytona", state, found, needed, f"set {DAYTONA[0]}", required=False)


def tool_version(args: list[str]) -> str:
    """The version in what a tool prints of itself; empty when there is none."""
    try:
        result = process.capture(args, timeout=TOOL_TIMEOUT, check=False)
    except TaskError:
        return ""
    words = (result.stdout or result.stderr).decode(errors="replace").split()
    return next((w.lstrip("v") for w in words if w.lstrip("v")[:1].isdigit()), "")


def show(checks: list[Check]) -> None:
    """A table, or blocks where the terminal is too narrow for one."""
    rows = [[MARKS[c.state], c.name, console.printable(c.found), c.needed] for c in checks]
    table = console.table(rows, ["", "what", "found", "needed"]).splitlines()
    narrow = max(map(len, table)) > shutil.get_terminal_size((200, 50)).columns
    lines = [f"{mark} {name}: {found}" for mark, name, found, _ in rows] if narrow else table[2:]
    if not narrow:
        console.say("\n".join(table[:2]))
    for check, line in zip(checks, lines, strict=True):
        console.say(line, COLOURS[check.state])
    for check in checks:
        if check.state in {"missing", "attention"} and check.fix:
            console.say(f"→ {check.name}: {check.fix}")
