from __future__ import annotations

import pytest

from tasks.base.errors import BadInput
from tasks.build import layer_cache
from tasks.build.layer_cache import Cache, CacheUnusable


@pytest.mark.parametrize("text", ["", "off"])
def test_it_is_off(text: str) -> None:
    assert layer_cache.parse(text) is None
    assert layer_cache.from_environment({layer_cache.VARIABLE: text}) is None
    assert layer_cache.from_environment({}) is None


@pytest.mark.parametrize(
    "reference",
    [
        "registry.example/team/layers",
        "registry.example:5000/layers",
        "registry.example/team/layers:v1.2_3",
        "localhost/layers",
        "buildhost:5000/layers",
        "127.0.0.1:5000/sandbox/layers",
        "[::1]:5000/layers",
    ],
)
def test_places_a_registry_takes(reference: str) -> None:
    assert layer_cache.parse(f"registry:{reference}") == Cache("registry", reference)


@pytest.mark.parametrize(
    "text",
    [
        "on", "GHA", "gha ", "gha:scope", "registry", "registry:", "registry:host.example",
        "registry:team/layers",  # which registry?
        "registry:https://host.example/layers", "registry:host.example/Layers",
        "registry:host.example/a,mode=min", "registry:host.example/a b",
        "registry:host.example/a\n",
        "registry:host.example/a?x=y", "registry:host.example/", "registry:-host.example/a:b:c",
        "type=registry,ref=host.example/a", "s3:bucket", "local:/tmp/x",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        layer_cache.parse(text)
    assert "registry:HOST/NAME" in caught.value.fix
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["registry:me:hunter2@host.example/a", "https://me:hunter2@host.example/a", "hunter2@"]
)
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        layer_cache.parse(text)
    assert "hunter2" not in str(caught.value)
    assert "docker login" in caught.value.fix


def test_all_stages_are_kept_and_an_outage_fails_nothing() -> None:
    read, place, write, into = Cache("registry", "host.example/a").options(arch="arm64")
    assert (read, write) == ("--cache-from", "--cache-to")
    assert place == "type=registry,ref=host.example/a:layers-arm64"
    assert into.startswith(place + ",")
    assert {"mode=max", "ignore-error=true"} <= set(into.split(","))


def test_a_given_tag_is_used() -> None:
    options = Cache("registry", "127.0.0.1:5000/a:mine").options(arch="amd64")
    assert options[1] == "type=registry,ref=127.0.0.1:5000/a:mine"


def test_no_cache_reads_nothing_and_writes_anew() -> None:
    options = Cache("registry", "host.example/a").options(arch="amd64", read=False)
    assert "--cache-from" not in options
    assert "--cache-to" in options


def test_github_keeps_one_place_for_each_kind_of_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in layer_cache.GITHUB:  # secrets, that buildx reads by itself
        monkeypatch.setenv(name, "hunter2")
    options = Cache("gha").options(arch="amd64")
    assert options[1] == "type=gha,version=2,scope=sandbox-amd64"
    assert "hunter2" not in " ".join(options)
    assert "mode=max" in options[3]
    assert "ignore-error=true" in options[3]


@pytest.mark.parametrize("missing", layer_cache.GITHUB)
def test_github_needs_its_variables(missing: str) -> None:
    environment = dict.fromkeys(layer_cache.GITHUB, "hunter2") | {missing: ""}
    with pytest.raises(CacheUnusable) as caught:
        layer_cache.check(Cache("gha"), buildx=(0, 30), environment=environment)
    assert missing in caught.value.what
    assert "hunter2" not in str(caught.value)


def test_github_needs_a_buildx_that_speaks_its_protocol() -> None:
    environment = dict.fromkeys(layer_cache.GITHUB, "x")
    layer_cache.check(Cache("gha"), buildx=(0, 21, 0), environment=environment)
    with pytest.raises(CacheUnusable, match=r"0\.13\.1"):
        layer_cache.check(Cache("gha"), buildx=(0, 13, 1), environment=environment)


def test_a_registry_needs_nothing_here() -> None:
    layer_cache.check(Cache("registry", "host.example/a"), buildx=(0, 10), environment={})
