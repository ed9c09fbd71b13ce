"""A ref gives one image by every route, and nothing but the ref is in it."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING

from tasks import git
from tasks.base import certificates, project
from tasks.build import image, parts, source
from tasks.git import refs
from tests.image.conftest import Built
from tests.support import builder, repos

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.conftest import Workshop

CANARY = "uncommitted-" + "canary-52c1"


def remotely(workshop: Workshop, context_parts: parts.Packed, tag: str, folder: Path) -> Built:
    """As Daytona's runner does it: its flattened context, nothing but the Dockerfile said."""
    flat = builder.flatten(context_parts, folder / "flat")
    archive = folder / "flat.tar"
    subprocess.run(["tar", "-C", str(flat), "-cf", str(archive), "."], check=True)
    labels = [f"--label={n}={v}" for n, v in workshop.run.labels("remote").items()]
    bundle = certificates.find_ca_bundle()
    secret = [f"--secret=id=ca_bundle,src={bundle}"] if bundle else []
    with archive.open("rb") as file:
        result = subprocess.run(
            ["docker", "build", "-t", tag, "-f", "Dockerfile", *labels, *secret, "-"],
            stdin=file, check=False, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return Built(tag)


def ship(root: Path) -> str:
    """Commit and tag what a builder could lose; the commit's id."""
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "dangling").symlink_to("nowhere")
    (root / "run me").write_text("#!/bin/sh\n")
    (root / "run me").chmod(0o755)
    sha = repos.commit(root)
    repos.git(root, "tag", "shipped")
    # An image of a ref has the project's own address for `git fetch`, one of a checkout has its.
    repos.git(root, "config", "remote.origin.url", project.IDENTITY.origin)
    return sha


def test_every_route_gives_the_commit(workshop: Workshop, tmp_path: Path) -> None:
    root = workshop.root
    sha = ship(root)
    by_hand = workshop.tag("ref-hand")
    repos.git(root, "checkout", "-q", "--detach")
    workshop.by_hand(by_hand)
    repos.git(root, "checkout", "-q", "-")
    for name in (project.DOCKERFILE, "README.md", "apps/os/sandbox/entry.sh", "untracked.txt"):
        (root / name).write_text(CANARY)
    repos.git(root, "add", "README.md")
    original_status = repos.status(root)

    local = workshop.tag("ref-local")
    record = workshop.build(local, "--ref", "shipped")
    assert (record["sha"], record["branch"], record["dirty"]) == (sha, None, False)
    repo = git.open_repo(root)
    ref = refs.resolve(repo, "shipped")
    build_source = source.from_ref(repo, ref, build_args=image.BUILD_ARGS)
    context_parts = parts.pack(build_source, tmp_path / "parts")
    routes = {
        "local": Built(local),
        "remote": remotely(workshop, context_parts, workshop.tag("ref-remote"), tmp_path),
        "hand": Built(by_hand),
    }
    records = {}
    for name, built in routes.items():
        builder.same(root, sha, built.files(tmp_path / f"in {name}"))
        records[name] = {k: v for k, v in built.record().items() if k != "built_at"}
        assert built.contains(CANARY.encode()) == set()
    assert records["local"] == records["remote"] == records["hand"]
    assert records["local"]["identity"] == build_source.identity
    assert repos.status(root) == original_status
    second_result = workshop.attempt(local, "--ref", sha[:10])
    assert json.loads(second_result.stdout)["reused"] is True
    assert "uncommitted changes are not in" in second_result.stderr


def test_a_build_without_the_cache_gives_the_same_files(workshop: Workshop) -> None:
    """Of what it makes anew, only the record of the build and the time of two folders differ."""
    usual, anew = workshop.tag("usual"), workshop.tag("anew")
    workshop.build(usual)
    record = workshop.build(anew, "--no-cache", "--compare", usual)
    differences = {change["path"]: change["aspects"] for change in record["differences"]}
    assert differences.pop(project.BUILD_INFO) == ["content"]
    assert set(differences) <= {str(PurePath(project.BUILD_INFO).parent), project.REPO}
    assert all(aspects == ["time"] for aspects in differences.values())
    created = ["docker", "image", "inspect", "--format", "{{.Created}}", anew]
    shown = subprocess.run(created, check=True, capture_output=True, text=True, timeout=60).stdout
    commit_time = repos.git(workshop.root, "log", "-1", "--format=%ct").strip()
    assert datetime.fromisoformat(shown.strip()).timestamp() == int(commit_time)
