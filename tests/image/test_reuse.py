"""What is there is used again: the image by its identity, layers by what they are made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.build import image
from tests.support import repos

if TYPE_CHECKING:
    from tests.image.conftest import Workshop

INSTALLS = re.compile(r"npm_tool\.py|pip install|pnpm install|uv pip sync|apt-get")


def executed(log: str) -> list[str]:
    """The names of the RUN steps that were not taken from the cache."""
    from tasks.build.build_log import Build

    build = Build()
    for line in Path(log).read_text().splitlines():
        build.feed(line)
    return [
        step.name for step in build.steps.values() if step.state == "done" and "RUN" in step.name
    ]


def image_id(tag: str) -> str:
    form = ["docker", "image", "inspect", "--format", "{{.Id}}", tag]
    return subprocess.run(form, check=True, capture_output=True, text=True).stdout.strip()


def test_nothing_changed_then_a_readme_then_one_pin(workshop: Workshop) -> None:
    tag = workshop.tag("reuse")
    first = workshop.build(tag)
    assert first["reused"] is False

    second_result = workshop.attempt(tag)
    assert '"reused": true' in second_result.stdout
    assert "nothing to do" in second_result.stderr
    assert "packed" not in second_result.stderr

    forced = workshop.build(tag, "--force")
    assert forced["reused"] is False
    assert forced["identity"] == first["identity"]

    repos.write(workshop.root, {"README.md": "# Another readme\n"})
    readme = workshop.build(tag)
    assert readme["identity"] != first["identity"]
    ran = executed(readme["log"])
    assert ran, "the source's steps are there"
    assert [name for name in ran if INSTALLS.search(name) or " build" in name] == []

    record = workshop.bump("--to", "bun=1.4.3", "--allow-downgrade")
    assert record["written"] is True
    bump = workshop.build(tag)
    installs = [name for name in executed(bump["log"]) if INSTALLS.search(name)]
    # None, where this engine has built that very version before.
    assert {name.split(" ")[0] for name in installs} <= {"[bun"}, installs
    script = "bun --version; echo $SANDBOX_BUN_VERSION"
    version = ["docker", "run", "--rm", "--entrypoint", "sh", tag, "-c", script]
    assert subprocess.run(version, check=True, capture_output=True).stdout == b"1.4.3\n1.4.3\n"


def test_an_image_deleted_behind_our_back_is_built_again(workshop: Workshop) -> None:
    tag = workshop.tag("gone")
    workshop.build(tag)
    subprocess.run(["docker", "image", "rm", "-f", tag], check=True, capture_output=True)
    assert workshop.build(tag)["reused"] is False
    assert image_id(tag)


def test_a_dry_run_says_what_would_go_in_and_builds_nothing(workshop: Workshop) -> None:
    tag = workshop.tag("dry")
    record = workshop.build(tag, "--dry-run")
    assert (
        record["context"]["files"]
        == len(repos.git(workshop.root, "ls-files", "-z").split("\0")) - 1
    )
    assert len(record["context"]["largest"]) == 5
    from tasks.engine import discovery

    assert image.find(discovery.require(), tag) is None


def test_a_dry_run_needs_no_engine(workshop: Workshop) -> None:
    env = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    assert workshop.build("a:b", "--dry-run", env=env)["identity"]
