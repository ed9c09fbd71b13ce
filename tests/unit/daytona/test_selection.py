"""Which name a publication goes by, and which snapshots are what is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.daytona import content, naming, states
from tasks.daytona.resources import Resources
from tasks.daytona.selection import Placement, choose_name
from tasks.daytona.snapshot import Snapshot

IDENTITY = "0123456789abcdef" * 4
GENERATED = naming.name_for(stage="prd", committed=1768604407, identity=IDENTITY)
DEFAULT = Resources()


def snapshot(name: object = GENERATED, *, rebuild: str = "", **fields: Any) -> Snapshot:
    text = content.mark_dockerfile("FROM x:1", IDENTITY, rebuild=rebuild)
    defaults = {"id": "1", "state": "active", "dockerfile": text, "regions": ("us",),
                "cpu": 2.0, "memory": 4.0, "disk": 10.0}  # fmt: skip
    return Snapshot(name=str(name), **{**defaults, **fields})


def choose(*snapshots: Snapshot, region: str | None = None, **options: Any) -> str:
    arguments: dict[str, Any] = {"resources": DEFAULT, "is_rebuild": False, **options}
    placement = Placement(region=region, resources=arguments.pop("resources"))
    return choose_name(snapshots, GENERATED, identity=IDENTITY, placement=placement, **arguments)


def test_the_generated_name_is_used_where_it_is_free_or_fits() -> None:
    assert choose() == str(GENERATED)
    assert choose(region="eu") == str(GENERATED)
    assert choose(snapshot()) == str(GENERATED)
    assert choose(snapshot(), region="us") == str(GENERATED)
    assert choose(snapshot(regions=("us", "eu")), region="eu") == str(GENERATED)
    # A server that does not say.
    assert choose(snapshot(regions=(), cpu=None), region="eu") == str(GENERATED)


def test_another_region_has_a_name_of_its_own() -> None:
    name = choose(snapshot(), region="eu")
    assert name == f"{GENERATED}.eu-2x4x10"
    parsed = naming.SnapshotName.parse(naming.check_name(name))
    assert parsed
    assert (parsed.stage, parsed.variant) == ("prd", "eu-2x4x10")
    # And both are there afterwards, each for its own.
    snapshots = (snapshot(), snapshot(name, regions=("eu",)))
    assert choose(*snapshots, region="eu") == name
    assert choose(*snapshots, region="us") == str(GENERATED)


def test_other_resources_have_a_name_of_their_own() -> None:
    large = Resources(cpu=4, memory=8, disk=20)
    assert choose(snapshot(), resources=large) == f"{GENERATED}.default-4x8x20"
    assert choose(snapshot(cpu=4, memory=8, disk=20), resources=large) == str(GENERATED)


def test_a_failed_snapshot_gives_its_name_up() -> None:
    assert choose(snapshot(state="error"), region="eu") == str(GENERATED)


def test_a_forced_build_is_used_only_where_it_is() -> None:
    forced = snapshot(f"{GENERATED}-rabc", rebuild="abc", created_at="2026")
    assert choose(snapshot(), forced) == f"{GENERATED}-rabc"
    assert choose(snapshot(), forced, is_rebuild=True) == str(GENERATED)
    assert choose(forced, region="eu") == str(GENERATED)
    assert choose(snapshot(f"{GENERATED}-rabc", rebuild="abc", state="error")) == str(GENERATED)


@pytest.mark.parametrize("region", ["eu", "eu west", "日本", "a.b", "x" * 90, "DATA:1", "www."])
def test_a_region_of_any_name_gives_a_valid_name(region: str) -> None:
    name = choose(snapshot(), region=region)
    assert naming.check_name(name) == name
    assert naming.SnapshotName.parse(name)


def test_two_regions_never_share_a_name() -> None:
    regions = ["a b", "a.b", "a-b", "a/b", "y" * 41, "y" * 42]
    assert len({choose(snapshot(), region=region) for region in regions}) == len(regions)


@pytest.mark.parametrize("state", ["active", "inactive", "building", "pending"])
def test_a_misplaced_snapshot_is_refused_and_not_touched(state: str) -> None:
    placement = Placement(region="eu", resources=DEFAULT)
    step = states.next_step(snapshot(state=state), identity=IDENTITY, placement=placement)
    assert step == "refuse"
    assert "not in eu" in placement.obstacle(snapshot())
    resources = Placement(resources=Resources(cpu=1))
    assert "2 CPUs" in resources.obstacle(snapshot())
    assert Placement().obstacle(snapshot()) == ""


def test_another_forced_build_is_refused() -> None:
    forced = snapshot(rebuild="abc")
    assert states.next_step(forced, identity=IDENTITY, rebuild="abc") == "reuse"
    assert states.next_step(forced, identity=IDENTITY, rebuild="xyz") == "refuse"
    assert states.next_step(snapshot(), identity=IDENTITY, rebuild="xyz") == "refuse"
    assert states.next_step(forced, identity=IDENTITY) == "reuse"
