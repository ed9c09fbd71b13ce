"""Which release replaces a pin: a table of ugly registries, and the real ones of a real day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tasks.base.errors import BadInput
from tasks.bump import pins, policy, survey
from tasks.bump.pins import Pin, Policy
from tasks.bump.policy import Ranking, Wish
from tasks.bump.registries import npm, pypi
from tasks.bump.registries.model import Unknown
from tests.support.registry import NOW, integrity, packument

PIN = Pin("SANDBOX_TOOL_VERSION", "tool", "npm", "https://example.org/{version}")
RECORDED = Path(__file__).parent / "recorded"


def rank(
    versions: dict[str, dict[str, Any]],
    *,
    pinned: str = "1.0.0",
    wish: Wish = Wish(),  # noqa: B008 - frozen
    its: Policy = Policy(),  # noqa: B008 - frozen
    node: str = "24.19.0",
    now: datetime = NOW,
    **more: Any,
) -> Ranking:
    document = packument("tool", {pinned: {}, **versions}, **more)
    package = npm.parse(json.dumps(document).encode(), "tool")
    return policy.rank(replace(PIN, policy=its), package, pinned, now=now, node=node, wish=wish)


def best(ranking: Ranking) -> str | None:
    return ranking.candidates[0].text if ranking.candidates else None


OLD: dict[str, Any] = {"maintainers": [{"name": "ann"}], "_npmUser": {"name": "ann"}}
SIGNED = {"dist": {"attestations": {"provenance": {}}, "signatures": []}}
ATTESTED = {"dist": {"attestations": {"provenance": {"predicateType": "x"}}, "signatures": []}}

#: What a registry offers above 1.0.0 → what is taken, and what must be said of the rest.
UGLY: list[tuple[str, dict[str, dict[str, Any]], str | None, str]] = [
    ("newer", {"1.0.1": {}}, "1.0.1", ""),
    ("nothing newer", {"0.9.0": {}}, None, ""),
    ("older under a younger date", {"0.9.9": {"age": 4}}, None, ""),
    ("ten is more than nine", {"1.9.0": {}, "1.10.0": {}}, "1.10.0", ""),
    ("published ten minutes ago", {"1.0.1": {"age": 0.007}}, None, "younger than 3 days"),
    ("a young one over an old one", {"1.0.1": {}, "1.0.2": {"age": 1}}, "1.0.1", "younger"),
    ("three days to the second", {"1.0.1": {"age": 3}}, "1.0.1", ""),
    ("no date", {"1.0.1": {"age": None}}, None, "no date"),
    ("a date in the future", {"1.0.1": {"age": -1}}, None, "in the future"),
    ("a date in the far future", {"1.0.1": {"age": -400}}, None, "in the future"),
    ("pre-release", {"1.1.0-beta.1": {}}, None, ""),
    ("date-like pre-release", {"1.0.1-next.20260101.1": {}}, None, ""),
    ("pre-release below its release", {"1.1.0-rc.1": {}, "1.1.0": {}}, "1.1.0", ""),
    ("deprecated", {"1.0.1": {"deprecated": "broken, use 1.0.0"}}, None, "deprecated: broken"),
    ("deprecated, as true", {"1.0.1": {"deprecated": True}}, None, "deprecated"),
    ("no longer deprecated", {"1.0.1": {"deprecated": ""}}, "1.0.1", ""),
    ("no checksum", {"1.0.1": {"dist": {"integrity": None}}}, None, "no checksum"),
    ("a weak checksum", {"1.0.1": {"dist": {"integrity": "sha1-aaaa"}}}, None, "no checksum"),
    ("an evil version", {"1.2.3\nRUN evil": {}}, None, ""),
    ("a path as version", {"../../x": {}, "1.0.1": {}}, "1.0.1", ""),
    ("wrong type of manifest", {"1.0.1": {"version": 7}}, None, ""),
    ("another package's manifest", {"1.0.1": {"name": "evil"}}, None, ""),
    ("a newer Node", {"1.0.1": {"engines": {"node": ">=26"}}}, None, "needs Node >=26"),
    ("our Node", {"1.0.1": {"engines": {"node": ">=22.19.0"}}}, "1.0.1", ""),
    ("engines as text", {"1.0.1": {"engines": "node"}}, "1.0.1", ""),
    ("an unreadable Node", {"1.0.1": {"engines": {"node": "lts/*"}}}, None, "nobody can read"),
    ("a new install script", {"1.0.1": {"scripts": {"postinstall": "curl"}}}, None, "--accept"),
    ("a new test script", {"1.0.1": {"scripts": {"test": "x"}}}, "1.0.1", ""),
]  # fmt: skip


@pytest.mark.parametrize(("versions", "taken", "said"), [row[1:] for row in UGLY],
                         ids=[row[0] for row in UGLY])  # fmt: skip
def test_ugly(versions: dict[str, dict[str, Any]], taken: str | None, said: str) -> None:
    latest = next((v for v in reversed(versions) if v[0] == "1" and "\n" not in v), "1.0.0")
    latest = "1.0.0" if "name" in versions.get(latest, {}) or "-" in latest else latest
    latest = "1.0.0" if "version" in versions.get(latest, {}) else latest
    ranking = rank(versions, latest=latest)
    assert best(ranking) == taken
    whys = " / ".join(held.why for held in ranking.held)
    assert said in whys
    assert bool(said) == bool(ranking.held)


def test_a_cool_down_ends_when_it_says() -> None:
    ranking = rank({"1.0.1": {"age": 1}})
    assert ranking.held[0].until == NOW + timedelta(days=2)
    assert best(rank({"1.0.1": {"age": 1}}, now=NOW + timedelta(days=2))) == "1.0.1"


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_jumps_a_day_bumps_nothing_wrong(days: int) -> None:
    """What it takes at either time was published three days before that time."""
    now = NOW + timedelta(days=days)
    versions = {f"1.0.{n}": {"age": 5 - n} for n in range(1, 5)}
    ranking = rank(versions, now=now)
    taken = ranking.candidates[0]
    assert taken.published is not None
    assert now - taken.published >= timedelta(days=3)


def test_a_pre_release_pin_moves_on_to_newer_ones() -> None:
    versions: dict[str, dict[str, Any]] = {"1.0.0-beta.10": {}, "1.0.0-beta.9": {}}
    assert best(rank(versions, pinned="1.0.0-beta.2", latest="1.0.0-beta.9")) == "1.0.0-beta.10"
    assert best(rank({**versions, "1.0.0": {}}, pinned="1.0.0-beta.2")) == "1.0.0"


def test_beyond_what_is_recommended_is_held() -> None:
    ranking = rank({"1.1.0": {}, "2.0.0": {}}, latest="1.1.0")
    assert best(ranking) == "1.1.0"
    assert "beyond what its makers recommend, 1.1.0" in ranking.held[0].why


def test_the_allowed_range() -> None:
    ranking = rank({"1.1.0": {}, "2.0.0": {}}, its=Policy(allowed=">=1,<2"))
    assert best(ranking) == "1.1.0"
    assert ranking.held[0].why == "outside the allowed range >=1,<2"
    assert best(rank({"1.1.0": {}}, its=Policy(allowed="==1.0.*"))) is None


def test_longer_and_no_cool_down() -> None:
    assert best(rank({"1.0.1": {"age": 5}}, its=Policy(cool_down=7))) is None
    assert best(rank({"1.0.1": {"age": 0.1}}, its=Policy(cool_down=0))) == "1.0.1"


RISKS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("a new maintainer", OLD, {"maintainers": [{"name": "ann"}, {"name": "mallory"}]}, "mallory"),
    ("a new publisher", OLD, {**OLD, "_npmUser": {"name": "mallory"}}, "somebody new (mallory)"),
    ("a maintainer less", {"maintainers": [{"name": "ann"}, {"name": "bob"}]}, OLD, ""),
    ("a maintainer publishes", {**OLD, "maintainers": [{"name": "ann"}, {"name": "bob"}]},
     {**OLD, "_npmUser": {"name": "bob"}}, ""),
    ("provenance lost", ATTESTED, SIGNED, "provenance is lost"),
    ("provenance won", SIGNED, ATTESTED, ""),
    ("provenance unknown: a mirror", ATTESTED, {}, ""),
    ("maintainers unknown: a mirror", OLD, {}, ""),
    ("an install script as before", {"scripts": {"postinstall": "a"}},
     {"scripts": {"postinstall": "b"}}, ""),
    ("a second install script", {"scripts": {"postinstall": "a"}},
     {"scripts": {"postinstall": "a", "preinstall": "b"}}, "(preinstall)"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), [row[1:] for row in RISKS],
                         ids=[row[0] for row in RISKS])  # fmt: skip
def test_what_a_stolen_account_looks_like(
    old: dict[str, Any], new: dict[str, Any], said: str
) -> None:
    document = packument("tool", {"1.0.0": old, "1.0.1": new})
    for release in document["versions"].values():
        release["dist"].setdefault("integrity", integrity("tool", release["version"]))
    package = npm.parse(json.dumps(document).encode(), "tool")

    def take(wish: Wish) -> Ranking:
        return policy.rank(PIN, package, "1.0.0", now=NOW, node="24.19.0", wish=wish)

    ranking = take(Wish())
    assert (best(ranking) is None) == bool(said)
    assert all(said in held.why and "--accept tool" in held.why for held in ranking.held)
    assert best(take(Wish(accept=True))) == "1.0.1"
    assert (best(take(Wish(to="1.0.1"))) is None) == bool(said), "asking for it is not accepting"


@pytest.mark.parametrize(("wish", "versions", "taken"), [
    (Wish(to="1.0.1"), {"1.0.1": {}, "1.0.2": {}}, "1.0.1"),
    (Wish(to="0.9.0"), {"0.9.0": {}}, None),
    (Wish(to="0.9.0", allow_downgrade=True), {"0.9.0": {}}, "0.9.0"),
    (Wish(to="1.1.0-beta.1"), {"1.1.0-beta.1": {}}, "1.1.0-beta.1"),
    (Wish(to="1.0.1"), {"1.0.1": {"age": 1}}, None),
    (Wish(to="1.0.1", now="CVE"), {"1.0.1": {"age": 1}}, "1.0.1"),
    (Wish(now="CVE"), {"1.0.1": {"age": 0.01}}, "1.0.1"),
    (Wish(now="CVE"), {"1.0.1": {"age": -1}}, None),
    (Wish(now="CVE"), {"1.0.1": {"age": None}}, None),
    (Wish(to="1.0.1"), {"1.0.1": {"deprecated": "x"}}, "1.0.1"),
    (Wish(to="1.0.1"), {"1.0.1": {"engines": {"node": ">=99"}}}, None),
    (Wish(to="1.0.1"), {"1.0.1": {"dist": {"integrity": ""}}}, None),
])  # fmt: skip
def test_wishes(wish: Wish, versions: dict[str, dict[str, Any]], taken: str | None) -> None:
    ranking = rank(versions, wish=wish, latest="1.0.0")
    if wish.now and not wish.to:
        ranking = rank(versions, wish=wish)
    assert best(ranking) == taken
    assert bool(ranking.held) == (taken is None)


def test_a_wish_for_what_is_not_there() -> None:
    with pytest.raises(Unknown, match=r"tool 7.0.0 is not there"):
        rank({}, wish=Wish(to="7.0.0"))
    with pytest.raises(Unknown, match=r"tool 7.0.0 was unpublished"):
        rank({}, wish=Wish(to="7.0.0"), gone=("7.0.0",))


def test_the_pin_itself_is_gone_or_deprecated() -> None:
    document = packument("tool", {"1.0.1": {}}, gone=("1.0.0",))
    package = npm.parse(json.dumps(document).encode(), "tool")
    ranking = policy.rank(PIN, package, "1.0.0", now=NOW, node="24.19.0")
    assert best(ranking) == "1.0.1"
    assert "was unpublished" in ranking.notices[0]
    ranking = policy.rank(PIN, package, "0.5.0", now=NOW, node="24.19.0")
    assert "is not in the registry" in ranking.notices[0]
    with pytest.raises(Unknown, match="no version of tool"):
        policy.rank(PIN, package, "latest", now=NOW, node="24.19.0")


def recorded(pin: Pin, package: str) -> Any:
    body = (RECORDED / f"{quote(package, safe='@')}.json").read_bytes()
    return npm.parse(body, package) if pin.origin == "npm" else pypi.parse(body, package)


#: 2026-11-23: pin, its version, what policy takes (before the tree is looked at), what it holds.
REAL = [
    ("opencode", "1.18.33", None, []),
    ("claude-code", "2.1.328", "2.1.329", ["2.1.330"]),
    ("pi-coding-agent", "0.87.1", "1.5.2", []),
    ("bun", "1.4.4", "1.4.5", []),
    ("node", "24.19.0", None, []),
    ("pnpm", "12.21.0", None, []),
    ("uv", "0.13.9", None, []),
]


@pytest.mark.parametrize(("name", "version", "taken", "held"), REAL, ids=[row[0] for row in REAL])
def test_the_real_registries_of_a_day(
    name: str, version: str, taken: str | None, held: list[str]
) -> None:
    pin = pins.find(name)
    package = recorded(pin, pin.package)
    ranking = policy.rank(pin, package, version, now=NOW, node="24.19.0")
    assert best(ranking) == taken
    assert [h.version for h in ranking.held] == held


def test_pi_under_its_old_name_is_said_to_be_silent() -> None:
    """It moved in May 2026; the old name offered nothing newer and looked up to date."""
    pin = pins.find("pi-coding-agent")
    package = recorded(pin, "@mariozechner/pi-coding-agent")
    ranking = policy.rank(pin, package, "0.73.1", now=NOW, node="24.19.0")
    assert best(ranking) is None
    assert "was it renamed?" in ranking.notices[-1]
    assert policy.silent(package, NOW)
    assert policy.successors(package) == ["@badlogic/pi-coding-agent"]
    newest = replace(package.releases["0.73.1"], deprecated="Please use @earendil-works/"
                     "pi-coding-agent instead going forward")  # fmt: skip
    told = replace(package, releases={"0.73.1": newest})
    assert policy.successors(told)[0] == "@earendil-works/pi-coding-agent"


@pytest.mark.parametrize(("text", "names"), [
    ("use new-tool instead", ["new-tool"]), ("Renamed to `new-tool`.", ["new-tool"]),
    ("moved to @org/tool", ["@org/tool"]), ("no longer maintained", []),
])  # fmt: skip
def test_where_a_deprecation_points(text: str, names: list[str]) -> None:
    document = packument("tool", {"1.0.0": {"deprecated": text}})
    assert policy.successors(npm.parse(json.dumps(document).encode(), "tool")) == names


def test_overrides() -> None:
    text = """
    [tool.sandbox.pins]
    cool-down = 7
    [tool.sandbox.pins.SANDBOX_BUN_VERSION]
    allowed = "<2"
    cool-down = 1.5
    """
    by_name = {pin.name: pin.policy for pin in pins.with_overrides(text)}
    assert by_name["bun"] == Policy(cool_down=1.5, allowed="<2")
    assert by_name["node"] == Policy(cool_down=7, allowed=">=24,<25")
    assert pins.with_overrides("") == pins.PINS


@pytest.mark.parametrize("table", [
    "cooldown = 1", "cool-down = '3'", "cool-down = -1", "cool-down = true", "prereleases = 1",
    "allowed = '>>1'", "SANDBOX_BUN_VERSION = 3", "SANDBOX_BUM_VERSION = {}", "allowed = 3",
])  # fmt: skip
def test_overrides_that_are_none(table: str) -> None:
    with pytest.raises(BadInput, match="pyproject"):
        pins.with_overrides(f"[tool.sandbox.pins]\n{table}\n")


def test_pis_newer_versions_could_not_be_installed_that_day() -> None:
    """The registry listed them, but not what they depend on."""
    there = json.loads((RECORDED / "dependencies.json").read_text())
    package = recorded(pins.find("pi-coding-agent"), "@earendil-works/pi-coding-agent")
    lost = {
        version: [
            name
            for name, spec in release.dependencies.items()
            if not survey.any_fits(frozenset(there[name]), spec)
        ]
        for version, release in package.releases.items()
    }
    assert lost.pop("0.87.1") == []
    assert all(lost.values()), lost
