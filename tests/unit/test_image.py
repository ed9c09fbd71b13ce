from __future__ import annotations

from pathlib import Path

import pytest

from tasks import image, source
from tasks.errors import BadInput
from tests.support import repos


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
    found = source.from_working_tree(repo, build_args={})
    proxies = {
        "HTTPS_PROXY": "http://me:hunter2@proxy.example",
        "no_proxy": "x",
        "OTHER": "hunter2",
    }
    options = image.arguments(
        found, tag="a:b", ca_bundle=Path("/ca.pem"), extra_labels=["x=y"], environment=proxies
    )
    text = " ".join(options)
    assert "hunter2" not in text
    assert "--build-arg HTTPS_PROXY --build-arg no_proxy" in text
    assert "OTHER" not in text
    assert "--secret id=ca_bundle,src=/ca.pem" in text
    assert "--label org.opencontainers.image.source=https://git.example/a.git" in text
    assert f"--label {image.IDENTITY_LABEL}={found.identity}" in text
    assert "--label x=y" in text
