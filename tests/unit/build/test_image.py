from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tasks.base.errors import BadInput, TaskError
from tasks.build import image, platforms, source
from tasks.build.builder import Builder, BuildPlan
from tasks.build.layer_cache import Cache
from tasks.engine.errors import EngineDown
from tests.support import repos

OWN_BUILDER = Builder("default", "docker", "default", is_engines=True)
REMOTE_BUILDER = Builder("far", "remote", "tcp://far.example:1234", is_engines=False)


@pytest.mark.parametrize(
    "tag", ["a", "a:b", "a/b:c", "iterate-sandbox:local", "localhost:5000/a/b:1.2"]
)
def test_names_an_engine_takes(tag: str) -> None:
    assert image.check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag",
    ["", "A:b", "-a", "--push", "a b", "a:b:c", "a:", "a//b", "a:\n", "x" * 256, "ü", "a:b@c"],
)
def test_names_it_does_not_take_are_refused_before_any_work(tag: str) -> None:
    with pytest.raises(BadInput) as caught:
        image.check_tag(tag)
    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_nothing_secret_stands_on_the_command_line(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "remote", "add", "origin", "https://me:hunter2@git.example/a.git")
    build_source = source.from_working_tree(repo, build_args={})
    proxies = {
        "HTTPS_PROXY": "http://me:hunter2@proxy.example",
        "no_proxy": "x",
        "OTHER": "hunter2",
    }
    options = image.arguments(
        build_source,
        tag="a:b",
        ca_bundle=Path("/ca.pem"),
        extra_labels=["x=y"],
        environment=proxies,
        plan=BuildPlan(OWN_BUILDER, Cache("registry", "cache.example/layers")),
    )
    text = " ".join(options)
    assert "hunter2" not in text
    assert "--build-arg HTTPS_PROXY --build-arg no_proxy" in text
    assert "OTHER" not in text
    assert "--secret id=ca_bundle,src=/ca.pem" in text
    assert "--label org.opencontainers.image.source=https://git.example/a.git" in text
    assert f"--label {image.IDENTITY_LABEL}={build_source.identity}" in text
    assert "--label x=y" in text
    assert "--builder default" in text
    assert "--load" in options
    assert f"--platform {build_source.platform}" in text


def test_what_another_builder_makes_is_sent_here(tmp_path: Path) -> None:
    build_source = source.from_working_tree(repos.new(tmp_path / "repo"), build_args={})
    proxies = {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "http_proxy": "http://127.0.0.1:3128",
        "HTTP_PROXY": "localhost:3128",
        "ALL_PROXY": "socks5://[::1]:1080",
        "no_proxy": "127.0.0.1,localhost,.example",
        "FTP_PROXY": "",
    }
    options = image.arguments(
        build_source, tag="a:b", environment=proxies, plan=BuildPlan(REMOTE_BUILDER)
    )
    text = " ".join(options)
    assert "--builder far" in text
    assert "--load" not in options, "buildx would pack with gzip"
    assert "--output type=docker,compression=zstd" in text
    # What is loopback here is something else there.
    build_args = {value for option, value in pairwise(options) if option == "--build-arg"}
    assert {name for name in build_args if "=" not in name} == {
        "HTTPS_PROXY",
        "FTP_PROXY",
        "no_proxy",
    }


def build_failure(tmp_path: Path, output: str) -> TaskError:
    """What a build raises whose log is `output`."""
    log = tmp_path / "build.log"
    script = f"cat <<'END'\n{output}END\nexit 1\n"
    with (tmp_path / "context").open("w+b") as archive, pytest.raises(TaskError) as caught:
        image._run(["sh", "-c", script], {}, archive, log, BuildPlan(OWN_BUILDER))
    assert "\n" not in str(caught.value)
    assert log.read_text() == output
    return caught.value


def test_control_sequences_of_a_step_are_visible_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    script = r"printf '#1 0.1 \033[2J\033]0;title\007a\tb\r\n'"
    with (tmp_path / "context").open("w+b") as archive:
        image._run(["sh", "-c", script], {}, archive, log, BuildPlan(OWN_BUILDER))
    assert log.read_bytes() == b"#1 0.1 \\x1b[2J\\x1b]0;title\\x07a\tb\\r\n"


def test_a_full_disk_is_named_where_the_step_alone_reports_it(tmp_path: Path) -> None:
    """F10: the build's own last line says only that the step ended with status 1."""
    failure = build_failure(
        tmp_path,
        "#6 [pi 2/2] RUN npm install\n"
        "#6 1.7 npm error code ENOSPC\n"
        "#6 1.8 npm error write ENOSPC: no space left on device\n"
        "#6 1.9 npm error A complete log of this run is elsewhere\n"
        '#6 ERROR: process "npm install" did not complete successfully: exit code: 1\n'
        'ERROR: failed to solve: process "npm install" did not complete: exit code: 1\n',
    )
    assert "a disk is full: npm error code ENOSPC" in failure.what
    assert "docker buildx prune" in failure.fix


def test_an_engine_that_ends_in_mid_build_is_not_a_failed_build(tmp_path: Path) -> None:
    """F7: these are the words of buildx after a SIGKILL to dockerd."""
    failure = build_failure(
        tmp_path,
        "#6 [pi 2/2] RUN npm install\n"
        "ERROR: failed to solve: Unavailable: error reading from server: EOF\n",
    )
    assert isinstance(failure, EngineDown)
    assert failure.exit_status == EngineDown.exit_status != 1
    assert "went away" in failure.what
    assert "nox -s setup" in failure.fix


PLATFORM = "linux/amd64"


def image_of(build_source: source.Source, **changes: object) -> image.Image:
    labels = {image.BASE_LABEL: "sha256:base", "name": "value"}
    values = {"identity": build_source.identity, "platform": PLATFORM, "labels": labels}
    return image.Image("sha256:1", 1, **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "base", "label", "expected"),
    [
        ({}, "sha256:base", "name=value", True),
        ({}, "", "name=value", True),  # a base that has to be pulled cannot be compared
        ({}, "sha256:newer", "name=value", False),
        ({"labels": {}}, "sha256:base", "", False),
        ({}, "sha256:base", "name=other", False),
        ({}, "sha256:base", "missing=", False),
        ({"platform": "linux/arm64"}, "sha256:base", "", False),
        ({"identity": "other"}, "sha256:base", "", False),
    ],
)
def test_an_image_is_reused_only_if_a_build_would_give_the_same(
    tmp_path: Path, changes: dict[str, object], base: str, label: str, expected: bool
) -> None:
    repo = repos.new(tmp_path / "repo")
    build_source = source.from_working_tree(repo, build_args={}, platform=PLATFORM)
    existing_image = image_of(build_source, **changes)
    extra_labels = [label] if label else []
    result = image.is_built(existing_image, build_source, base=base, extra_labels=extra_labels)
    assert result is expected


@pytest.mark.parametrize("log", ["exec format error", "debian:trixie-slim: failed to resolve"])
def test_the_platform_that_the_user_asked_for_is_named_in_the_advice(
    monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    monkeypatch.setenv(platforms.VARIABLE, "linux/aarch64")
    advice = image._advice(log, Path("log"), BuildPlan(OWN_BUILDER), platform="linux/arm64")
    assert "DOCKER_DEFAULT_PLATFORM asks for linux/arm64" in advice
