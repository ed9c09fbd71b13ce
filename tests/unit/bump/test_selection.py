"""Which release replaces a pin: a table of ugly registries, and the real ones of a real day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tasks.bump import pins, ranges, selection, successors
from tasks.bump.pin_policy import PinPolicy
from tasks.bump.pins import Pin
from tasks.bump.registries import npm, pypi
from tasks.bump.registries.model import SourceError
from tasks.bump.selection import PinRequest, Ranking, Situation
from tests.support.package_registry import NOW, integrity, packument

PIN = Pin("SANDBOX_TOOL_VERSION", "tool", "npm", "https://example.org/{version}")
SITUATION = Situation(NOW, "24.19.0")
RECORDED = Path(__file__).parent / "recorded"


def rank(
    versions: dict[str, dict[str, Any]],
    *,
    pinned_version: str = "1.0.0",
    request: PinRequest | None = None,
    policy: PinPolicy | None = None,
    time: datetime = NOW,
    **fields: Any,
) -> Ranking:
    document = packument("tool", {pinned_version: {}, **versions}, **fields)
    package = npm.parse(json.dumps(document).encode(), "tool")
    pin = replace(PIN, policy=policy or PinPolicy())
    return selection.rank(pin, package, pinned_version, Situation(time, "24.19.0"), request)


def best(ranking: Ranking) -> str | None:
    return ranking.candidates[0].text if ranking.candidates else None


OLD: dict[str, Any] = {"maintainers": [{"name": "ann"}], "_npmUser": {"name": "ann"}}
SIGNED = {"dist": {"attestations": {"provenance": {}}, "signatures": []}}
ATTESTED = {"dist": {"attestations": {"provenance": {"predicateType": "x"}}, "signatures": []}}

#: What a registry offers above 1.0.0 → what is expected, and what must be said of the rest.
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
    ("an unreadable Node", {"1.0.1": {"engines": {"node": "lts/*"}}}, None, "cannot be read"),
    ("a new install script", {"1.0.1": {"scripts": {"postinstall": "curl"}}}, None, "--accept"),
    ("a new test script", {"1.0.1": {"scripts": {"test": "x"}}}, "1.0.1", ""),
]  # fmt: skip


@pytest.mark.parametrize(("versions", "expected", "reason"), [row[1:] for row in UGLY],
                         ids=[row[0] for row in UGLY])  # fmt: skip
def test_the_best_release_of_an_ugly_registry_is_taken(
    versions: dict[str, dict[str, Any]], expected: str | None, reason: str
) -> None:
    latest = next((v for v in reversed(versions) if v[0] == "1" and "\n" not in v), "1.0.0")
    latest = "1.0.0" if "name" in versions.get(latest, {}) or "-" in latest else latest
    latest = "1.0.0" if "version" in versions.get(latest, {}) else latest
    ranking = rank(versions, latest=latest)
    assert best(ranking) == expected
    reasons = " / ".join(release.reason for release in ranking.held_releases)
    assert reason in reasons
    assert bool(reason) == bool(ranking.held_releases)


def test_a_cool_down_ends_when_it_says() -> None:
    ranking = rank({"1.0.1": {"age": 1}})
    assert ranking.held_releases[0].until == NOW + timedelta(days=2)
    assert best(rank({"1.0.1": {"age": 1}}, time=NOW + timedelta(days=2))) == "1.0.1"


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_jumps_a_day_bumps_nothing_wrong(days: int) -> None:
    """What it takes at either time was published three days before that time."""
    time = NOW + timedelta(days=days)
    versions = {f"1.0.{n}": {"age": 5 - n} for n in range(1, 5)}
    ranking = rank(versions, time=time)
    date = ranking.candidates[0].date
    assert date is not None
    assert time - date >= timedelta(days=3)


def test_a_pre_release_pin_moves_on_to_newer_ones() -> None:
    versions: dict[str, dict[str, Any]] = {"1.0.0-beta.10": {}, "1.0.0-beta.9": {}}
    assert (
        best(rank(versions, pinned_version="1.0.0-beta.2", latest="1.0.0-beta.9"))
        == "1.0.0-beta.10"
    )
    assert best(rank({**versions, "1.0.0": {}}, pinned_version="1.0.0-beta.2")) == "1.0.0"


def test_a_release_beyond_the_recommended_one_is_held_back() -> None:
    ranking = rank({"1.1.0": {}, "2.0.0": {}}, latest="1.1.0")
    assert best(ranking) == "1.1.0"
    assert "newer than 1.1.0, which its makers recommend" in ranking.held_releases[0].reason


def test_the_allowed_range_is_kept() -> None:
    ranking = rank({"1.1.0": {}, "2.0.0": {}}, policy=PinPolicy(allowed=">=1,<2"))
    assert best(ranking) == "1.1.0"
    assert ranking.held_releases[0].reason == "it is outside the allowed range >=1,<2"
    assert best(rank({"1.1.0": {}}, policy=PinPolicy(allowed="==1.0.*"))) is None


def test_the_cool_down_can_be_longer_or_none() -> None:
    assert best(rank({"1.0.1": {"age": 5}}, policy=PinPolicy(cool_down=7))) is None
    assert best(rank({"1.0.1": {"age": 0.1}}, policy=PinPolicy(cool_down=0))) == "1.0.1"


RISKS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("a new maintainer", OLD, {"maintainers": [{"name": "ann"}, {"name": "mallory"}]}, "mallory"),
    ("a new publisher", OLD, {**OLD, "_npmUser": {"name": "mallory"}}, "somebody new (mallory)"),
    ("a maintainer less", {"maintainers": [{"name": "ann"}, {"name": "bob"}]}, OLD, ""),
    ("a maintainer publishes", {**OLD, "maintainers": [{"name": "ann"}, {"name": "bob"}]},
     {**OLD, "_npmUser": {"name": "bob"}}, ""),
    ("provenance lost", ATTESTED, SIGNED, "has lost its provenance"),
    ("provenance won", SIGNED, ATTESTED, ""),
    ("provenance unknown: a mirror", ATTESTED, {}, ""),
    ("maintainers unknown: a mirror", OLD, {}, ""),
    ("an install script as before", {"scripts": {"postinstall": "a"}},
     {"scripts": {"postinstall": "b"}}, ""),
    ("a second install script", {"scripts": {"postinstall": "a"}},
     {"scripts": {"postinstall": "a", "preinstall": "b"}}, "(preinstall)"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "risk"), [row[1:] for row in RISKS],
                         ids=[row[0] for row in RISKS])  # fmt: skip
def test_a_release_like_a_stolen_accounts_needs_consent(
    old: dict[str, Any], new: dict[str, Any], risk: str
) -> None:
    document = packument("tool", {"1.0.0": old, "1.0.1": new})
    for release in document["versions"].values():
        release["dist"].setdefault("integrity", integrity("tool", release["version"]))
    package = npm.parse(json.dumps(document).encode(), "tool")

    def take(request: PinRequest) -> Ranking:
        return selection.rank(PIN, package, "1.0.0", SITUATION, request)

    ranking = take(PinRequest())
    assert (best(ranking) is None) == bool(risk)
    reasons = [release.reason for release in ranking.held_releases]
    assert all(risk in reason and "--accept tool" in reason for reason in reasons)
    assert best(take(PinRequest(accept_risks=True))) == "1.0.1"
    candidate = best(take(PinRequest(to="1.0.1")))
    assert (candidate is None) == bool(risk), "a request is not consent"


@pytest.mark.parametrize(("pin_request", "versions", "expected"), [
    (PinRequest(to="1.0.1"), {"1.0.1": {}, "1.0.2": {}}, "1.0.1"),
    (PinRequest(to="0.9.0"), {"0.9.0": {}}, None),
    (PinRequest(to="0.9.0", allow_downgrade=True), {"0.9.0": {}}, "0.9.0"),
    (PinRequest(to="1.1.0-beta.1"), {"1.1.0-beta.1": {}}, "1.1.0-beta.1"),
    (PinRequest(to="1.0.1"), {"1.0.1": {"age": 1}}, None),
    (PinRequest(to="1.0.1", reason="CVE"), {"1.0.1": {"age": 1}}, "1.0.1"),
    (PinRequest(reason="CVE"), {"1.0.1": {"age": 0.01}}, "1.0.1"),
    (PinRequest(reason="CVE"), {"1.0.1": {"age": -1}}, None),
    (PinRequest(reason="CVE"), {"1.0.1": {"age": None}}, None),
    (PinRequest(to="1.0.1"), {"1.0.1": {"deprecated": "x"}}, "1.0.1"),
    (PinRequest(to="1.0.1"), {"1.0.1": {"engines": {"node": ">=99"}}}, None),
    (PinRequest(to="1.0.1"), {"1.0.1": {"dist": {"integrity": ""}}}, None),
])  # fmt: skip
def test_a_request_overrides_choices_but_no_facts(
    pin_request: PinRequest, versions: dict[str, dict[str, Any]], expected: str | None
) -> None:
    ranking = rank(versions, request=pin_request, latest="1.0.0")
    if pin_request.reason and not pin_request.to:
        ranking = rank(versions, request=pin_request)
    assert best(ranking) == expected
    assert bool(ranking.held_releases) == (expected is None)


def test_a_request_for_a_version_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"tool 7.0.0 does not exist"):
        rank({}, request=PinRequest(to="7.0.0"))
    with pytest.raises(SourceError, match=r"tool 7.0.0 was unpublished"):
        rank({}, request=PinRequest(to="7.0.0"), unpublished=("7.0.0",))


def test_a_pinned_version_that_is_gone_is_noticed() -> None:
    document = packument("tool", {"1.0.1": {}}, unpublished=("1.0.0",))
    package = npm.parse(json.dumps(document).encode(), "tool")
    ranking = selection.rank(PIN, package, "1.0.0", SITUATION)
    assert best(ranking) == "1.0.1"
    assert "was unpublished" in ranking.notices[0]
    ranking = selection.rank(PIN, package, "0.5.0", SITUATION)
    assert "is not in the registry" in ranking.notices[0]
    with pytest.raises(SourceError, match="not a version of tool"):
        selection.rank(PIN, package, "latest", SITUATION)


def recorded(pin: Pin, package: str) -> Any:
    body = (RECORDED / f"{quote(package, safe='@')}.json").read_bytes()
    return npm.parse(body, package) if pin.origin == "npm" else pypi.parse(body, package)


#: 2026-11-23: pin, its version, what is taken (before the tree is looked at), and held.
REAL = [
    ("opencode", "1.18.33", None, []),
    ("claude-code", "2.1.328", "2.1.329", ["2.1.330"]),
    ("pi-coding-agent", "0.87.1", "1.5.2", []),
    ("bun", "1.4.4", "1.4.5", []),
    ("node", "24.19.0", None, []),
    ("pnpm", "12.21.0", None, []),
    ("uv", "0.13.9", None, []),
]


@pytest.mark.parametrize(
    ("name", "version", "expected", "held_versions"), REAL, ids=[row[0] for row in REAL]
)
def test_the_real_registries_of_a_day_are_judged(
    name: str, version: str, expected: str | None, held_versions: list[str]
) -> None:
    pin = pins.find_pin(name)
    package = recorded(pin, pin.package)
    ranking = selection.rank(pin, package, version, SITUATION)
    assert best(ranking) == expected
    assert [release.version for release in ranking.held_releases] == held_versions


def test_pi_under_its_old_name_looks_given_up() -> None:
    """It moved in May 2026; the old name offered nothing newer and looked up to date."""
    pin = pins.find_pin("pi-coding-agent")
    package = recorded(pin, "@mariozechner/pi-coding-agent")
    ranking = selection.rank(pin, package, "0.73.1", SITUATION)
    assert best(ranking) is None
    assert "was it renamed?" in ranking.notices[-1]
    assert successors.looks_given_up(package, NOW)
    assert successors.find_successors(package) == ["@badlogic/pi-coding-agent"]
    newest = replace(package.releases["0.73.1"], deprecated="Please use @earendil-works/"
                     "pi-coding-agent instead going forward")  # fmt: skip
    package = replace(package, releases={"0.73.1": newest})
    assert successors.find_successors(package)[0] == "@earendil-works/pi-coding-agent"


@pytest.mark.parametrize(("text", "names"), [
    ("use new-tool instead", ["new-tool"]), ("Renamed to `new-tool`.", ["new-tool"]),
    ("moved to @org/tool", ["@org/tool"]), ("no longer maintained", []),
])  # fmt: skip
def test_a_deprecation_names_the_successor(text: str, names: list[str]) -> None:
    document = packument("tool", {"1.0.0": {"deprecated": text}})
    assert successors.find_successors(npm.parse(json.dumps(document).encode(), "tool")) == names


def test_pis_newer_versions_could_not_be_installed_that_day() -> None:
    """The registry listed them, but not what they depend on."""
    versions = json.loads((RECORDED / "dependencies.json").read_text())
    package = recorded(pins.find_pin("pi-coding-agent"), "@earendil-works/pi-coding-agent")
    missing = {
        version: [
            name
            for name, specifier in release.dependencies.items()
            if not ranges.any_satisfies(versions[name], specifier)
        ]
        for version, release in package.releases.items()
    }
    assert missing.pop("0.87.1") == []
    assert all(missing.values()), missing
