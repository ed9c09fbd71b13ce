"""Both roads to Daytona, with the real image of this repository's HEAD: they lead to the same."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from iterate_daemon.versions import TOOLS

from tasks.base import process, project
from tasks.base.errors import TaskError
from tasks.build import image
from tasks.daytona import content, deletion
from tasks.daytona import request as requests
from tasks.daytona.publication import publish
from tasks.daytona.request import PublishRequest
from tasks.engine import discovery
from tasks.sandbox import release_checks, tested
from tasks.sandbox.providers.daytona import DaytonaProvider
from tasks.sandbox.run import Run
from tasks.sandbox.values import Spec
from tests.support import repos
from tests.support.proxy import FaultyProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.daytona.api import Daytona
    from tasks.daytona.publication import Publication
    from tasks.daytona.request import ResolvedRequest, Via
    from tasks.daytona.snapshot import Snapshot
    from tasks.daytona.upload_client import RegistryAccess
    from tests.daytona.conftest import PublishingBench

#: The whole tree but what packages brought: kind, mode, name, target of links; then contents.
TREE = r"""
cd "$1"
leave='( -name node_modules -o -name .venv -o -name __pycache__ -o -path ./.git ) -prune -o'
find . $leave -printf '%y %m %u %p %l\0' | sort -z
find . $leave -type f -print0 | sort -z | xargs -0 sha256sum -z
git status --porcelain --ignored=no -z
git log --format=%H
git ls-tree -r -z HEAD
"""


def resolve(via: Via, stage: str, *, rebuild: str = "") -> ResolvedRequest:
    return requests.resolve(PublishRequest(ref="HEAD", stage=stage, via=via, rebuild=rebuild), {})


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this repository at its HEAD, to commit in."""
    folder = tmp_path_factory.mktemp("clone") / "repository"
    repos.git(project.ROOT, "clone", "--quiet", str(project.ROOT), str(folder))
    return folder


@pytest.fixture(scope="module")
def images_of_clone() -> Iterator[set[str]]:
    """The tags that pushing may have built; they go."""
    tags: set[str] = set()
    yield tags
    engine = discovery.require()
    for tag in tags:
        process.capture(
            engine.command("image", "rm", tag), env=engine.environment, check=False, timeout=120
        )


@pytest.fixture(autouse=True)
def _publish_from_clone(
    clone: Path, images_of_clone: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "ROOT", clone)
    images_of_clone.add(image.tag_of(resolve("push", "dev-a").source))


class CountedRegistry:
    """The stand-in's real registry, behind a proxy that counts what is sent to it."""

    def __init__(self, api: Daytona, proxy: FaultyProxy, access: RegistryAccess) -> None:
        self._api = api
        self._proxy = proxy
        self._access = access
        self._create = api.snapshots.create_from_image

    def push_access(self) -> RegistryAccess:
        return dataclasses.replace(self._access, registry=self._proxy.host)

    def create_snapshot(self, name: str, *, image: str, **resources: Any) -> Snapshot:
        image = image.replace(self._proxy.host, self._access.registry)
        return self._create(name, image=image, **resources)

    def bytes_of(self, request: ResolvedRequest) -> tuple[Publication, int]:
        """Publish it; how many bytes were sent."""
        earlier_bytes = self._proxy.received
        publication = publish(self._api, request)
        return publication, self._proxy.received - earlier_bytes


@pytest.fixture
def registry(bench: PublishingBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[CountedRegistry]:
    access = bench.api.uploads.registry_access()
    with FaultyProxy(access.registry) as proxy:
        counted = CountedRegistry(bench.api, proxy, access)
        monkeypatch.setattr(bench.api.uploads, "registry_access", counted.push_access)
        monkeypatch.setattr(bench.api.snapshots, "create_from_image", counted.create_snapshot)
        yield counted


# The first of all, since it needs a registry that has no layer of the project yet.
@pytest.mark.timeout(600)
def test_a_commit_of_one_line_sends_its_own_layers_alone(
    bench: PublishingBench, registry: CountedRegistry, clone: Path, images_of_clone: set[str]
) -> None:
    """And a forced build of the same commit sends nothing but the names of its layers."""
    first, first_bytes = registry.bytes_of(resolve("push", "dev-d"))
    (clone / "README.md").write_text((clone / "README.md").read_text() + "One line more.\n")
    repos.commit(clone)
    request = resolve("push", "dev-d")
    images_of_clone.add(image.tag_of(request.source))
    second, second_bytes = registry.bytes_of(request)
    assert first_bytes > 300_000_000
    assert second_bytes <= first_bytes * 0.05
    assert first.name != second.name
    for publication in (first, second):
        identity = publication.request.source.identity
        assert content.identity_of(publication.active.snapshot) == identity
        assert content.is_ours(publication.active.snapshot)
    forced_request = resolve("push", "dev-d", rebuild="t0")
    forced, forced_bytes = registry.bytes_of(forced_request)
    assert forced.active.outcome == "built"
    assert content.rebuild_of(forced.active.snapshot) == "t0"
    assert forced_bytes <= first_bytes * 0.05
    # The newest build of a source is what the next publication finds.
    assert publish(bench.api, resolve("push", "dev-d")).name == forced.name
    for publication in (first, second, forced):
        deletion.delete(bench.api, publication.active.snapshot)
    print(f"sent: {first_bytes}, then {second_bytes}, then {forced_bytes} bytes")


@pytest.mark.timeout(600)
def test_both_roads_lead_to_the_same_sandbox(bench: PublishingBench) -> None:
    descriptions = {}
    for via, stage in (("remote", "dev-a"), ("push", "dev-b")):
        request = resolve(via, stage)  # type: ignore[arg-type]
        publication = publish(bench.api, request)
        assert publication.active.outcome == "built"
        assert release_checks.check_snapshot(bench.api, request, publication.name)
        descriptions[via] = describe(bench, publication.name)
        deletion.delete(bench.api, publication.active.snapshot)
    remote, push = descriptions["remote"], descriptions["push"]
    assert remote["build"].pop("built_at")
    assert push["build"].pop("built_at")
    assert remote["build"] == push["build"]
    assert remote["build"]["sha"] == request.source.sha
    assert remote["build"]["pins"] == request.pins
    assert remote["tree"] == push["tree"]
    assert remote["tree"].count("\0") > 500, "it compares whole trees"
    assert remote["tools"] == push["tools"]


def describe(bench: PublishingBench, snapshot: str) -> dict[str, Any]:
    provider = DaytonaProvider(bench.api)
    with Run(provider) as run, provider.create(Spec(image=snapshot), run) as sandbox:
        sandbox.start()
        sandbox.wait_until_ready()
        versions = "; ".join(f"{tool.command} --version" for tool in TOOLS)
        return {
            "build": json.loads(sandbox.read(project.BUILD_INFO)),
            "tree": sandbox.exec(["bash", "-c", TREE, "tree", project.REPO], timeout=120).stdout,
            "tools": sandbox.exec(versions, timeout=120).stdout,
        }


def test_an_image_that_fails_its_tests_is_not_sent(bench: PublishingBench) -> None:
    def fail(built_image: image.Image) -> None:
        raise TaskError(f"{built_image.id} does not work")

    with pytest.raises(TaskError, match="does not work"):
        publish(bench.api, resolve("push", "dev-c"), check_image=fail)
    assert bench.request_count("POST /api/snapshots") == 0


def test_an_image_that_passed_the_tests_is_not_tested_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(process, "run", commands.append)
    local_image = image.Image("sha256:" + "5e" * 32, 1, "identity")
    try:
        release_checks.require_tests(local_image)
        assert commands[0][-3:] == ["local-test", "--image", local_image.id]
        tested.record(local_image.id)
        release_checks.require_tests(local_image)
        assert len(commands) == 1, "it has passed, and is not asked again"
    finally:
        (project.state_dir() / "tested" / f"{'5e' * 32}.json").unlink(missing_ok=True)


def test_the_docker_provider_accepts_an_image_by_its_id() -> None:
    """A name could be another image's by the time it is tested, or pushed."""
    from tasks.sandbox.providers.docker import DockerProvider

    engine = discovery.require()
    local_image = image.find(engine, project.LOCAL_IMAGE)
    assert local_image is not None, "nox -s snapshot_local makes it"
    with closing(DockerProvider.connect()) as provider:
        provider.check(local_image.id)
