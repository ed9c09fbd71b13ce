"""Secrets among the files of a checkout are refused before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.build import context, source
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".env", "A=1"),
        ("apps/.env.production", "A=1"),
        ("id_ed25519", "x"),
        ("deploy.key", "x"),
        ("store.p12", "x"),
        (".netrc", "x"),
        (".npmrc", "//r.example/:_auth" + "Token=abcdefghijkl"),
        ("notes.txt", "my token is ghp_" + "a1B2" * 9),
        ("config.json", '{"key": "sk-ant-api03-' + "x7Q" * 20 + '"}'),
        ("k.pem", "-----BEGIN PRIVATE KEY-----\n" + "A" * 64 + "\n" + "B" * 64),
    ],
)
def test_secrets_are_refused_by_name(tmp_path: Path, path: str, content: str) -> None:
    repo = repos.new(tmp_path / "repo")
    repos.write(repo, {path: content})
    with pytest.raises(BadInput) as caught:
        context.refuse_secrets(source.from_working_tree(repo, build_args={}))
    assert path in caught.value.what
    assert content[-20:] not in str(caught.value) or len(content) < 20
    repos.write(repo, {".gitignore": f"/{path}\n"})
    context.refuse_secrets(source.from_working_tree(repo, build_args={}))


def test_tracked_examples_and_named_exceptions_pass(tmp_path: Path) -> None:
    allow = '[tool.sandbox.secrets]\nallow = ["tests/fake.key"]\n'
    repo = repos.new(
        tmp_path / "repo",
        **{".env.example": "A=", "tests/fake.key": "fake", "pyproject.toml": allow},
    )
    context.refuse_secrets(source.from_working_tree(repo, build_args={}))
    repos.write(repo, {"sub/.env.example": "A=real?"})
    with pytest.raises(BadInput, match=r"sub/\.env\.example"):
        context.refuse_secrets(source.from_working_tree(repo, build_args={}))
