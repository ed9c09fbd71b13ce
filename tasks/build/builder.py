"""The buildx builder that a build runs on: the engine's own, or any other one by name.

Without a name it is the one that buildx itself would take (`docker buildx use`, BUILDX_BUILDER).
Everything is checked before work starts; a builder that does not answer would cost 20 seconds.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tasks.base import addresses, console, process
from tasks.base.errors import BadInput, TaskError
from tasks.build import layer_cache, platforms
from tasks.engine.engine import version_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.build.layer_cache import Cache
    from tasks.engine.engine import Engine

VARIABLE: Final = "SANDBOX_BUILDER"
#: The driver of the BuildKit inside a Docker Engine.
ENGINES: Final = "docker"
#: What starts its builders by itself, when a build needs them.
SELF_STARTING: Final = ("docker-container", "kubernetes")
#: Seconds; buildx itself gives up on a silent builder after 20.
PATIENCE: Final = 30.0
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_NEW: Final = "docker buildx create --name sandbox --driver docker-container"


class NoBuilder(TaskError):
    """The builder is not there, does not answer, or cannot do what is asked."""

    code = "builder"


@dataclass(frozen=True)
class Node:
    """One machine of a builder, as `docker buildx inspect` shows it."""

    endpoint: str
    status: str
    error: str = ""
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspected:
    name: str
    driver: str
    nodes: tuple[Node, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Builder:
    name: str
    driver: str
    endpoint: str
    #: It is the engine's: it sees the engine's images, and its results are there.
    is_engines: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.driver}, {console.printable(self.endpoint)})"


@dataclass(frozen=True)
class BuildPlan:
    """How a build is made: on which builder, and which layers it shares with other machines."""

    builder: Builder
    cache: Cache | None = None

    def proxies(self, environment: Mapping[str, str], names: frozenset[str]) -> list[str]:
        """Which of the proxy variables `names` mean something where the build runs."""
        return sorted((names & environment.keys()) - {*self.proxies_left_out(environment, names)})

    def proxies_left_out(self, environment: Mapping[str, str], names: frozenset[str]) -> list[str]:
        """Those that lead to this machine's loopback, which is another one on another machine."""
        names_in_use = sorted(names & environment.keys()) if not self.builder.is_engines else []
        hosts = {
            n: addresses.host_of(environment[n]) for n in names_in_use if n.upper() != "NO_PROXY"
        }
        return [name for name, host in hosts.items() if addresses.is_loopback(host)]


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"`{console.printable(name)}` cannot name a builder", fix="docker buildx ls shows them"
        )
    return name


def requested_name_of(
    requested_name: str | None, environment: Mapping[str, str] = os.environ
) -> str | None:
    """The name that the user gave, by option or variable; an empty variable does not count."""
    name = requested_name if requested_name is not None else environment.get(VARIABLE) or None
    return check_name(name) if name is not None else None


def plan_build(
    engine: Engine, name: str | None = None, *, environment: Mapping[str, str] = os.environ
) -> BuildPlan:
    """How to build for `engine`, by what the user and the environment say.

    Raises `BadInput`, `NoBuilder` or `CacheUnusable`; nothing was started by then.
    """
    cache = layer_cache.from_environment(environment)
    if cache:
        layer_cache.check(
            cache, buildx=version_numbers(engine.buildx or "0"), environment=environment
        )
    chosen_builder = require(engine, requested_name_of(name, environment))
    if cache and chosen_builder.driver == ENGINES and not _has_containerd_store(engine):
        raise layer_cache.CacheUnusable(
            f"the engine's own builder cannot write the layer cache {cache}",
            fix=f"{_NEW}, then -- --builder sandbox (or {VARIABLE}=sandbox)",
        )
    return BuildPlan(chosen_builder, cache)


def require(engine: Engine, name: str | None = None) -> Builder:
    """The builder of that name, or buildx's current one, if it can build for the engine."""
    description = _inspect(engine, name)
    is_engines = description.driver == ENGINES and _is_engine(engine, description)
    if description.driver == ENGINES and not is_engines:
        raise NoBuilder(
            f"the builder {description.name} is another Docker Engine: its images stay there",
            fix=f"docker buildx create --name sandbox --driver docker-container {description.name},"
            " then -- --builder sandbox",
        )
    _check_status(description)
    if not is_engines:
        _check_platform(engine, description)
    endpoint = description.nodes[0].endpoint if description.nodes else ""
    return Builder(description.name, description.driver, endpoint, is_engines)


def parse(text: str) -> Inspected:
    """The output of `docker buildx inspect`; newer ones have a machine's form, 0.13 has not."""
    header, _, rest = text.partition("\nNodes:")
    head = _fields(header)
    blocks = re.split(r"^Name:", rest, flags=re.MULTILINE)[1:]
    nodes = []
    for block in blocks:
        fields = _fields(f"Name:{block}")
        node_platforms = tuple(
            p.strip().rstrip("*") for p in fields.get("Platforms", "").split(",")
        )
        nodes.append(
            Node(
                fields.get("Endpoint", ""),
                fields.get("Status", ""),
                fields.get("Error", ""),
                tuple(filter(None, node_platforms)),
            )
        )
    return Inspected(
        head.get("Name", ""), head.get("Driver", ""), tuple(nodes), head.get("Error", "")
    )


def parse_names(text: str) -> list[str]:
    """The builders in the output of `docker buildx ls`: the lines that are no nodes."""
    lines = [line for line in text.splitlines()[1:] if line[:1].strip()]
    return [line.split()[0].rstrip("*") for line in lines]


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines() if line[:1].strip())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _inspect(engine: Engine, name: str | None) -> Inspected:
    result = process.capture(
        engine.command("buildx", "inspect", *([name] if name else [])),
        env=engine.environment,
        timeout=PATIENCE,
        check=False,
    )
    if result.returncode == 0:
        return parse(result.stdout.decode(errors="replace"))
    lines = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    reason = console.printable(lines[-1].removeprefix("ERROR: "))
    if name and "no builder" not in reason:
        reason = f"the builder {name} cannot be used: {reason}"
    raise NoBuilder(reason, fix=_candidates(engine))


def _candidates(engine: Engine) -> str:
    listed = process.capture(
        engine.command("buildx", "ls"), env=engine.environment, timeout=PATIENCE, check=False
    )
    names = parse_names(listed.stdout.decode(errors="replace"))
    return f"there is {', '.join(names)}; a new one: {_NEW}" if names else _NEW


def _is_engine(engine: Engine, description: Inspected) -> bool:
    """Whether the engine behind that docker context is `engine`."""
    context = description.nodes[0].endpoint if description.nodes else description.name
    if context == (engine.endpoint.context or "default"):
        return True
    result = process.capture(
        engine.command("--context", context, "info", "--format", "{{.ID}}"),
        env=engine.environment,
        check=False,
    )
    return result.stdout.decode().strip() == _info(engine).get("ID")


def _check_status(description: Inspected) -> None:
    if description.driver in SELF_STARTING or any(
        node.status == "running" for node in description.nodes
    ):
        return
    node = description.nodes[0] if description.nodes else Node("", "inactive")
    reason = console.printable(node.error or description.error or node.status)
    raise NoBuilder(
        f"the builder {description.name} ({description.driver}, {console.printable(node.endpoint)})"
        f" does not answer: {reason}",
        fix="start it where it runs, or choose another: docker buildx ls",
    )


def _check_platform(engine: Engine, description: Inspected) -> None:
    """Whether it builds for the engine, or what the user asks for. A stopped one names none."""
    platform = platforms.of_engine(engine)
    node_platforms = {platform for node in description.nodes for platform in node.platforms}
    if node_platforms and platform not in node_platforms:
        raise NoBuilder(
            f"the builder {description.name} builds {', '.join(sorted(node_platforms))},"
            f" and the image is for {platform}",
            fix="choose another: docker buildx ls",
        )


def _has_containerd_store(engine: Engine) -> bool:
    return any("containerd" in str(value) for _, value in _info(engine).get("DriverStatus") or [])


def _info(engine: Engine) -> dict[str, Any]:
    facts: dict[str, Any] = engine.get("/info").json()
    return facts
