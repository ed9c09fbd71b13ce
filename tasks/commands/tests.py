"""Run every check and test, or only some areas of them, and show a table of the results."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final, get_args

from tasks.base import console, programs
from tasks.base.options import Parser, add_keep, add_seed, add_selection
from tasks.engine import discovery
from tasks.github import job
from tasks.testing import areas, run
from tasks.testing.areas import Option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.testing.areas import Area, Prerequisite
    from tasks.testing.run import AreaResult

_EXAMPLES: Final = """
examples:
  nox -s tests                          everything: half an hour on two cores
  nox -s tests -- git bump              two areas
  nox -s tests -- image -k refs -x      some tests of an area, to the first failure
  nox -s tests -- standin --newest-sdk  with the newest Daytona SDK that pyproject.toml allows

More options for pytest: PYTEST_ADDOPTS="--lf -n0" nox -s tests -- git
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    width = max(map(len, areas.NAMES))
    listed = "\n".join(f"  {area.name:{width}}  {area.purpose}" for area in areas.AREAS)
    parser = Parser(
        prog="nox -s tests --",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"areas:\n{listed}\n{_EXAMPLES}",
    )
    parser.add_argument("areas", nargs="*", metavar="AREA", help="see below; default: all")
    parser.add_argument("--list", action="store_true", help="only list the areas")
    add_selection(parser)
    add_seed(parser)
    parser.add_argument("--image", metavar="TAG", help="the image that local and web test")
    add_keep(parser)
    # The session has installed it before this command starts.
    parser.add_argument(
        "--newest-sdk", action="store_true", help="with the newest SDK of Daytona, not the pinned"
    )
    # For the session, in nox's own Python, before it makes an environment.
    parser.add_argument("--prerequisites", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    # -x is for all areas: it also ends the run after the first one that fails.
    selection = areas.choose(options.areas, [name for name in options_in(options) if name != "x"])
    if options.prerequisites:
        if not options.list:
            require({name for area in selection for name in area.needs})
    elif options.list:
        for area in selection:
            print(f"{area.name}\t{area.purpose}")
    else:
        results = run.run(
            selection,
            lambda area: arguments_for(area, options),
            stop_at_failure=options.x,
            report=show,
        )
        run.judge(results)
        console.good("every area that was run has passed")


def require(prerequisites: set[Prerequisite]) -> None:
    """Raise a `TaskError` for the first one that is missing."""
    if "engine" in prerequisites:
        discovery.require()
    if "browser" in prerequisites:
        programs.require_browser()
    if "registry" in prerequisites:
        programs.require_registry()


def options_in(options: argparse.Namespace) -> list[Option]:
    """The options that were given, of those which are for some areas only."""
    values = {name: getattr(options, name) for name in get_args(Option)}
    return [name for name, value in values.items() if value is not None and value is not False]


def arguments_for(area: Area, options: argparse.Namespace) -> list[str]:
    """The given options that this area takes, as its command spells them."""
    arguments: list[str] = []
    for name in options_in(options):
        if name in area.options:
            value = getattr(options, name)
            arguments.append(f"-{name}" if len(name) == 1 else f"--{name}")
            arguments += [] if value is True else [str(value)]
    return arguments


def show(results: Sequence[AreaResult]) -> None:
    """The table, for the terminal and for the summary of a job."""
    console.say()
    console.say(console.printable_lines(run.table(results)))
    job.write_summary(run.summary(results))
