"""Builds on a second BuildKit, and layers that go from one builder to another by a registry.

A small Dockerfile proves it: what its first step makes is random, so the same bytes twice came out
of a cache.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project
from tasks.build import image
from tests.image.conftest import Built
from tests.support import repos
from tests.support.buildkit import NAME, REGISTRY, BuildKit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.sandbox.run import Run
    from tests.image.conftest import Workshop

DOCKERFILE = """\
ARG BASE_IMAGE=debian:trixie-slim
FROM ${BASE_IMAGE} AS tool
RUN --mount=type=secret,id=ca_bundle grep -q CERTIFICATE /run/secrets/ca_bundle \\
 && test -n "$HTTPS_PROXY" && test -z "$HTTP_PROXY" \\
 && head -c 20 /dev/urandom | sha256sum > /tool && echo in-a-layer >> /tool
FROM ${BASE_IMAGE}
COPY --link --from=tool /tool /opt/tool
COPY apps/os /src
USER nobody
ENTRYPOINT ["/bin/true"]
"""
#: Of the CA bundle and the proxy's address. Made anew each time: this file is in the image, too.
SECRETS = (f"ca-{secrets.token_hex(12)}", f"pass-{secrets.token_hex(12)}")
CACHE = f"registry:{REGISTRY}/sandbox/layers"
LIST = "find /src -type f -exec sha256sum {} + | sort -k 2"


# What the first test waits for on a new machine: the packages of the second BuildKit.
pytestmark = pytest.mark.timeout(400)


def builders() -> str:
    return subprocess.run(
        ["docker", "buildx", "ls"], check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.fixture(scope="module")
def second(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildKit]:
    original_builders = builders()
    with BuildKit(run, tmp_path_factory.mktemp("second")) as started:
        yield started
    assert builders() == original_builders, "the user's own list of builders is as it was"


@dataclass(frozen=True)
class Bench:
    workshop: Workshop
    environment: dict[str, str]

    def build(self, tag: str, *arguments: str, **environment: str) -> dict[str, Any]:
        return self.workshop.build(tag, *arguments, env={**self.environment, **environment})

    def attempt(
        self, *arguments: str, **environment: str
    ) -> tuple[subprocess.CompletedProcess[str], float]:
        start = time.monotonic()
        tag = self.workshop.tag("never")
        result = self.workshop.attempt(tag, *arguments, env={**self.environment, **environment})
        return result, time.monotonic() - start


@pytest.fixture
def bench(workshop: Workshop, second: BuildKit, tmp_path: Path) -> Bench:
    (workshop.root / project.DOCKERFILE).write_text(DOCKERFILE)
    repos.commit(workshop.root, "a small one")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"-----BEGIN CERTIFICATE-----\n{SECRETS[0]}\n")
    environment = {
        "SANDBOX_CA_BUNDLE": str(bundle),
        "HTTPS_PROXY": f"http://me:{SECRETS[1]}@proxy.example:3128",
        "HTTP_PROXY": "http://127.0.0.1:3128",  # means something else on the builder's machine
    }
    return Bench(workshop, {**second.environment, **environment})


def tool(tag: str) -> str:
    return Built(tag).run("cat", "/opt/tool")


def test_it_is_loaded_here_and_equals_what_the_engine_builds(bench: Bench) -> None:
    tag = bench.workshop.tag("far")
    far = bench.build(tag, "--builder", NAME)
    assert far["builder"] == NAME
    assert far["layer_cache"] is None
    assert Built(tag).labels()[image.IDENTITY_LABEL] == far["identity"]

    own = bench.workshop.tag("own")
    near = bench.build(own, SANDBOX_BUILDER="default", HTTP_PROXY="")
    assert near["builder"] == "default"
    assert near["identity"] == far["identity"]
    assert Built(own).run("sh", "-c", LIST) == Built(tag).run("sh", "-c", LIST)
    tool_version = tool(tag)
    assert tool(own) != tool_version, "two builders, each with a cache of its own"

    second_result = bench.workshop.attempt(tag, env={**bench.environment, "SANDBOX_BUILDER": NAME})
    assert "nothing to do" in second_result.stderr
    assert "packed" not in second_result.stderr
    forced = bench.build(tag, "--force", SANDBOX_BUILDER=NAME)
    assert (forced["executed"], forced["cached"]) == (0, far["executed"])
    assert tool(tag) == tool_version


def test_a_cache_goes_from_builder_to_builder(bench: Bench, second: BuildKit) -> None:
    settled = {"SANDBOX_BUILDER": NAME, "SANDBOX_BUILD_CACHE": CACHE}
    second.wipe()
    second.start_registry()
    tag = bench.workshop.tag("cache")
    first = bench.build(tag, **settled)
    cache_record = {"setting": CACHE, "read": "absent", "written": "done"}
    assert first["layer_cache"] == cache_record
    assert first["cached"] == 0
    tool_version = tool(tag)
    assert second.pushed_texts("in-a-layer", *SECRETS) == {"in-a-layer"}

    second.wipe()
    repos.write(bench.workshop.root, {"apps/os/new": "a new file\n"})
    second_record = bench.build(tag, **settled)
    assert second_record["layer_cache"] == {**cache_record, "read": "done"}
    assert second_record["identity"] != first["identity"]
    assert tool(tag) == tool_version
    assert (second_record["executed"], second_record["cached"]) == (1, first["executed"] - 1)

    second.wipe()
    second.stop_registry()
    result = bench.workshop.attempt(tag, "--force", env={**bench.environment, **settled})
    assert result.returncode == 0, result.stderr
    assert "left out, as another machine's loopback: HTTP_PROXY\n" in result.stderr
    assert "the layer cache could not be read: " in result.stderr
    assert "the layer cache could not be written: " in result.stderr
    assert tool(tag) != tool_version


def test_what_cannot_be_is_said_before_work_starts(bench: Bench, second: BuildKit) -> None:
    second.buildx("create", "--name", "dead", "--driver", "remote", "tcp://127.0.0.1:1")
    for arguments, environment, message in (
        (
            ("--builder", "nobody"),
            {},
            f'no builder "nobody" found → there is dead, {NAME}, default',
        ),
        (("--builder", "dead"), {}, "does not answer: inactive → "),
        (("--builder", NAME), {"SANDBOX_BUILD_CACHE": "yes"}, "SANDBOX_BUILD_CACHE is `yes` → "),
        (
            ("--builder", "default"),
            {"SANDBOX_BUILD_CACHE": CACHE},
            "→ docker buildx create --name sandbox --driver docker-container",
        ),
        (
            ("--builder", NAME),
            {"SANDBOX_BUILD_CACHE": "gha", "ACTIONS_RUNTIME_TOKEN": ""},
            "needs ACTIONS_RUNTIME_TOKEN and ACTIONS_RESULTS_URL",
        ),
    ):
        result, took = bench.attempt(*arguments, **environment)
        assert result.returncode in {1, 2}
        assert message in result.stderr.strip().splitlines()[-1]
        assert "packed" not in result.stderr
        assert result.stdout == ""
        assert took < 15


def test_an_interrupt_ends_the_build_on_its_builder(bench: Bench, second: BuildKit) -> None:
    marker = f"7{os.getpid() % 9999:04}"
    dockerfile = bench.workshop.root / project.DOCKERFILE
    dockerfile.write_text(f"{DOCKERFILE}RUN sleep {marker}\n")
    tag = bench.workshop.tag("ended")
    with subprocess.Popen(
        bench.workshop.command("--tag", tag, "--builder", NAME),
        cwd=bench.workshop.root, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, **bench.environment, "PYTHONPATH": ""},
    ) as build:  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not second.processes(f"sleep {marker}"):
                assert build.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
            start = time.monotonic()
            os.killpg(build.pid, signal.SIGINT)
            build.wait(timeout=30)
            while second.processes(f"sleep {marker}"):
                assert time.monotonic() - start < 20, "the build goes on"
                time.sleep(0.2)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(build.pid, signal.SIGKILL)
    assert build.returncode == 130
    gone = subprocess.run(["docker", "image", "inspect", tag], check=False, capture_output=True)
    assert gone.returncode
