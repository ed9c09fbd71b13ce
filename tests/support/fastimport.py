"""Large repositories, made in seconds with `git fast-import`."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING, Final

from tasks.base import project
from tasks.build import parts
from tests.support import repos

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_WORDS: Final = 4000
_IDENTITY: Final = "A <a@example.invalid>"


def generate(at: Path, *, files: int, commits: int, seed: int = 1) -> Path:
    """A repository that can be built from: `files` source-like files, then one-file commits."""
    repos.git(at.parent, "init", "-q", "-b", "main", str(at))
    command = ["git", "-C", str(at), "fast-import", "--quiet", "--force"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=repos.GIT_ENV) as child:
        assert child.stdin is not None
        for chunk in _stream(files, commits, random.Random(seed)):  # noqa: S311
            child.stdin.write(chunk)
        child.stdin.close()
        assert child.wait() == 0
    repos.git(at, "reset", "-q")
    return at


def buildable() -> Mapping[str, bytes]:
    """The least that a commit needs to be packed: a Dockerfile, and what its build begins with."""
    text = 'FROM debian:trixie-slim\nCOPY . /out/tree\nCOPY package.json ./\nENTRYPOINT ["/x"]\n'
    return {
        project.DOCKERFILE: text.encode(),
        parts.RESTORE: (project.ROOT / parts.RESTORE).read_bytes(),
        "package.json": b"{}\n",
    }


def _stream(files: int, commits: int, chance: random.Random) -> Iterator[bytes]:
    words = [f"{chance.getrandbits(40):x}" for _ in range(_WORDS)]
    paths = [f"src/{n % 50:02}/{n % 701:03}/file{n}.py" for n in range(files)]
    yield _commit(0, "import")
    for path, content in buildable().items():
        yield _file(path, content)
    yield _file("README.md", b"# Readme\n")
    texts = {path: [_line(words, chance) for _ in range(chance.randrange(10, 90))]
             for path in paths}  # fmt: skip
    for path in paths:
        yield _file(path, b"".join(texts[path]))
    for number in range(1, commits):
        path = paths[chance.randrange(files)]
        lines = texts[path]
        lines[chance.randrange(len(lines))] = _line(words, chance)
        yield _commit(number, f"change {number}")
        yield _file(path, b"".join(lines))


def _line(words: list[str], chance: random.Random) -> bytes:
    return (" ".join(chance.choices(words, k=7)) + "\n").encode()


def _commit(number: int, message: str) -> bytes:
    seconds = 1_700_000_000 + 60 * number
    return (
        f"commit refs/heads/main\ncommitter {_IDENTITY} {seconds} +0000\n"
        f"data {len(message)}\n{message}\n"
    ).encode()


def _file(path: str, content: bytes) -> bytes:
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content)
