"""The guards go over the whole tree that a pin brings along, and the text lists what changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.bump import pins
from tests.bump.conftest import VERSIONS, lock_text
from tests.support.loopback import Answer

if TYPE_CHECKING:
    from tests.bump.conftest import BumpWorkspace

BUN = "SANDBOX_BUN_VERSION"
SCRIPT = {"scripts": {"postinstall": "node steal.js"}}
ANN = {"maintainers": [{"name": "ann"}], "_npmUser": {"name": "ann"}}
MALLORY = {
    "maintainers": [{"name": "ann"}, {"name": "mallory"}], "_npmUser": {"name": "mallory"},
}  # fmt: skip
ATTESTED = {"dist": {"attestations": {"provenance": {"predicateType": "x"}}, "signatures": []}}
SIGNED: dict[str, Any] = {"dist": {"signatures": []}}


def pin_with(workspace: BumpWorkspace, **dependencies: str) -> None:
    """Let bun's lock have these dependencies, by name and version."""
    entries = {name: {"version": version} for name, version in dependencies.items()}
    bun = pins.find_pin("bun")
    workspace.lock("bun", VERSIONS[BUN]).write_text(lock_text(bun, VERSIONS[BUN], entries))


def offer_bun(workspace: BumpWorkspace, *, fields: Any = None, **dependencies: str) -> None:
    """Version 1.4.1 with dependencies; `fields` are in both manifests."""
    common = fields or {}
    versions = {VERSIONS[BUN]: common, "1.4.1": {"dependencies": dependencies, **common}}
    workspace.registry.npm("bun", versions)


def test_a_new_dependency_with_an_install_script_is_held_back(workspace: BumpWorkspace) -> None:
    workspace.registry.npm("evil", {"1.0.0": SCRIPT})
    offer_bun(workspace, evil="^1.0.0")
    result = workspace.run()
    held_back = (
        "! bun 1.4.1 is held back: its new dependency evil 1.0.0 runs an install script; "
        "--accept bun takes it"
    )
    assert held_back in result.stderr
    assert workspace.pinned_versions() == VERSIONS
    assert workspace.record("--accept", "bun")[BUN]["to"] == "1.4.1"


def test_a_dependency_deep_in_the_tree_is_looked_at(workspace: BumpWorkspace) -> None:
    workspace.registry.npm("evil", {"1.0.0": {"hasInstallScript": True}})
    workspace.registry.npm("middle", {"1.0.0": {"dependencies": {"evil": "*"}}})
    offer_bun(workspace, middle="1.0.0")
    (release,) = workspace.record()[BUN]["held"]
    assert "new dependency evil 1.0.0 runs an install script" in release["why"]


@pytest.mark.parametrize("kind", ["optionalDependencies", "peerDependencies"])
def test_dependencies_of_other_kinds_are_looked_at(workspace: BumpWorkspace, kind: str) -> None:
    workspace.registry.npm("evil", {"1.0.0": SCRIPT})
    workspace.offer("bun", "1.4.1", **{kind: {"evil": "1.0.0"}})
    (release,) = workspace.record("--check")[BUN]["held"]
    assert "new dependency evil 1.0.0 runs an install script" in release["why"]


def test_a_dependency_that_gains_an_install_script_is_held_back(workspace: BumpWorkspace) -> None:
    pin_with(workspace, helper="1.0.0")
    workspace.registry.npm("helper", {"1.0.0": {}, "1.0.1": SCRIPT})
    offer_bun(workspace, helper="^1.0.0")
    record = workspace.record()[BUN]
    assert record["to"] == VERSIONS[BUN]
    assert "its dependency helper runs an install script now" in record["held"][0]["why"]


def test_a_dependency_that_keeps_its_install_script_is_taken(workspace: BumpWorkspace) -> None:
    bun = pins.find_pin("bun")
    entries = {"helper": {"version": "1.0.0", "hasInstallScript": True}}
    workspace.lock("bun", VERSIONS[BUN]).write_text(lock_text(bun, VERSIONS[BUN], entries))
    workspace.registry.npm("helper", {"1.0.0": SCRIPT, "1.0.1": SCRIPT})
    offer_bun(workspace, helper="^1.0.0")
    assert workspace.record()[BUN]["to"] == "1.4.1"


def test_the_best_release_without_a_risky_dependency_is_taken(workspace: BumpWorkspace) -> None:
    workspace.registry.npm("evil", {"1.0.0": SCRIPT})
    workspace.registry.npm("bun", {
        VERSIONS[BUN]: {}, "1.4.1": {}, "1.4.2": {"dependencies": {"evil": "1.0.0"}},
    })  # fmt: skip
    record = workspace.record()[BUN]
    assert (record["to"], record["why"]) == ("1.4.1", "the newest that may be taken")
    assert [release["version"] for release in record["held"]] == ["1.4.2"]


def test_changes_of_the_tree_are_in_table_json_and_text(workspace: BumpWorkspace) -> None:
    pin_with(workspace, left="1.0.0", old="3.0.0", same="2.0.0")
    workspace.registry.npm("left", {"1.0.0": {}, "1.0.1": {}})
    workspace.registry.npm("new", {"5.0.0": {}})
    workspace.registry.npm("same", {"2.0.0": {}})
    offer_bun(workspace, left="^1.0.0", new="5", same="2.0.0")
    result = workspace.run("--json", "--markdown", "body.md")
    assert result.returncode == 0, result.stderr
    (record,) = [pin for pin in json.loads(result.stdout)["pins"] if pin["pin"] == BUN]
    assert record["dependencies"] == {
        "added": {"new": ["5.0.0"]},
        "removed": {"old": ["3.0.0"]},
        "replaced": {"left": {"from": ["1.0.0"], "to": ["1.0.1"]}},
        "install_scripts": [],
    }
    summary = (
        "bun changes its dependencies: 1 new (new); 1 removed (old); 1 in other versions (left)"
    )
    assert summary in result.stderr
    body = (workspace.root / "body.md").read_text()
    for line in ("- new 5.0.0 (new)", "- left 1.0.0 → 1.0.1", "- old 3.0.0 (removed)"):
        assert line in body.splitlines()


def test_an_accepted_install_script_is_in_the_text(workspace: BumpWorkspace) -> None:
    workspace.registry.npm("helper", {"1.0.0": SCRIPT})
    offer_bun(workspace, helper="1.0.0")
    assert workspace.run("--accept", "bun", "--markdown", "body.md").returncode == 0
    body = (workspace.root / "body.md").read_text()
    assert "- helper 1.0.0 (new, runs an install script now)" in body.splitlines()


def test_a_dependency_that_loses_its_provenance_is_held_back(workspace: BumpWorkspace) -> None:
    pin_with(workspace, helper="1.0.0")
    workspace.registry.npm("helper", {"1.0.0": {**ANN, **ATTESTED}, "1.0.1": {**ANN, **SIGNED}})
    offer_bun(workspace, fields={**ANN, **SIGNED}, helper="^1.0.0")
    (release,) = workspace.record()[BUN]["held"]
    assert "its dependency helper 1.0.1 has lost its provenance" in release["why"]


def test_new_people_behind_a_dependency_are_named(workspace: BumpWorkspace) -> None:
    pin_with(workspace, helper="1.0.0")
    workspace.registry.npm("helper", {"1.0.0": {**ANN, **SIGNED}, "1.0.1": {**MALLORY, **SIGNED}})
    offer_bun(workspace, fields={**ANN, **SIGNED}, helper="^1.0.0")
    record = workspace.record()[BUN]
    assert record["to"] == "1.4.1"
    assert record["unchecked"] == []
    assert record["notices"] == [
        "its dependency helper 1.0.1 has a new maintainer (mallory)",
        "its dependency helper 1.0.1 was published by somebody new (mallory)",
    ]


def test_dependencies_that_cannot_be_looked_up_are_reported(workspace: BumpWorkspace) -> None:
    pin_with(workspace, helper="1.0.0")
    workspace.registry.npm("helper", {"1.0.0": {}, "1.0.1": {}})
    workspace.registry.answers["/helper/1.0.1"] = Answer(b"", 404)
    offer_bun(workspace, fields={**ANN, **SIGNED}, helper="^1.0.0")
    record = workspace.record()[BUN]
    assert (record["to"], record["unchecked"]) == ("1.4.1", ["dependencies"])


@pytest.mark.parametrize("lock", ["", "{}", "[]", "not JSON", '{"packages": []}', None])
def test_a_tree_without_a_lock_to_compare_is_reported(
    workspace: BumpWorkspace, lock: str | None
) -> None:
    path = workspace.lock("bun", VERSIONS[BUN])
    path.unlink() if lock is None else path.write_text(lock)
    workspace.registry.npm("helper", {"1.0.0": SCRIPT})
    offer_bun(workspace, helper="1.0.0")
    record = workspace.record()[BUN]
    assert record["to"] == "1.4.1"
    assert "dependencies" in record["unchecked"]


def test_guards_that_a_registry_disables_are_reported_once_for_each_pin(
    workspace: BumpWorkspace,
) -> None:
    """The registry of these tests names no maintainers, no publisher and no provenance."""
    workspace.offer("bun", "1.4.1")
    workspace.registry.npm("pnpm", {"12.21.0": {**ANN, **SIGNED}})
    result = workspace.run("--json", "--markdown", "body.md")
    unchecked = {pin["pin"]: pin["unchecked"] for pin in json.loads(result.stdout)["pins"]}
    assert unchecked.pop("SANDBOX_PNPM_VERSION") == []
    assert set(map(tuple, unchecked.values())) == {("provenance", "maintainers", "publisher")}
    (row,) = [line for line in result.stderr.splitlines() if line.startswith("bun  ")]
    assert "provenance, maintainers, publisher" in row
    body = (workspace.root / "body.md").read_text()
    for name in ("bun", "node", "uv", "opencode"):
        assert body.count(f"- {name} could not be checked for a change of provenance") == 1
    assert "- pnpm could not" not in body


def test_a_single_missing_answer_disables_only_its_guard(workspace: BumpWorkspace) -> None:
    workspace.registry.npm("bun", {"1.4.0": {**ANN, **ATTESTED}, "1.4.1": {**ANN}})
    record = workspace.record()[BUN]
    assert (record["to"], record["unchecked"]) == ("1.4.1", ["provenance"])


def test_a_pin_that_the_registry_does_not_have_disables_every_guard(
    workspace: BumpWorkspace,
) -> None:
    workspace.registry.npm("bun", {"1.4.1": {**ANN, **SIGNED, **SCRIPT}})
    record = workspace.record()[BUN]
    assert record["to"] == "1.4.1"
    assert record["unchecked"] == ["provenance", "install scripts", "maintainers", "publisher"]
