"""No answer of a registry, of any shape, ends a run: each is read, held back, or one error."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base.errors import TaskError
from tasks.bump import (
    dependency_tree,
    json_record,
    lock_files,
    pull_request,
    selection,
    successors,
    terminal,
)
from tasks.bump.dependency_tree import DependencyTree
from tasks.bump.guards import find_unchecked
from tasks.bump.outcome import Outcome, Survey
from tasks.bump.pins import Pin
from tasks.bump.registries import npm, pypi
from tasks.bump.registries.model import Package, parse_date
from tasks.bump.selection import PinRequest, Situation
from tests.support.package_registry import NOW, index, packument

NPM_PIN: Final = Pin("SANDBOX_TOOL_VERSION", "tool", "npm", "https://example.org/{version}")
PYPI_PIN: Final = replace(NPM_PIN, origin="pypi")
SITUATION: Final = Situation(NOW, "24.19.0")

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20),
    st.sampled_from([
        "", "1.0.0", "1.0.1", "- - 0", ">=18", "^1.0.0-rc.1", "lts/*", "2026-11-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-01", "\ud800",
        "\x1b[31m", "https://github.com/a/b.git", "use @new/tool instead", "npm:other@1", "../..",
        "sha512-", "tool",
    ]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from([
                "name", "version", "node", "url", "latest", "1.0.0", "1.0.1", "integrity",
                "attestations", "provenance", "postinstall", "filename", "hashes", "sha256", "x",
            ]) | st.text(max_size=5),
            inner, max_size=4,
        ),
    ),
    max_leaves=8,
)  # fmt: skip

FULL_MANIFEST: Final[dict[str, Any]] = {
    "engines": {"node": ">=18"}, "dependencies": {"a": "^1"}, "deprecated": "use new-tool",
    "optionalDependencies": {"tool-linux-x64": "1.0.1"}, "scripts": {"postinstall": "x"},
    "maintainers": [{"name": "ann"}], "_npmUser": {"name": "ann"}, "hasInstallScript": True,
    "repository": {"url": "https://github.com/a/b"},
    "dist": {"attestations": {"provenance": {}}, "signatures": []},
}  # fmt: skip
PACKUMENT: Final = packument("tool", {"1.0.0": FULL_MANIFEST, "1.0.1": FULL_MANIFEST, "2.0.0": {}})
INDEX: Final = index("tool", {"1.0.0": 30, "1.0.1": 20, "2.0.0": 1})
LOCK: Final[dict[str, Any]] = {
    "packages": {
        "": {"dependencies": {"tool": "1.0.1"}},
        "node_modules/tool": {"version": "1.0.1", "integrity": "x", "hasInstallScript": True},
        "node_modules/a": {"name": "b", "version": "1.0.0", "hasInstallScript": True},
    }
}


def paths(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in a document."""
    children = document.items() if isinstance(document, dict) else (
        enumerate(document) if isinstance(document, list) else ()
    )  # fmt: skip
    return [path, *(p for key, child in children for p in paths(child, (*path, key)))]


def mutated(document: Any) -> st.SearchStrategy[bytes]:
    """The document as JSON, with some of its values replaced, or taken out."""

    def mutate(changes: list[tuple[tuple[Any, ...], Any, bool]]) -> bytes:
        result = copy.deepcopy(document)
        for path, value, is_removed in changes:
            target: Any = result
            for key in path[:-1]:
                target = target[key] if _has(target, key) else None
            if not path:
                result = value
            elif _has(target, path[-1]):
                if is_removed:
                    del target[path[-1]]
                else:
                    target[path[-1]] = value
        return json.dumps(result).encode()

    change = st.tuples(st.sampled_from(paths(document)), values, st.booleans())
    return st.lists(change, min_size=1, max_size=4).map(mutate)


def _has(target: Any, key: Any) -> bool:
    if isinstance(target, dict):
        return key in target
    return isinstance(target, list) and isinstance(key, int) and key < len(target)


def judge(pin: Pin, package: Package, request: PinRequest) -> None:
    """All that is done with what a registry said, without asking further."""
    try:
        ranking = selection.rank(pin, package, "1.0.0", SITUATION, request)
    except TaskError:
        return
    successors.looks_given_up(package, NOW)
    successors.find_successors(package)
    for release in ranking.candidates:
        lock_files.make_requirement(pin, release)
    best = next(iter(ranking.candidates), None)
    pinned_release = package.releases.get("1.0.0")
    outcome = Outcome(
        pin, "1.0.0", best, lock="x", reason="r", held_releases=ranking.held_releases,
        notices=ranking.notices, package=package,
        unchecked=find_unchecked(pinned_release, best) if best else frozenset(),
    )  # fmt: skip
    survey = Survey((outcome,), NOW, "clock")
    terminal.show(survey)
    json.dumps(json_record.record(survey, is_written=False, verified=None))
    pull_request.text(survey, verified=None).encode()


requests = st.sampled_from([
    PinRequest(), PinRequest(to="1.0.1"), PinRequest(to="2.0.0", reason="CVE"),
    PinRequest(accept_risks=True), PinRequest(to="0.9.0", allow_downgrade=True),
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(body=mutated(PACKUMENT), request=requests)
def test_a_packument_of_any_shape_is_survived(body: bytes, request: PinRequest) -> None:
    try:
        package = npm.parse(body, "tool")
    except TaskError:
        return
    judge(NPM_PIN, package, request)


@settings(max_examples=150, deadline=None)
@given(body=mutated(INDEX), request=requests)
def test_an_index_of_any_shape_is_survived(body: bytes, request: PinRequest) -> None:
    try:
        package = pypi.parse(body, "tool")
    except TaskError:
        return
    judge(PYPI_PIN, package, request)


@settings(max_examples=150, deadline=None)
@given(body=mutated(PACKUMENT["versions"]["1.0.1"]))
def test_a_manifest_of_any_shape_is_survived(body: bytes) -> None:
    try:
        release = npm.parse_manifest(body, "tool", "1.0.1")
    except TaskError:
        return
    find_unchecked(release, release)


@settings(max_examples=150, deadline=None)
@given(body=mutated(LOCK))
def test_a_lock_of_any_shape_is_survived(body: bytes) -> None:
    package = npm.parse(json.dumps(PACKUMENT).encode(), "tool")
    document = json.loads(body)
    list(lock_files.find_defects(document if isinstance(document, dict) else {}, NPM_PIN,
                                 package.releases["1.0.1"]))  # fmt: skip
    try:
        tree = DependencyTree.parse(body.decode(), "tool")
    except ValueError:
        return
    dependency_tree.compare(tree, tree)
    list(dependency_tree.find_script_risks(dependency_tree.compare(DependencyTree({}), tree)))


@given(body=st.binary(max_size=60))
def test_bytes_of_any_kind_are_survived(body: bytes) -> None:
    for parse in (npm.parse, pypi.parse):
        with pytest.raises(TaskError):
            parse(body, "tool")


@pytest.mark.parametrize("engines", [
    "- - 0", "lts/*", ">=" * 500, "9007199254740992", {"node": 1}, ["node"], 18, True, {}, "\0",
])  # fmt: skip
def test_a_release_with_unreadable_engines_is_held_back(engines: Any) -> None:
    versions: dict[str, Any] = {"1.0.0": {}, "1.0.1": {}, "1.0.2": {"engines": {"node": engines}}}
    package = npm.parse(json.dumps(packument("tool", versions)).encode(), "tool")
    ranking = selection.rank(NPM_PIN, package, "1.0.0", SITUATION)
    assert [release.text for release in ranking.candidates] == ["1.0.1"]
    assert [release.version for release in ranking.held_releases] == ["1.0.2"]


@pytest.mark.parametrize("text", [
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-01T00:00:00", "1970-01-01",
    "2026-13-01T00:00:00Z", "yesterday", "2026-11-01T00:00:00+24:00", 5, None,
])  # fmt: skip
def test_a_date_that_makes_no_sense_is_none(text: object) -> None:
    assert parse_date(text) is None


def test_a_successor_without_a_date_is_named() -> None:
    document = packument("tool", {"1.0.0": {"deprecated": "use @new/tool"}})
    package = npm.parse(json.dumps(document).encode(), "tool")
    assert successors.find_successors(package) == ["@new/tool"]


LONG: Final = 300_000


@pytest.mark.parametrize("field", ["deprecated", "repository", "version", "name"])
@pytest.mark.parametrize("unit", ["a/", "use ", "@a", "://a", "1.", "-"])
def test_a_manifest_with_a_long_text_takes_no_time(field: str, unit: str) -> None:
    manifest = {field: unit * (LONG // len(unit))}
    document = packument("tool", {"1.0.0": {}, "1.0.1": manifest}, latest="1.0.0")
    start = time.process_time()
    judge(NPM_PIN, npm.parse(json.dumps(document).encode(), "tool"), PinRequest())
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", [
    "tool-1.0.0-" + ".".join(["p"] * 200) + "-" + ".".join(["n"] * 200) + "-"
    + ".".join(["manylinux_x86_64"] * 50) + ".whl",
    "tool-" + "1." * 5000 + "0-py3-none-manylinux_2_17_x86_64.whl", "-" * LONG + "linux_x86_64.whl",
])  # fmt: skip
def test_a_wheel_with_a_long_name_takes_no_time(name: str) -> None:
    """Each dot multiplies the tags that a name stands for."""
    document = index("tool", {"1.0.0": 30})
    document["files"] += [{**document["files"][0], "filename": name}] * 50
    start = time.process_time()
    pypi.parse(json.dumps(document).encode(), "tool")
    assert time.process_time() - start < 5


@given(requirement=st.text(max_size=20))
def test_whatever_a_tool_needs_of_node_is_survived(requirement: str) -> None:
    package = pypi.parse(json.dumps(INDEX).encode(), "tool")
    selection.rank(
        PYPI_PIN, package, "1.0.0", Situation(NOW, "24.19.0", {"bun 1.4.0": requirement})
    )
