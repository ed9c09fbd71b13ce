"""The documents: links lead somewhere, paths exist, lists are complete."""

from __future__ import annotations

import ast
import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from tasks.base.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENTS: Final = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


def _broken_links(document: Path) -> Iterator[str]:
    for link in _LINK.findall(document.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


def _anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert list(_broken_links(document)) == []


def test_the_readme_names_every_document() -> None:
    links = _LINK.findall((ROOT / "README.md").read_text())
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(links)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


# ── lists in the documents ──────────────────────────────────────────────────────────────────


def _first_cells(document: Path, heading: str) -> list[str]:
    """What stands in backticks in the first column of the table below that heading."""
    section = document.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


def test_the_map_names_paths_that_exist_and_every_package() -> None:
    paths = _first_cells(ROOT / "CONTRIBUTING.md", "Where things are")
    assert [path for path in paths if not (ROOT / path).exists()] == []
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    packages = {
        match[0]
        for path in tracked
        if (match := re.match(r"(?:tasks|tests)/[^/]+/|apps/(?:os/)?[^/]+/", path))
        and match[0] != "apps/os/"
    }
    assert packages <= set(paths)


def _paths_in_text(document: Path) -> Iterator[str]:
    """`tasks/…` and the like in backticks, but for those of which the reader fills in a part."""
    form = r"`((?:tasks|tests|apps|docs|\.github)/[^`\s]*)`"
    for path in re.findall(form, document.read_text()):
        if not re.search(r"/(?:test_)?[A-Z]+(?:\.py|/|$)|[*…{]", path):
            yield path.partition("::")[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_of_the_documents_exist(document: Path) -> None:
    assert [path for path in _paths_in_text(document) if not (ROOT / path).exists()] == []


def _definitions(path: Path) -> set[str]:
    """Functions, classes, methods and constants of a module: `name` or `Class.name`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_of_the_documents_exist(document: Path) -> None:
    pairs = re.findall(r"`([\w/-]+\.py)::([\w.]+)`", document.read_text())
    assert [pair for pair in pairs if pair[1] not in _definitions(ROOT / pair[0])] == []


def test_the_readme_lists_every_session() -> None:
    form = r"^@nox\.session.*\ndef (\w+)"
    sessions = re.findall(form, (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    table = " ".join(_first_cells(ROOT / "README.md", "Sessions"))
    assert [name for name in sessions if not re.search(rf"\b{name}\b", table)] == []
