"""A ref's context: what it holds after a remote builder has had it, and how little of it is new."""

from __future__ import annotations

import os
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.base.errors import BadInput, TaskError
from tasks.build import parts
from tasks.git import history
from tests.support import builder, repos

if TYPE_CHECKING:
    from pathlib import Path

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A history with merges, and every kind of entry and name."""
    at = repos.new(tmp_path / "repo", **builder.buildable(run="#!/bin/sh\n"))
    (at / "run").chmod(0o755)
    repos.commit(at)
    repos.git(at, "checkout", "-q", "-b", "side")
    for number in range(4):
        repos.write(at, {f"side/{number}": str(number)})
        repos.commit(at)
    repos.git(at, "checkout", "-q", "main")
    for number in range(12):
        repos.write(at, {"n.txt": str(number)})
        repos.commit(at)
    repos.git(at, "merge", "-q", "--no-ff", "-m", "merge", "side")
    root = os.fsencode(at)
    for name in [b"new\nline", b"byte-\xff", b"-dash", b"back\\slash", b"trailing ", b"a" * 255,
                 b"quote'\"", b"Case", b"case", "日本".encode(), b"*star?", b"\x01c"]:  # fmt: skip
        with open(os.path.join(root, name), "wb") as file:
            file.write(b"content of " + name)
    for link, target in {"dangling": "nowhere", "absolute": "/etc/shadow", "loop": "loop",
                         "up": "../../..", "to-dir": "side"}.items():  # fmt: skip
        os.symlink(target, at / link)
    repos.write(at, {"Dockerfile": "FROM scratch\n", ".dockerignore": "*\n", "model.bin": POINTER})
    repos.write(at, {"crlf.txt": "a\r\nb\n", "id.txt": "$Id$\n", "empty": ""})
    repos.write(at, {".gitattributes": "id.txt ident\n*.sh eol=crlf\n*.x export-ignore\n"
                     "*.lfs filter=lfs\n"})  # fmt: skip
    repos.write(at, {"s.sh": "a\nb\n", "gone.x": "x"})
    repos.write(at, {"side-by": "x", "side.txt": "x"})
    repos.commit(at)
    return at


def test_the_builder_loses_nothing(repo: Path, tmp_path: Path) -> None:
    context_parts = builder.pack(repo, tmp_path / "parts")
    for part in context_parts.parts:
        with tarfile.open(part.path, encoding="utf-8", errors="surrogateescape") as tar:
            assert all(member.isreg() for member in tar)
    for number, backwards in enumerate([False, True]):
        inside = builder.built(context_parts, tmp_path / f"in {number}", backwards=backwards)
        builder.same(repo, "HEAD", inside)
    assert context_parts.dockerfile == builder.buildable()["apps/os/sandbox/Dockerfile"]


def test_both_routes_give_the_same(repo: Path, tmp_path: Path) -> None:
    context_parts = builder.pack(repo, tmp_path / "parts")
    archive = tmp_path / "one.tar"
    with archive.open("wb") as file:
        parts.write(context_parts, file)
    flat = builder.flatten(context_parts, tmp_path / "flat")
    subprocess.run(["mkdir", str(tmp_path / "one")], check=True)
    subprocess.run(["tar", "-C", str(tmp_path / "one"), "-xf", str(archive)], check=True)
    compared = ["diff", "-r", str(flat), str(tmp_path / "one")]
    assert subprocess.run(compared, check=False, capture_output=True).stdout == b""


def test_nothing_uncommitted_can_get_in(repo: Path, tmp_path: Path) -> None:
    clean = builder.pack(repo, tmp_path / "clean").parts
    for name in ("apps/os/sandbox/Dockerfile", "package.json", "n.txt", "untracked.txt"):
        (repo / name).write_text("CANARY")
    (repo / "run").unlink()
    repos.git(repo, "add", "n.txt")
    repos.git(repo, "config", "user.name", "CANARY")

    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in repo.rglob("*")}

    original_state = state()
    dirty = builder.pack(repo, tmp_path / "dirty").parts
    assert [part.digest for part in dirty] == [part.digest for part in clean]
    assert state() == original_state


@pytest.mark.parametrize("layout", ["loose", "packed", "odd packs", "bitmap", "shared", "worktree"])
def test_the_same_commit_gives_the_same_bytes_in_any_clone(
    repo: Path, tmp_path: Path, layout: str
) -> None:
    first = builder.pack(repo, tmp_path / "first")
    clone = tmp_path / "a clone"
    if layout == "worktree":
        repos.git(repo, "worktree", "add", "-q", "--detach", str(clone))
    else:
        shared = ["--shared"] if layout == "shared" else ["--no-local"]
        repos.git(tmp_path, "clone", "-q", *shared, str(repo), str(clone))
    repos.git(clone, "config", "remote.origin.url", "https://elsewhere.example/x.git", check=False)
    repos.git(clone, "config", "core.autocrlf", "true")
    repos.git(clone, "config", "pack.window", "2")
    if layout == "loose":
        for pack in (clone / ".git/objects/pack").glob("*.pack"):
            pack_copy = pack.rename(tmp_path / pack.name)
            with pack_copy.open("rb") as file:
                subprocess.run(
                    ["git", "-C", str(clone), "unpack-objects", "-q"], stdin=file, check=True
                )
    elif layout == "odd packs":
        repos.git(clone, "repack", "-q", "-a", "-d", "-F", "--depth=1", "--window=50")
        repos.git(clone, "commit-graph", "write", "--reachable")
    elif layout == "bitmap":
        repos.git(clone, "repack", "-q", "-a", "-d", "-b")
    second_result = builder.pack(clone, tmp_path / "again", "HEAD~0")
    assert [part.digest for part in second_result.parts] == [part.digest for part in first.parts]
    assert second_result.identity == first.identity


@pytest.mark.timeout(600)
def test_an_unchanged_ref_costs_nothing_and_a_commit_little(tmp_path: Path) -> None:
    at = repos.new(tmp_path / "repo", **builder.buildable())
    for number in range(300):
        repos.write(at, {f"src/{number}.txt": os.urandom(2000).hex()})
    repos.commit(at)
    into = tmp_path / "parts"
    first = builder.pack(at, into)
    assert builder.pack(at, into).parts == first.parts
    known_digests = {part.digest for part in first.parts}
    shares = []
    for number in range(20):
        repos.write(at, {f"src/{number}.txt": "changed\n"})
        repos.commit(at)
        packing = builder.pack(at, into)
        fresh = [part for part in packing.parts if part.digest not in known_digests]
        shares.append(sum(part.bytes for part in fresh) / first.bytes)
        known_digests |= {part.digest for part in fresh}
    assert max(shares) < 0.1
    assert sorted(shares)[len(shares) // 2] < 0.04
    builder.same(at, "HEAD", builder.built(packing, tmp_path / "in"))


def test_names_are_cut_by_ids_alone() -> None:
    chain = [f"{number * 2654435761 % (1 << 32):08x}" for number in range(3000)]
    original_cuts = history._cuts(chain)
    longer_cuts = history._cuts([*chain, "12345677"])
    shorter_cuts = history._cuts([*chain, "12345670"])  # four zero bits: the last few become one
    assert original_cuts[0] == chain[0]
    assert original_cuts[-1] == chain[-1]
    assert sorted(original_cuts, key=chain.index) == original_cuts
    assert set(original_cuts) <= set(longer_cuts)
    assert len(shorter_cuts) <= len(original_cuts)
    assert shorter_cuts[:-1] == original_cuts[: len(shorter_cuts) - 1]
    assert len(original_cuts) < 140


def test_a_commit_by_any_name_is_the_same(repo: Path, tmp_path: Path) -> None:
    repos.git(repo, "branch", "other/name")
    repos.git(repo, "tag", "-a", "-m", "x", "v1")
    sha = repos.git(repo, "rev-parse", "HEAD").strip()
    identities = {
        builder.find(repo, ref).identity for ref in ("main", "other/name", "v1", sha, "HEAD")
    }
    assert len(identities) == 1
    digests = {
        tuple(part.digest for part in builder.pack(repo, tmp_path / "parts", ref).parts)
        for ref in ("main", "other/name", "v1")
    }
    assert len(digests) == 1


def test_a_ref_and_a_clean_detached_checkout_are_one_identity(repo: Path) -> None:
    from tasks.build import source

    repos.git(repo, "rm", "-q", "s.sh", "id.txt", ".gitattributes")
    repos.commit(repo)
    repos.git(repo, "checkout", "-q", "--detach")
    build_source = source.from_working_tree(repo, build_args={})
    ref = builder.find(repo)
    assert build_source.identity == ref.identity
    assert build_source.record() == ref.record()


def test_gc_beside_it_does_no_harm(repo: Path, tmp_path: Path) -> None:
    repos.git(repo, "checkout", "-q", "-b", "doomed")
    repos.write(repo, {"doomed.txt": "x"})
    sha = repos.commit(repo)
    blob = builder.find(repo, sha)
    end = threading.Event()

    def collect() -> None:
        while not end.is_set():
            repos.git(repo, "repack", "-q", "-a", "-d", "-f", check=False)
            repos.git(repo, "gc", "-q", "--prune=now", check=False)

    from tasks.git import objects

    with objects.hold(blob.tree.repo, sha) as store:
        repos.git(repo, "checkout", "-q", "main")
        repos.git(repo, "branch", "-D", "doomed")
        repos.git(repo, "reflog", "expire", "--expire=now", "--all")
        repos.git(repo, "gc", "-q", "--prune=now")
        assert repos.git(repo, "cat-file", "-e", sha, check=False) == ""
        with pytest.raises(AssertionError):
            repos.git(repo, "cat-file", "-e", sha)
        assert store.git("cat-file", "blob", f"{sha}:doomed.txt") == b"x"
    with pytest.raises(TaskError, match="not in this clone"):
        parts.pack(blob, tmp_path / "gone")
    thread = threading.Thread(target=collect)
    thread.start()
    try:
        digests = {
            tuple(part.digest for part in builder.pack(repo, tmp_path / f"p{n}", "main").parts)
            for n in range(4)
        }
    finally:
        end.set()
        thread.join()
    assert len(digests) == 1


def test_submodules_and_pointers_are_named(repo: Path, tmp_path: Path) -> None:
    library = repos.new(tmp_path / "library", lib="l")
    repos.git(repo, "submodule", "add", "-q", str(library), "vendor/lib")
    repos.commit(repo)
    context_parts = builder.pack(repo, tmp_path / "parts")
    assert any("submodule vendor/lib" in note for note in context_parts.report.notes)
    assert any("model.bin is a Git LFS pointer" in note for note in context_parts.report.notes)
    inside = builder.built(context_parts, tmp_path / "in")
    builder.same(repo, "HEAD", inside)
    assert (inside / "vendor/lib").is_dir()


def test_a_shallow_clone_says_so_and_is_another_image(repo: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", "--depth", "2", f"file://{repo}", str(clone))
    context_parts = builder.pack(clone, tmp_path / "parts")
    assert context_parts.identity != builder.find(repo).identity
    assert any("shallow" in note for note in context_parts.report.notes)
    builder.same(clone, "HEAD", builder.built(context_parts, tmp_path / "in"))


def test_too_large_names_the_offenders(repo: Path, tmp_path: Path) -> None:
    repos.write(repo, {"huge.bin": os.urandom(3000).hex()})
    repos.commit(repo)
    repos.git(repo, "rm", "-q", "huge.bin")
    repos.write(repo, {"large.bin": os.urandom(2000).hex()})
    repos.commit(repo)
    with pytest.raises(BadInput, match=r"more than 1\.0 kB.*huge\.bin.*large\.bin"):
        parts.pack(builder.find(repo), tmp_path / "parts", limit=1000)


@pytest.mark.parametrize("folder", ["objects/pack", "sandbox-packs"])
def test_a_context_that_lost_a_part_is_not_built(repo: Path, tmp_path: Path, folder: str) -> None:
    context_parts = builder.pack(repo, tmp_path / "parts")
    flat = builder.flatten(context_parts, tmp_path / "flat")
    pack = next((flat / ".git" / folder).iterdir())
    pack.write_bytes(pack.read_bytes()[:-1])
    result = builder.restore(flat)
    assert result.returncode == 1
    assert "lost" in result.stderr


def test_nothing_of_this_machine_travels(repo: Path, tmp_path: Path) -> None:
    repos.git(repo, "remote", "add", "origin", "https://me:hunter2@git.example/a.git")
    repos.git(repo, "config", "http.extraheader", "AUTHORIZATION: basic aHVudGVyMg==")
    context_parts = builder.pack(repo, tmp_path / "parts")
    content = b"".join(part.path.read_bytes() for part in context_parts.parts)
    for canary in (b"hunter2", b"aHVudGVyMg", os.fsencode(tmp_path), b"git.example"):
        assert canary not in content


def test_the_origin_is_the_tree_s_own(repo: Path, tmp_path: Path) -> None:
    repos.write(repo, {"pyproject.toml": '[tool.sandbox]\norigin = "https://u:p@h.example/r"\n'})
    repos.commit(repo)
    inside = builder.built(builder.pack(repo, tmp_path / "parts"), tmp_path / "in")
    assert repos.git(inside, "remote", "get-url", "origin") == "https://h.example/r\n"


SEGMENT = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name.lower() not in {b".", b"..",
                                                                                  b".git"}
)  # fmt: skip
ENTRIES = st.dictionaries(
    SEGMENT,
    st.tuples(st.sampled_from(["100644", "100755", "120000"]), st.binary(max_size=40)),
    max_size=8,
)


@given(entries=ENTRIES, folder=SEGMENT)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_names_and_kinds(
    tmp_path_factory: pytest.TempPathFactory,
    entries: dict[bytes, tuple[str, bytes]],
    folder: bytes,
) -> None:
    base = tmp_path_factory.mktemp("any")
    at = repos.new(base / "repo", **builder.buildable())
    lines = []
    for name, (mode, content) in entries.items():
        data = content.replace(b"\0", b"0") or b"x" if mode == "120000" else content
        process = subprocess.run(["git", "-C", str(at), "hash-object", "-w", "--stdin"],
                              input=data, capture_output=True, check=True).stdout  # fmt: skip
        lines.append(
            mode.encode() + b" " + process.strip() + b"\tany/" + folder + b"/" + name + b"\0"
        )
    subprocess.run(["git", "-C", str(at), "update-index", "-z", "--index-info"],
                   input=b"".join(lines), check=True, capture_output=True)  # fmt: skip
    repos.git(at, "commit", "-q", "--allow-empty", "-m", "any")
    builder.same(at, "HEAD", builder.built(builder.pack(at, base / "parts"), base / "in"))


def test_a_ref_has_the_bytes_of_a_checkout(repo: Path, tmp_path: Path) -> None:
    repos.write(repo, {".gitattributes": "wide.txt text working-tree-encoding=UTF-16LE\n"
                       "*.sh eol=crlf\nid.txt ident\n"})  # fmt: skip
    (repo / "wide.txt").write_bytes("wide\n".encode("utf-16-le"))
    repos.commit(repo)
    inside = builder.built(builder.pack(repo, tmp_path / "parts"), tmp_path / "in")
    builder.same(repo, "HEAD", inside)
    assert (inside / "wide.txt").read_bytes() == "wide\n".encode("utf-16-le")
    assert (inside / "s.sh").read_bytes() == b"a\r\nb\r\n"
    assert b"$Id: " in (inside / "id.txt").read_bytes()
