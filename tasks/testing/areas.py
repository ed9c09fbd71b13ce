"""The areas of `nox -s tests`: what each checks, the command that runs it, the options it takes."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console, project
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Options of the session that some areas take, by their names in the parser.
Option = Literal["k", "x", "seed", "keep", "image"]

#: What an area needs beside its packages; `nox -s setup` gets it.
Prerequisite = Literal["engine", "browser", "registry"]

_PYTEST: Final = (sys.executable, "-m", "pytest")
_TASKS: Final = (sys.executable, "-m", "tasks")
_PARALLEL: Final = ("--numprocesses", "auto")
#: Two at a time, because most of the time is waiting; a file's tests share what they started.
_TWO_FILES: Final = ("--numprocesses", "2", "--dist", "loadfile")
#: The stand-in runs on anyio, which brings a plugin that our tests do not need.
_NO_ANYIO: Final = ("-p", "no:anyio")
_SLOWEST: Final = ("-v", "--durations=5")
_ENGINE: Final[frozenset[Prerequisite]] = frozenset({"engine"})
_SELECTION: Final[frozenset[Option]] = frozenset({"k", "x"})
#: Tests of both ways to publish an image; they take long, and are an area of their own.
_ROADS: Final = tuple(
    f"tests/daytona/test_{name}.py" for name in ("command_forms", "roads", "suite")
)


@dataclass(frozen=True, kw_only=True)
class Area:
    """`command` is complete but for the options. `builds_on` names the area whose result this one
    tests: when that one ran and failed, this one is not run.
    """

    name: str
    purpose: str
    command: tuple[str, ...]
    options: frozenset[Option] = _SELECTION
    needs: frozenset[Prerequisite] = frozenset()
    builds_on: str = ""

    @property
    def has_tests(self) -> bool:
        """Whether pytest runs in it, so that its tests can be selection and counted."""
        return "k" in self.options


#: In the order in which they run: what is quick and what others build on comes first.
AREAS: Final = (
    Area(
        name="lint",
        purpose="style, shell scripts, workflows",
        command=(*_TASKS, "lint"),
        options=frozenset(),
    ),
    Area(
        name="types",
        purpose="types, strictly",
        command=(sys.executable, "-m", "mypy"),
        options=frozenset(),
    ),
    Area(
        name="unit",
        purpose="what needs no engine",
        command=(*_PYTEST, "tests/unit", *_PARALLEL),
    ),
    Area(
        name="git",
        purpose="contexts, refs and local mode's sync on real repositories",
        command=(*_PYTEST, "tests/git", *_PARALLEL),
    ),
    Area(
        name="bump",
        purpose="the bumper as a command, on a registry of its own",
        command=(*_PYTEST, "tests/bump", *_PARALLEL),
    ),
    Area(
        name="sessions",
        purpose="the sessions through the real nox: help, exit statuses, mistyped commands",
        command=(*_PYTEST, "tests/sessions", *_PARALLEL),
    ),
    Area(
        name="deps",
        purpose="the requirement files are up to date",
        command=(*_TASKS, "deps", "--check"),
        options=frozenset(),
    ),
    Area(
        name="build",
        purpose=f"build {project.LOCAL_IMAGE} from the working tree",
        command=(*_TASKS, "snapshot-local"),
        options=frozenset(),
        needs=_ENGINE,
    ),
    Area(
        name="local",
        purpose="a running sandbox, black-box, as `nox -s local_test`",
        command=(*_TASKS, "local-test"),
        options=_SELECTION | {"seed", "keep", "image"},
        needs=_ENGINE,
        builds_on="build",
    ),
    Area(
        name="web",
        purpose="the daemon's page in a real browser",
        command=(*_PYTEST, "tests/web", "-v", "--durations=8"),
        options=_SELECTION | {"keep", "image"},
        needs=_ENGINE | {"browser"},
        builds_on="build",
    ),
    Area(
        name="image",
        purpose="how the image is built, with real builds",
        command=(*_PYTEST, "tests/image", *_SLOWEST),
        needs=_ENGINE,
    ),
    Area(
        name="standin",
        purpose="the local Daytona, with the real SDK",
        command=(*_PYTEST, "tests/standin", *_SLOWEST),
        needs=_ENGINE | {"registry"},
    ),
    Area(
        name="daytona",
        purpose="publishing under faults, on the local Daytona",
        command=(
            *(*_PYTEST, "tests/daytona", *(f"--ignore={path}" for path in _ROADS)),
            *("tests/unit/daytona", "tests/unit/commands", "tests/git", "--cases"),
            *(*_TWO_FILES, *_NO_ANYIO),
        ),
        options=_SELECTION | {"seed"},
        needs=_ENGINE | {"registry"},
    ),
    Area(
        name="roads",
        purpose="both ways to publish, and daytona_test itself",
        command=(*_PYTEST, *_ROADS, *_NO_ANYIO),
        options=_SELECTION | {"seed"},
        needs=_ENGINE | {"registry"},
    ),
    Area(
        name="workflows",
        purpose="rehearse the workflows, and break each of their rules",
        command=(*_PYTEST, "tests/workflows", *_NO_ANYIO, *_TWO_FILES),
        needs=_ENGINE | {"registry"},
    ),
)
NAMES: Final = tuple(area.name for area in AREAS)


def choose(names: Sequence[str], options: Iterable[Option]) -> list[Area]:
    """The areas that a command line asks for, in their order.

    Without names these are all areas that take each of the given options. An area that was named
    and does not take one of them is `BadInput`, and so is a name that is none.
    """
    required = set(options)
    for name in names:
        if name not in NAMES:
            raise BadInput(
                f"`{console.printable(name)}` is not an area of the tests", fix=_advice(name)
            )
    selection = [area for area in AREAS if area.name in names]
    for area in selection:
        if superfluous := required - area.options:
            raise BadInput(
                f"the area {area.name} does not take {', '.join(map(_flag, sorted(superfluous)))}",
                fix=f"leave out the option, or {area.name}",
            )
    return selection or [area for area in AREAS if required <= area.options]


def _advice(name: str) -> str:
    nearest = difflib.get_close_matches(name.removesuffix("_test"), NAMES, n=1)
    if nearest:
        return f"nox -s tests -- {nearest[0]}"
    return f"one of: {' '.join(NAMES)}"


def _flag(option: Option) -> str:
    return f"-{option}" if len(option) == 1 else f"--{option}"
