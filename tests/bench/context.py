"""What publishing a ref costs: bytes to upload, seconds, memory.

`python -m tests.bench.context [--files 50000 --commits 5000]`, a table on stdout: for this
repository and a generated one, what each publish would send beyond what was sent before, beside
`git archive` and `git pack-objects` of the same commit in the same run. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.base import console, project
from tests.support import builder, fastimport, repos

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Cost:
    """Of one packing: seconds, parts as digest and bytes, most memory of us and of one git."""

    seconds: float
    parts: dict[str, int]
    own_kb: int
    git_kb: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.context")
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--commits", type=int, default=5_000)
    parser.add_argument("--pack", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pack:
        _pack_here(*map(Path, options.pack))
        return
    with tempfile.TemporaryDirectory(prefix="iterate-bench-") as folder:
        at = Path(folder)
        repos.git(at, "clone", "-q", "--no-local", str(project.ROOT), "this")
        _bench("this repository", at / "this", "tasks/git/refs.py", at / "parts-1")
        name = f"generated: {options.files} files, {options.commits} commits"
        fastimport.generate(at / "big", files=options.files, commits=options.commits)
        _bench(name, at / "big", "src/00/000/file0.py", at / "parts-2")


def _bench(name: str, repo: Path, file: str, into: Path) -> None:
    count = repos.git(repo, "rev-list", "--count", "HEAD").strip()
    files = len(repos.git(repo, "ls-files", "-z").split("\0")) - 1
    print(f"\n## {name} ({files} files, {count} commits)\n")
    for label, command in {
        "git archive": ["git", "archive", "HEAD"],
        "git pack-objects": ["git", "pack-objects", "--revs", "--stdout", "-q"],
    }.items():
        watch = time.monotonic()
        size = _count_bytes(repo, command)
        print(f"{label}: {console.size(size)} in {time.monotonic() - watch:.1f} s")
    print()
    steps: dict[str, Callable[[], object]] = {
        "first publish": lambda: None,
        "nothing changed": lambda: None,
        "README changed": lambda: commit(repo, "README.md", "# Changed\n"),
        "one source file changed": lambda: commit(repo, file, "changed = True\n"),
        "a merge of 50 commits": lambda: merge(repo, file, 50),
    }
    sizes: dict[str, int] = {}
    rows = []
    first = 0
    for step, change in steps.items():
        change()
        cost = _pack(repo, into)
        fresh = {digest: size for digest, size in cost.parts.items() if digest not in sizes}
        sizes |= fresh
        upload = sum(fresh.values())
        first = first or upload
        rows.append([
            step, console.size(upload), f"{upload / first:.1%}", f"{len(fresh)}/{len(cost.parts)}",
            f"{cost.seconds:.1f}", f"{cost.own_kb / 1000:.0f}", f"{cost.git_kb / 1000:.0f}",
        ])  # fmt: skip
    head = ["publish", "upload", "of first", "new parts", "seconds", "MB python", "MB one git"]
    print(console.table(rows, head), flush=True)


def _count_bytes(repo: Path, command: list[str]) -> int:
    with subprocess.Popen(
        command, cwd=repo, env=repos.GIT_ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"HEAD\n")
        child.stdin.close()
        size = 0
        while chunk := child.stdout.read(1 << 20):
            size += len(chunk)
    assert child.returncode == 0
    return size


def _pack(repo: Path, into: Path) -> Cost:
    """In a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "tests.bench.context", "--pack", str(repo), str(into)]
    env = {**os.environ, "PYTHONPATH": str(project.ROOT)}
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=env)
    return Cost(**json.loads(result.stdout))


def _pack_here(repo: Path, into: Path) -> None:
    start = time.monotonic()
    context = builder.pack(repo, into)
    cost = Cost(
        seconds=time.monotonic() - start,
        parts={part.digest: part.bytes for part in context.parts},
        own_kb=_most_memory(),
        git_kb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    )
    console.emit_json(asdict(cost))


def _most_memory() -> int:
    """Of this process, in kB; getrusage would count the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])


def commit(repo: Path, path: str, content: str, *, message: str = "change") -> str:
    """A commit that changes one file, in the index alone: no working tree is needed."""
    tree = _tree(repo, path, content)
    sha = repos.git(repo, "commit-tree", tree, "-p", "HEAD", "-m", message).strip()
    repos.git(repo, "update-ref", "HEAD", sha)
    return sha


def merge(repo: Path, path: str, count: int) -> None:
    main = tip = repos.git(repo, "rev-parse", "HEAD").strip()
    tree = ""
    for number in range(count):
        folder = path.rpartition("/")[0]
        tree = _tree(repo, f"{folder}/new{number % 20}.py", f"value = {number}\n" * 20)
        tip = repos.git(repo, "commit-tree", tree, "-p", tip, "-m", f"side {number}").strip()
    sha = repos.git(repo, "commit-tree", tree, "-p", main, "-p", tip, "-m", "merge").strip()
    repos.git(repo, "update-ref", "HEAD", sha)


def _tree(repo: Path, path: str, content: str) -> str:
    blob = subprocess.run(
        ["git", "-C", str(repo), "hash-object", "-w", "--stdin"],
        input=content.encode(), check=True, capture_output=True, env=repos.GIT_ENV,
    ).stdout.decode().strip()  # fmt: skip
    repos.git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    return repos.git(repo, "write-tree").strip()


if __name__ == "__main__":
    main()
