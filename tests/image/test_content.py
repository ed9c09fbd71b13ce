"""Outside and inside are the same, file by file and mode by mode; secrets stay outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tasks.build import dockerfile
from tests.image.conftest import Built, Workshop, copy_of_this, identity
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path

# No whole canary stands here: this file itself is in the image.
MARK = "canary-7f1e"
CANARIES = [
    f"{kind}-{MARK}".encode()
    for kind in ("stash", "branch", "ignored", "env", "config", "authority")
]


def disturb(root: Path) -> None:
    """Leave everything in the checkout that must not get into an image."""
    repos.git(root, "remote", "set-url", "origin", f"https://me:config-{MARK}@git.example/a.git")
    repos.git(root, "config", "http.https://git.example/.extraheader", f"config-{MARK}")
    repos.write(root, {"README.md": f"stash-{MARK}"})
    repos.git(root, "stash", "-q")
    start = repos.git(root, "symbolic-ref", "--short", "HEAD").strip()
    repos.git(root, "checkout", "-q", "-b", "other-branch")
    repos.write(root, {"other.txt": f"branch-{MARK}"})
    repos.commit(root)
    repos.git(root, "checkout", "-q", start)
    repos.write(root, {"node_modules/x/index.js": f"ignored-{MARK}", "dist/x": f"ignored-{MARK}"})
    repos.write(root, {".env": f"A=env-{MARK}\n", "apps/.env.local": f"A=env-{MARK}\n"})


def odd_changes(root: Path) -> None:
    repos.write(root, {"staged.txt": "s", "untracked dir/file": "u", "both.txt": "1"})
    repos.git(root, "add", "staged.txt", "both.txt")
    repos.write(root, {"both.txt": "2"})
    (root / "LICENSE").unlink()
    (root / "tasks/base/project.py").chmod(0o755)
    base = os.fsencode(root)
    for name in (b"new\nline", b"byte-\xff", b"-dash", b"back\\slash", b"trailing ", b"a" * 255):
        with open(os.path.join(base, name), "wb") as file:
            file.write(name)
    (root / "dangling").symlink_to("nowhere")
    (root / "absolute").symlink_to("/etc/shadow")
    (root / "empty/folder").mkdir(parents=True)


def test_a_linked_worktree_with_every_oddity(workshop: Workshop, tmp_path: Path) -> None:
    disturb(workshop.root)
    linked = tmp_path / "a linked worktree"
    repos.git(workshop.root, "worktree", "add", "-q", "-b", "feature/linked", str(linked))
    odd_changes(linked)
    os.mkfifo(linked / "pipe")
    # The same size and time, other content: what BuildKit's folder contexts miss.
    config = linked / ".editorconfig"
    original_stamp = config.stat()
    config.write_bytes(config.read_bytes().swapcase())
    os.utime(config, ns=(original_stamp.st_atime_ns, original_stamp.st_mtime_ns))

    tag = workshop.tag("worktree")
    build_result = Workshop(linked, workshop.run).build(tag)
    (linked / "pipe").unlink()
    built = Built(tag)
    inside = built.files(tmp_path / "inside")
    repos.same(linked, inside)
    record = built.record()
    assert record["sha"] == build_result["sha"] == repos.git(linked, "rev-parse", "HEAD").strip()
    assert (record["branch"], record["dirty"]) == ("feature/linked", True)
    assert record["identity"] == build_result["identity"] == identity(linked)
    assert record["pins"] == dockerfile.pins((linked / project.DOCKERFILE).read_text())
    labels = built.labels()
    assert labels["org.opencontainers.image.revision"] == record["sha"]
    assert labels[f"{project.LABEL}.identity"] == record["identity"]
    assert built.contains(*CANARIES, os.fsencode(tmp_path)) == set()


def test_a_build_by_hand_in_a_plain_clone(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb(workshop.root)
    bundle = tmp_path / "bundle.pem"
    from tasks.base import certificates

    ca_bundle = certificates.find_ca_bundle()
    usual = ca_bundle.read_text() if ca_bundle else "-----BEGIN CERTIFICATE-----\n"
    bundle.write_text(usual + f"\n# authority-{MARK}\n")
    monkeypatch.setenv("SANDBOX_CA_BUNDLE", str(bundle))
    tag = workshop.tag("hand")
    workshop.by_hand(tag)
    built = Built(tag)
    repos.same(workshop.root, built.files(tmp_path / "inside"))
    record = built.record()
    assert record["identity"] == identity(workshop.root)
    assert (record["branch"], record["dirty"]) == ("main", False)
    remote = built.run("git", "remote", "get-url", "origin")
    assert remote == "https://git.example/a.git\n"
    assert built.contains(*CANARIES, os.fsencode(tmp_path)) == set()


@pytest.mark.parametrize("name", ["secrets/deploy.key", ".env.example.real", "id_rsa"])
def test_secrets_are_refused_before_the_build(workshop: Workshop, name: str) -> None:
    repos.write(workshop.root, {".gitignore": "", name: "s3cr3t"})
    result = workshop.attempt(workshop.tag("secret"))
    assert result.returncode == 2
    assert name in result.stderr
    assert "s3cr3t" not in result.stderr
    assert "packed" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("place", ["history", "index"])
def test_deleted_and_staged_secrets_are_refused_by_either_way(
    workshop: Workshop, place: str
) -> None:
    repos.write(workshop.root, {"old.env": "TOKEN=s3cr3t\n"})
    repos.git(workshop.root, "add", "--force", "old.env")
    if place == "history":
        repos.git(workshop.root, "commit", "-q", "-m", "oops")
        repos.git(workshop.root, "rm", "-q", "old.env")
        repos.commit(workshop.root)
    else:
        (workshop.root / "old.env").unlink()
    for result in (
        workshop.attempt(workshop.tag("secret")),
        workshop.attempt_by_hand(workshop.tag("secret-by-hand")),
    ):
        assert result.returncode != 0
        line = next(line for line in result.stderr.splitlines() if "secrets must not" in line)
        assert "old.env (environment file, " in line
        assert {"history": "in the history as", "index": "staged as"}[place] in line
        assert "[tool.sandbox.secrets] allow" in line
        assert "s3cr3t" not in result.stderr
        assert "Traceback" not in result.stderr


def test_no_program_is_in_the_image_twice(run: object, tmp_path: Path) -> None:  # noqa: ARG001
    built = Built(project.LOCAL_IMAGE)
    listed = built.run("find", "/opt", "/usr", "/home", "-xdev", "-type", "f", "-size", "+5M",
                       "-exec", "sha256sum", "{}", "+")  # fmt: skip
    by_sum: dict[str, list[str]] = {}
    for line in listed.splitlines():
        digest, _, path = line.partition("  ")
        by_sum.setdefault(digest, []).append(path)
    assert by_sum
    assert [paths for paths in by_sum.values() if len(paths) > 1] == []
    assert built.run("find", "/opt", "-path", "*-musl/*", "-o", "-path", "*-baseline/*") == ""


def test_the_copy_used_here_is_faithful(tmp_path: Path) -> None:
    clone = copy_of_this(tmp_path / "clone")
    assert repos.status(clone) == ""
    assert (clone / project.DOCKERFILE).read_bytes() == (
        project.ROOT / project.DOCKERFILE
    ).read_bytes()
