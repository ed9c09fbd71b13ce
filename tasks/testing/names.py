"""Names that tell a reader nothing: a participle, an adverb or a pronoun alone (`found`, `there`,
`one`), and a class name that means two things.

A name is a noun of the domain, a function's a verb, with an adjective where two of a kind meet.
Standard library only.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTICIPLES: Final = """
    added allowed applied asked begun bound broken brought built called caught changed checked
    chosen closed copied counted created cut dealt deleted done downloaded dropped ended failed
    fetched filled finished forgotten found gathered given gone had handled held ignored installed
    joined kept killed known laid left loaded looked lost made marked matched merged met missed
    moved named needed noted offered opened packed parsed passed picked pinned prepared printed
    published pulled pushed put queued raised reached received refused removed renamed replaced
    requested resolved returned run_down saved seen sent served shipped shown skipped sorted
    spent split started stopped stored swept taken thrown told touched tried understood unpacked
    updated uploaded used waited wanted washed watched went withheld written
"""
_ADVERBS: Final = """
    about above after again ago alone already also always aside away back before behind below
    beside besides between beyond down early else elsewhere enough ever forward forwards here how
    instead inside later least less more most much near never next now nowhere often once only
    otherwise outside over perhaps quickly rather really since so sometimes somewhere soon still
    then there thereby thus together too twice up upon very well when whenever where wherever yet
"""
_PRONOUNS: Final = """
    all another any anybody anyone anything both each either everybody everyone everything few he
    her hers him his i it its itself many me mine my neither nobody none nothing one ones other
    others our ours own same several she some somebody someone something such that their theirs
    them these they thing things this those us we what whatever which who whoever whole whom whose
    why you your yours
"""
#: Words of these lists that a name may consist of, since the field has given them a meaning:
#: a loop's index, built-in functions, what `pytest.raises` has caught, in and out of a container.
_TERMS: Final = {
    *("all", "any", "bound", "caught", "cut", "i", "inside", "next", "outside", "put", "split"),
    "sorted",
}
WORDS: Final = frozenset(f"{_PARTICIPLES} {_ADVERBS} {_PRONOUNS} way".split()) - _TERMS
#: Per cent of a folder's names, in this number at least.
LIMIT: Final = 1.0
_TOLERATED: Final = 1
#: What is still to be renamed, `folder NAME` or `class NAME` a line. Who has done it takes it out:
#: the list can only shrink.
DEBT_FILE: Final = Path(__file__).with_name("names_debt.txt")
FOLDERS: Final = ("tasks", "apps", "tests")
_LISTED_NAMES: Final = 12
#: Not by hand, or of others.
_FOREIGN: Final = frozenset({"node_modules", ".venv", ".nox", "__pycache__"})


@dataclass(frozen=True)
class BoundName:
    """A place where a name gets a meaning. `place` is `FILE:LINE`."""

    name: str
    place: str

    @property
    def is_empty(self) -> bool:
        return self.name.strip("_").lower() in WORDS


@dataclass(frozen=True)
class FolderReport:
    """A folder's names, without those of the folders in it that have a report of their own."""

    folder: str
    names: tuple[BoundName, ...]

    @property
    def empty_names(self) -> list[BoundName]:
        return [name for name in self.names if name.is_empty]

    @property
    def share(self) -> float:
        """Per cent."""
        return 100 * len(self.empty_names) / max(1, len(self.names))

    @property
    def is_over(self) -> bool:
        return self.share > LIMIT and len(self.empty_names) > _TOLERATED


def check(root: Path, debt: frozenset[str] | None = None) -> None:
    """Raise `TaskError` for a folder over the limit and for a class name with two meanings, but
    for those that `debt` lists.
    """
    if debt is None:
        debt = frozenset(DEBT_FILE.read_text().splitlines())
    problems = [*_folder_problems(root, debt), *_class_problems(root, debt)]
    for problem in problems:
        console.fail(problem)
    if problems:
        raise TaskError(
            f"{len(problems)} problems with names",
            fix="use nouns of the domain, and verbs for functions; see CONTRIBUTING.md",
        )


def _folder_problems(root: Path, debt: frozenset[str]) -> Iterator[str]:
    for report in folder_reports(root):
        is_debt = f"folder {report.folder}" in debt
        if report.is_over and not is_debt:
            places = ", ".join(f"{n.name} ({n.place})" for n in report.empty_names[:_LISTED_NAMES])
            yield (
                f"{report.folder}: {len(report.empty_names)} of {len(report.names)} names say"
                f" nothing: {places}"
            )
        if is_debt and not report.is_over:
            yield f"{report.folder} is within the limit: take it out of {DEBT_FILE.name}"


def _class_problems(root: Path, debt: frozenset[str]) -> Iterator[str]:
    ambiguous = ambiguous_classes(root)
    pending = {line.removeprefix("class ") for line in debt if line.startswith("class ")}
    for name in sorted(ambiguous.keys() - pending):
        yield f"class {name} is defined more than once: {', '.join(ambiguous[name])}"
    for name in sorted(pending - ambiguous.keys()):
        yield f"class {name} is defined once: take it out of {DEBT_FILE.name}"


def folder_reports(root: Path) -> list[FolderReport]:
    """One for each package, application and folder of tests."""
    names: dict[str, list[BoundName]] = defaultdict(list)
    for folder in FOLDERS:
        for path in python_files(root / folder):
            parts = path.relative_to(root).parts[:-1]
            depth = 3 if parts[:2] == ("tests", "unit") else 2
            names["/".join(parts[:depth])] += bound_names(path, root)
    return [FolderReport(folder, tuple(bound)) for folder, bound in sorted(names.items())]


def python_files(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*.py")) if not _FOREIGN & set(p.parts)]


def bound_names(path: Path, root: Path) -> Iterator[BoundName]:
    """Variables, parameters, functions, attributes, and what an import or a match calls a thing."""
    place = path.relative_to(root).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        for name in _bound(node):
            if name not in {"self", "cls", "_"}:
                yield BoundName(name, f"{place}:{getattr(node, 'lineno', 0)}")


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.alias(asname=str(name)):
            yield name


def ambiguous_classes(root: Path) -> dict[str, list[str]]:
    """Class names that are defined in more than one place, and where."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in (path for folder in FOLDERS for path in python_files(root / folder)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(root).as_posix()}:{node.lineno}")
    return {name: lines for name, lines in places.items() if len(lines) > 1}
