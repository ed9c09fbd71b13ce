"""Refs that are not packed: secrets, and what a remote builder cannot build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.build import context, parts
from tests.support import builder, repos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "content"),
    [(".env", "A=1"), ("x/id_rsa", "x"), ("notes.txt", "token ghp_" + "a1B2" * 9)],
)
def test_secrets_of_the_tree_and_of_the_history(tmp_path: Path, name: str, content: str) -> None:
    at = repos.new(tmp_path / "repo", **builder.buildable(**{name: content}))
    for is_deleted in (False, True):
        if is_deleted:
            (at / name).unlink()
            repos.commit(at)
        with pytest.raises(BadInput, match="secrets") as caught:
            builder.pack(at, tmp_path / "parts")
        assert name in caught.value.what
        assert ("in the history" in caught.value.what) is is_deleted
        assert "a1B2a1B2" not in str(caught.value)
        with pytest.raises(BadInput, match="secrets"):
            parts.check(builder.find(at), tmp_path / "cache")
    oid = repos.git(at, "rev-parse", f"HEAD~1:{name}").strip()
    repos.write(at, {"pyproject.toml": f'[tool.sandbox.secrets]\nallow = ["{oid}"]\n'})
    repos.commit(at)
    builder.pack(at, tmp_path / "parts")


def test_a_secret_in_a_commit_message(tmp_path: Path) -> None:
    at = repos.new(tmp_path / "repo", **builder.buildable())
    repos.commit(at, "use ghp_" + "a1B2" * 9)
    with pytest.raises(BadInput, match="the message of commit"):
        builder.pack(at, tmp_path / "parts")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({parts.RESTORE: "FORMAT = 0\n"}, "too old"),
        ({"apps/os/sandbox/Dockerfile": 'FROM a:1\nADD x y\nENTRYPOINT ["x"]\n'}, "line 2: ADD"),
        ({"apps/os/sandbox/Dockerfile": 'FROM a:1\nCOPY no ./\nENTRYPOINT ["x"]\n'}, "COPY no"),
        ({"apps/os/sandbox/Dockerfile": 'FROM a:1\nCOPY Dockerfile ./\nENTRYPOINT ["x"]\n',
          "Dockerfile": "x"}, "loses"),
    ],
)  # fmt: skip
def test_refs_that_a_remote_builder_cannot_build(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    at = repos.new(tmp_path / "repo", **builder.buildable(**files))
    with pytest.raises(BadInput, match=says):
        builder.pack(at, tmp_path / "parts")


def test_a_link_among_what_is_copied_early_is_refused(tmp_path: Path) -> None:
    at = repos.new(tmp_path / "repo", **builder.buildable())
    (at / "web/link").symlink_to("index.ts")
    repos.commit(at)
    with pytest.raises(BadInput, match=r"COPY web: web/link is a symbolic link"):
        builder.pack(at, tmp_path / "parts")


def test_a_context_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    at = repos.new(tmp_path / "repo", **builder.buildable())
    original_files = repos.listing(at)
    assert builder.restore(at).returncode == 0
    assert repos.listing(at) == original_files
    assert not (at / context.SOURCE_FILE).exists()
