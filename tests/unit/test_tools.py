"""The agents and tools of the image are the daemon's list `TOOLS`; whoever names them agrees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from iterate_daemon.versions import TOOLS, Tool

from tasks.base.project import DOCKERFILE, ROOT, SANDBOX_DIR
from tasks.build import dockerfile
from tasks.bump import pins
from tests.sandbox.test_agents import AGENTS
from tests.sandbox.test_versions import UPDATER_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

LIST: Final = "apps/daemon/iterate_daemon/versions.py"
SKELETON: Final = f"{SANDBOX_DIR}/home-skeleton"
TEXT: Final = (ROOT / DOCKERFILE).read_text()
_PIN_COPY: Final = re.compile(
    r"^COPY --from=pins /pins/(\w+) /pins/(\w+)\.lock /pins/$", re.MULTILINE
)


def missing_places(tools: Sequence[Tool]) -> list[str]:
    """Each place that does not agree with that list: its file, and what to add or remove there."""
    variables = {tool.pin for tool in tools}
    agents = {tool.command for tool in tools if tool.agent}
    readme = (ROOT / "README.md").read_text()
    instructions = (ROOT / SKELETON / "AGENTS.md").read_text()
    shown_agents = {tool.name for tool in tools if tool.agent}
    shown_tools = {f"`{tool.command}`" for tool in tools if not tool.agent}
    return [
        *_differences(f"{DOCKERFILE}, ENV", dockerfile.pins(TEXT), variables),
        *_differences("tasks/bump/pins.py, PINS", {pin.variable for pin in pins.PINS}, variables),
        *_differences(f"{DOCKERFILE}, stages below /opt", set(_installed_pins()), variables),
        *_differences(f"{DOCKERFILE}, `for agent in`", set(_wrapped_agents()), agents),
        *_differences("tests/sandbox/test_agents.py, AGENTS", {a.name for a in AGENTS}, agents),
        *_differences("tests/sandbox/test_versions.py, UPDATER_VARIABLES",
                      UPDATER_VARIABLES, agents),
        *(f"README.md does not name {name}" for name in shown_agents if name not in readme),
        *(f"{SKELETON}/AGENTS.md does not name {name}"
          for name in shown_tools if name not in instructions),
        *(f"{SKELETON}/{agent.instructions} is not a link to AGENTS.md"
          for agent in AGENTS if not _is_linked(agent.instructions)),
    ]  # fmt: skip


def _differences(place: str, names: Collection[str], expected: set[str]) -> Iterator[str]:
    yield from (f"{place} lacks {name} of {LIST}" for name in sorted(expected - set(names)))
    yield from (f"{LIST} lacks {name} of {place}" for name in sorted(set(names) - expected))


def _installed_pins() -> Iterator[str]:
    """The pins whose stage takes pin and lock, and whose folder is copied into the sandbox."""
    for stage in re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]:
        name = stage.splitlines()[0].rpartition(" AS ")[2]
        pin = _PIN_COPY.search(stage)
        is_copied = f"\nCOPY --link --from={name} /opt/{name} /opt/{name}\n" in TEXT
        if pin and pin[1] == pin[2] and is_copied:
            yield pin[1]


def _wrapped_agents() -> list[str]:
    loop = re.search(r"for agent in ([\w -]+);", TEXT)
    return loop[1].split() if loop else []


def _is_linked(path: str) -> bool:
    link = ROOT / SKELETON / path
    return link.is_symlink() and link.samefile(ROOT / SKELETON / "AGENTS.md")


def test_every_place_names_every_agent_and_tool() -> None:
    assert missing_places(TOOLS) == []


def test_an_agent_that_is_only_in_the_list_is_missed_in_every_other_place() -> None:
    new_agent = Tool("Nobody's", "nobodys-agent", "SANDBOX_NOBODYS_VERSION", agent=True)
    places = set(missing_places([*TOOLS, new_agent])) - set(missing_places(TOOLS))
    assert len(places) == 7
    assert {place.split(",")[0].split(" ")[0] for place in places} == {
        DOCKERFILE,
        "tasks/bump/pins.py",
        "tests/sandbox/test_agents.py",
        "tests/sandbox/test_versions.py",
        "README.md",
    }


def test_an_agent_that_is_only_in_the_image_is_missed_in_the_list() -> None:
    agent = next(tool for tool in TOOLS if tool.agent)
    shorter_list = [tool for tool in TOOLS if tool != agent]
    places = set(missing_places(shorter_list)) - set(missing_places(TOOLS))
    assert len(places) == 6
    assert all(place.startswith(f"{LIST} lacks ") for place in places)
