"""Both roads to Daytona, with the real image of this repository's HEAD: they lead to the same."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import process, project
from tasks.base.errors import TaskError
from tasks.build import image
from tasks.daytona import deletion
from tasks.daytona import request as requests
from tasks.daytona.publication import publish
from tasks.daytona.request import PublishRequest
from tasks.engine import discovery
from tasks.sandbox import release_checks, tested
from tasks.sandbox.providers.daytona import DaytonaProvider
from tasks.sandbox.run import Run
from tasks.sandbox.values import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.daytona.request import ResolvedRequest, Via
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


def resolve(via: Via, stage: str) -> ResolvedRequest:
    return requests.resolve(PublishRequest(ref="HEAD", stage=stage, via=via), {})


@pytest.fixture(autouse=True)
def _delete_built_image() -> Iterator[None]:
    """The image that pushing may build goes, unless it was there before."""
    engine = discovery.require()
    tag = image.tag_of(resolve("push", "dev-a").source)
    earlier_image = image.find(engine, tag)
    yield
    if earlier_image is None:
        process.capture(
            engine.command("image", "rm", tag), env=engine.environment, check=False, timeout=120
        )


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
        versions = "; ".join(
            f"{tool} --version" for tool in ("opencode", "claude", "pi", "bun", "node", "uv")
        )
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
