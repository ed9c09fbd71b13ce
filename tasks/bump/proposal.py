"""What bump_versions changed in a checkout, as a commit-to-be with a title and a text.

Only what bump_versions writes belongs to it: the Dockerfile's pins, their locks and the
packageManager in package.json.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import ci, console, markdown, project
from tasks.base.errors import BadInput
from tasks.build import dockerfile
from tasks.bump import edit, pins
from tasks.git import indexfile

if TYPE_CHECKING:
    from tasks.git import Repo

#: In a job, bump_versions leaves the text of the pull request here, below `.sandbox/`.
TEXT_FILE: Final = "bump-versions.md"
#: Characters; GitHub's limit for the text of a pull request is 65536.
_LONGEST_TEXT: Final = 60_000
_LONGEST_TITLE: Final = 100


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """`tree` on top of the commit `parent`; `moves`: variable → its old and its new version."""

    parent: str
    tree: str
    moves: dict[str, tuple[str, str]]

    @property
    def title(self) -> str:
        versions = ", ".join(
            f"{pins.short_name(name)} {new}" for name, (_, new) in self.moves.items()
        )
        title = f"Bump {versions}" if versions else "Bring the pins' locks up to date"
        return title if len(title) <= _LONGEST_TITLE else f"Bump {len(self.moves)} pinned versions"

    @property
    def text(self) -> str:
        """The moves in Markdown, each with a link to what changed."""
        by_variable = {pin.variable: pin for pin in pins.PINS}
        return "".join(
            f"- {markdown.plain(f'{pins.short_name(name)} {old} → {new}')}"
            f"{f': {by_variable[name].changelog_of(new)}' if name in by_variable else ''}\n"
            for name, (old, new) in self.moves.items()
        )


def prepare(repo: Repo) -> Proposal | None:
    """What bump_versions left in the working tree; None when it changed nothing.

    The checkout's own index is not touched.
    """
    head, _ = git.head(repo)
    paths = [path for path in edit.PATHS if (repo.root / path).exists()]
    with tempfile.TemporaryDirectory(prefix="iterate-bump-") as folder:
        index = Path(folder) / "index"
        repo.git("read-tree", head, index=index)
        names = repo.git("ls-files", "-z", "--cached", "--others", "--", *paths, index=index)
        present = [name for name in names.split(b"\0") if name]
        indexfile.update(repo, index, present=present, absent=())
        tree = os.fsdecode(repo.git("write-tree", index=index)).strip()
    if tree == repo.line("rev-parse", f"{head}^{{tree}}"):
        return None
    old_pins, new_pins = _pins(repo, head), _pins(repo, tree)
    moves = {
        name: (old_pins.get(name, ""), version)
        for name, version in new_pins.items()
        if old_pins.get(name) != version
    }
    return Proposal(parent=head, tree=tree, moves=moves)


def _pins(repo: Repo, treeish: str) -> dict[str, str]:
    text = repo.git("cat-file", "blob", f"{treeish}:{project.DOCKERFILE}").decode()
    return dict(dockerfile.pins(text))


def read_text(path: str | None) -> str | None:
    """The text of the pull request in `path`; without one, what bump_versions left in this job.

    None when there is neither. Raises `BadInput` for a file that cannot be read.
    """
    if path is None:
        file = project.state_dir() / TEXT_FILE
        if not (ci.is_github_job() and file.exists()):
            return None
        path = str(file)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise BadInput(
            f"--markdown {console.printable(path)} cannot be read",
            fix="nox -s bump_versions -- --markdown FILE writes it",
        ) from None
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "\n\n(cut)\n"
