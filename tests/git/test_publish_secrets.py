"""Secrets in a repository that is published are neither packed nor shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tests.support import builder, repos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.dry_run import DryRun

    Show = Callable[[str, object], None]


# In pieces: this file goes into the image, and is looked at for secrets like any other.
SECRET = "ghp_" + "c3Z2" * 9


TOKEN = "auth" + "Token"


@pytest.mark.case("N22")
def test_uncommitted_secrets_are_neither_packed_nor_shown(
    command: DryRun, tmp_path: Path, show: Show
) -> None:
    repo = command.repo
    repos.git(repo, "remote", "add", "origin", f"https://me:{SECRET}@git.example/a.git")
    repos.git(repo, "config", "http.extraheader", f"AUTHORIZATION: basic {SECRET}")
    repos.write(repo, {".env": SECRET, ".npmrc": f"//r.example/:_{TOKEN}={SECRET}",
                       "id_rsa": SECRET, "sub/.env.local": SECRET})  # fmt: skip
    _, output = command("--ref", "main")
    assert SECRET not in output
    assert not any(SECRET in word for words in command.commands for word in words)
    inside = builder.built(builder.pack(repo, tmp_path / "parts"), tmp_path / "in")
    assert SECRET.encode() not in repos.contents(inside)
    show("secrets in .env, .npmrc, id_rsa, .git/config, the remote's URL: not committed",
         next(line for line in output.splitlines() if "uncommitted" in line))  # fmt: skip


@pytest.mark.case("N22")
@pytest.mark.parametrize("name", [".env", ".npmrc", "id_rsa"])
def test_a_secret_that_is_committed_is_refused(command: DryRun, name: str, show: Show) -> None:
    content = f"//r.example/:_{TOKEN}={SECRET}" if name == ".npmrc" else SECRET
    repos.write(command.repo, {name: content})
    repos.commit(command.repo)
    with pytest.raises(BadInput, match="secrets must not") as caught:
        command("--ref", "main")
    assert name in caught.value.what
    assert SECRET not in str(caught.value)
    show(f"a secret in a committed {name}", caught.value)


@pytest.mark.case("N23")
def test_a_secret_that_was_deleted_is_found(command: DryRun, show: Show) -> None:
    repos.write(command.repo, {"notes.txt": f"token {SECRET}"})
    repos.commit(command.repo)
    repos.git(command.repo, "rm", "-q", "notes.txt")
    repos.commit(command.repo)
    with pytest.raises(BadInput, match="in the history") as caught:
        command("--ref", "main")
    assert "notes.txt" in caught.value.what
    assert SECRET not in str(caught.value)
    show("a secret that was committed once and deleted later", caught.value)
