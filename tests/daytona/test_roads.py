"""Both roads to Daytona, with the real image of this repository's HEAD: they lead to the same."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import process, project
from tasks.base.errors import TaskError
from tasks.build import image
from tasks.commands import snapshot_daytona
from tasks.daytona import publish, ship
from tasks.engine import discovery
from tasks.sandbox import tested
from tasks.sandbox.providers.daytona import DaytonaProvider
from tasks.sandbox.run import Run
from tasks.sandbox.values import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.daytona.ship import Via
    from tests.daytona.conftest import Bench

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


def order(via: Via, stage: str) -> ship.Order:
    return ship.order(ref="HEAD", environment={}, stage=stage, via=via)


@pytest.fixture(autouse=True)
def kept_apart() -> Iterator[None]:
    """The image that pushing may build goes, unless it was there before."""
    there = discovery.require()
    tag = image.tag_of(order("push", "dev-a").source)
    before = image.find(there, tag)
    yield
    if before is None:
        process.capture(
            there.command("image", "rm", tag), env=there.environment, check=False, timeout=120
        )


@pytest.mark.timeout(600)
def test_they_lead_to_the_same(bench: Bench) -> None:
    found = {}
    for via, stage in (("remote", "dev-a"), ("push", "dev-b")):
        wanted = order(via, stage)  # type: ignore[arg-type]
        shipped = ship.ship(bench.api, wanted)
        assert shipped.published.how == "built"
        assert snapshot_daytona.check(bench.api, wanted, shipped)
        found[via] = look(bench, shipped.published.snapshot.name)
        publish.delete(bench.api, shipped.published.snapshot)
    remote, push = found["remote"], found["push"]
    assert remote["build"].pop("built_at")
    assert push["build"].pop("built_at")
    assert remote["build"] == push["build"]
    assert remote["build"]["sha"] == wanted.source.sha
    assert remote["build"]["pins"] == wanted.pins
    assert remote["tree"] == push["tree"]
    assert remote["tree"].count("\0") > 500, "it compares whole trees"
    assert remote["tools"] == push["tools"]


def look(bench: Bench, snapshot: str) -> dict[str, Any]:
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


def test_an_image_that_fails_its_tests_is_not_sent(bench: Bench) -> None:
    def fails(built: image.Image) -> None:
        raise TaskError(f"{built.id} does not work")

    with pytest.raises(TaskError, match="does not work"):
        ship.ship(bench.api, order("push", "dev-c"), test=fails)
    assert bench.asked("POST /api/snapshots") == 0


def test_what_was_tested_is_what_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(process, "run", ran.append)
    built = image.Image("sha256:" + "5e" * 32, 1, "identity")
    try:
        snapshot_daytona.passes(built)
        assert ran[0][-3:] == ["local-test", "--image", built.id]
        tested.record(built.id)
        snapshot_daytona.passes(built)
        assert len(ran) == 1, "it has passed, and is not asked again"
    finally:
        (project.state_dir() / "tested" / f"{'5e' * 32}.json").unlink(missing_ok=True)


def test_docker_takes_the_image_by_its_id() -> None:
    """A name could be another image's by the time it is tested, or pushed."""
    from tasks.sandbox.providers.docker import DockerProvider

    there = discovery.require()
    built = image.find(there, project.LOCAL_IMAGE)
    assert built is not None, "nox -s snapshot_local makes it"
    with closing(DockerProvider.connect()) as provider:
        provider.check(built.id)
