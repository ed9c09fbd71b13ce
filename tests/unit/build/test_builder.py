"""Choosing a builder, against a `docker` that says what real ones said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import BadInput
from tasks.build import builder
from tasks.build.layer_cache import VARIABLE as CACHE
from tasks.build.layer_cache import CacheUnusable
from tasks.engine.endpoint import DEFAULT_HOST, Endpoint
from tasks.engine.engine import Engine

if TYPE_CHECKING:
    from pathlib import Path

OWN_BUILDER = """\
Name:   default
Driver: docker

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.0.0+unknown
Platforms:        linux/amd64, linux/amd64/v2, linux/386
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1
"""
REMOTE = """\
Name:          far
Driver:        remote
Last Activity: 2026-11-23 12:24:18 +0000 UTC

Nodes:
Name:             far0
Endpoint:         tcp://127.0.0.1:34561
Status:           running
BuildKit version: v0.13.2
Platforms:        linux/amd64*, linux/amd64/v2
Labels:
 org.mobyproject.buildkit.worker.executor: containerd

Name:      far1
Endpoint:  tcp://127.0.0.1:34562
Status:    inactive
Platforms: linux/arm64
"""
SILENT_BUILDER = """\
Name:   far
Driver: remote

Nodes:
Name:     far0
Endpoint: tcp://127.0.0.1:1
Status:   inactive
"""
STOPPED_BUILDER = """\
Name:   box
Driver: docker-container

Nodes:
Name:                  box0
Endpoint:              unix:///var/run/docker.sock
Status:                inactive
BuildKit daemon flags: --allow-insecure-entitlement=network.host
"""
LISTED = """\
NAME/NODE     DRIVER/ENDPOINT             STATUS    BUILDKIT         PLATFORMS
far           remote
 \\_ far0       \\_ tcp://127.0.0.1:34561   running   v0.0.0+unknown   linux/amd64
default*      docker
 \\_ default    \\_ default                 running   v0.0.0+unknown   linux/amd64
"""
LISTED_BY_0_11 = """\
NAME/NODE   DRIVER/ENDPOINT STATUS  BUILDKIT PLATFORMS
far *       remote
  far0      tcp://far:1234  running v0.11.0  linux/amd64
default     docker
  default   default         running v0.11.0  linux/amd64
"""


class Docker:
    """An engine whose docker CLI answers what is written beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script = folder / "docker"
        self._script.write_text(
            "#!/bin/sh\n"
            f"cd '{folder}'; echo \"$*\" >> asked\n"
            'case "$1 $2" in\n'
            '  "buildx inspect") cat "inspect" && exit; echo \'ERROR: no builder "x" found\' >&2;'
            " exit 1;;\n"
            '  "buildx ls") cat ls;;\n'
            '  "--context "*) cat id;;\n'
            "esac\n"
        )
        self._script.chmod(0o755)
        (folder / "ls").write_text(LISTED)

    def says(self, **files: str) -> Docker:
        for name, content in files.items():
            (self._folder / name).write_text(content)
        return self

    @property
    def requests(self) -> list[str]:
        requests = self._folder / "asked"
        return requests.read_text().splitlines() if requests.exists() else []

    @property
    def engine(self) -> Engine:
        return Engine(
            cli=str(self._script), endpoint=Endpoint(DEFAULT_HOST, "default"), version="26.1.5",
            api="1.45", os="linux", arch="amd64", buildx="0.13.1",
        )  # fmt: skip


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path)


@pytest.fixture(autouse=True)
def info(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine says of itself."""
    facts: dict[str, Any] = {"ID": "ours", "DriverStatus": [["Backing Filesystem", "extfs"]]}
    monkeypatch.setattr(builder, "_info", lambda _engine: facts)
    return facts


def test_without_a_name_it_is_what_buildx_would_take(docker: Docker) -> None:
    chosen_builder = builder.require(docker.says(inspect=OWN_BUILDER).engine)
    assert (chosen_builder.name, chosen_builder.driver, chosen_builder.is_engines) == (
        "default",
        "docker",
        True,
    )
    assert docker.requests == ["buildx inspect"]


def test_a_remote_one_builds_for_the_engine(docker: Docker) -> None:
    chosen_builder = builder.require(docker.says(inspect=REMOTE).engine, "far")
    assert (chosen_builder.name, chosen_builder.is_engines) == ("far", False)
    assert str(chosen_builder) == "far (remote, tcp://127.0.0.1:34561)"
    assert docker.requests == ["buildx inspect far"]


def test_all_nodes_are_read() -> None:
    nodes = builder.parse(REMOTE).nodes
    assert [(node.endpoint[-5:], node.status) for node in nodes] == [
        ("34561", "running"),
        ("34562", "inactive"),
    ]
    assert [node.platforms for node in nodes] == [
        ("linux/amd64", "linux/amd64/v2"),
        ("linux/arm64",),
    ]


def test_one_that_is_not_there_is_said_with_those_that_are(docker: Docker) -> None:
    with pytest.raises(builder.NoBuilder) as caught:
        builder.require(docker.engine, "x")
    assert caught.value.what == 'no builder "x" found'
    assert "far, default" in caught.value.fix
    assert "docker buildx create" in caught.value.fix


@pytest.mark.parametrize("text", [LISTED, LISTED_BY_0_11])
def test_the_candidates_of_old_and_new_lists(text: str) -> None:
    assert builder.parse_names(text) == ["far", "default"]


def test_one_that_does_not_answer_is_said_at_once(docker: Docker) -> None:
    with pytest.raises(builder.NoBuilder, match=r"far .*tcp://127.0.0.1:1.* does not answer"):
        builder.require(docker.says(inspect=SILENT_BUILDER).engine, "far")


def test_why_it_does_not_answer_is_quoted(docker: Docker) -> None:
    failing = SILENT_BUILDER.replace("Status:   inactive", "Error:    tls: bad \x1b[31mcertificate")
    with pytest.raises(builder.NoBuilder, match=r"tls: bad \\x1b\[31mcertificate"):
        builder.require(docker.says(inspect=failing).engine, "far")


def test_one_that_starts_when_it_is_needed_may_be_down(docker: Docker) -> None:
    chosen_builder = builder.require(docker.says(inspect=STOPPED_BUILDER).engine, "box")
    assert (chosen_builder.driver, chosen_builder.is_engines) == (
        "docker-container",
        False,
    )


def test_one_for_other_machines_is_refused(docker: Docker) -> None:
    arm = REMOTE.replace("linux/amd64*, linux/amd64/v2", "linux/arm64, linux/arm/v7")
    with pytest.raises(builder.NoBuilder, match="builds linux/arm/v7, linux/arm64, and"):
        builder.require(docker.says(inspect=arm).engine, "far")


def test_another_engine_keeps_its_images_to_itself(docker: Docker) -> None:
    description = OWN_BUILDER.replace("default", "office")
    with pytest.raises(builder.NoBuilder) as caught:
        builder.require(docker.says(inspect=description, id="theirs\n").engine, "office")
    assert "--driver docker-container office" in caught.value.fix
    assert docker.requests[-1] == "--context office info --format {{.ID}}"


def test_our_engine_under_another_name_is_ours(docker: Docker) -> None:
    description = OWN_BUILDER.replace("default", "desktop-linux")
    assert builder.require(docker.says(inspect=description, id="ours\n").engine).is_engines


@pytest.mark.parametrize("name", ["", "-x", "--builder=x", "a b", "a\n", "../x", "ü"])
def test_what_cannot_name_one_is_refused_before_any_work(name: str) -> None:
    with pytest.raises(BadInput):
        builder.requested_name_of(name)
    with pytest.raises(BadInput):
        builder.requested_name_of(None, {builder.VARIABLE: name or " "})


def test_the_option_counts_before_the_variable() -> None:
    assert builder.requested_name_of("a", {builder.VARIABLE: "b"}) == "a"
    assert builder.requested_name_of(None, {builder.VARIABLE: "b"}) == "b"
    assert builder.requested_name_of(None, {builder.VARIABLE: ""}) is None


def test_the_engines_own_builder_cannot_write_a_cache(docker: Docker) -> None:
    with pytest.raises(CacheUnusable) as caught:
        builder.plan_build(
            docker.says(inspect=OWN_BUILDER).engine, environment={CACHE: "registry:host.example/a"}
        )
    assert "--driver docker-container" in caught.value.fix
    assert "--builder sandbox" in caught.value.fix


def test_it_can_with_the_containerd_store(docker: Docker, info: dict[str, Any]) -> None:
    info["DriverStatus"] = json.loads('[["driver-type", "io.containerd.snapshotter.v1"]]')
    plan = builder.plan_build(
        docker.says(inspect=OWN_BUILDER).engine, environment={CACHE: "registry:host.example/a"}
    )
    assert plan.builder.is_engines
    assert str(plan.cache) == "registry:host.example/a"


def test_a_setting_that_cannot_be_is_said_before_anybody_is_asked(docker: Docker) -> None:
    with pytest.raises(BadInput):
        builder.plan_build(docker.engine, "far", environment={CACHE: "yes"})
    assert docker.requests == []


def test_the_variable_chooses(docker: Docker) -> None:
    plan = builder.plan_build(
        docker.says(inspect=REMOTE).engine,
        environment={builder.VARIABLE: "far", CACHE: "registry:host.example/a"},
    )
    assert docker.requests == ["buildx inspect far"]
    assert (plan.builder.name, str(plan.cache)) == (
        "far",
        "registry:host.example/a",
    )
