"""Git without a repository's configuration, so that a repository cannot name a program to run.

Dozens of settings name programs (`git help --config`), and every version of git adds some: a list
of those to switch off is never complete. So git does not read a repository's configuration at all.
`GIT_DIR` stays the repository's, since HEAD and the index are there. `GIT_COMMON_DIR`, where git
looks for configuration, hooks and shared refs, is a folder of our own: it links to the
repository's refs and ignore rules, and has our configuration and no hooks. Settings that are data
(`DATA`) are read once with `git config`, which runs nothing, and handed on.

https://git-scm.com/docs/gitrepository-layout (commondir), https://git-scm.com/docs/git-config
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import liveness

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The settings that decide what git says of a checkout, as `git config --list` spells their names.
DATA: Final = re.compile(
    r"core\.(?:autocrlf|eol|filemode|ignorecase|symlinks|precomposeunicode|trustctime|checkstat"
    r"|excludesfile|attributesfile|sparsecheckout|sparsecheckoutcone|protecthfs|protectntfs"
    r"|checkroundtripencoding)"
    r"|attr\.tree"
    r"|remote\..*\.(?:url|pushurl)|url\..*\.(?:insteadof|pushinsteadof)"
    r"|branch\..*\.(?:remote|merge)",
    re.DOTALL,
)
_PARTIAL: Final = re.compile(
    r"extensions\.partialclone|remote\..*\.(?:promisor|partialclonefilter)", re.DOTALL
)
_FILTER: Final = re.compile(r"filter\.(?P<driver>.*)\.(?:clean|smudge|process)", re.DOTALL)
#: Where the user's own configuration is, if not in the usual places.
USER_CONFIGURATION: Final = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
#: For the few commands that have to read a repository's configuration, which run no program anyway.
_PRECAUTIONS: Final = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "core.alternateRefsCommand": "true",
    "protocol.allow": "never",
}
_PREFIX: Final = "iterate-git-common-"
#: Seconds; no process needs its folder for a week.
_STALE: Final = 7 * 86400.0
#: What git keeps in a common directory and reads through a link to the repository's.
_SHARED: Final = (
    "refs", "packed-refs", "reftable", "shallow", "logs", "info/exclude", "info/attributes",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class IsolatedGitDir:
    """A git directory whose configuration and hooks git does not see. `common` is the folder of
    our own; it goes with this object, or with the process.
    """

    path: Path
    common: Path
    objects: Path

    def environment(self, root: Path | None = None) -> dict[str, str]:
        """The variables that lead git there; `root` is the working tree, where there is one."""
        return {
            "GIT_DIR": str(self.path),
            "GIT_COMMON_DIR": str(self.common),
            "GIT_OBJECT_DIRECTORY": str(self.objects),
            **({"GIT_WORK_TREE": str(root)} if root else {}),
        }


def isolate(
    git_dir: Path, common_dir: Path, *, bare: bool, sha256: bool = False, reftable: bool = False
) -> IsolatedGitDir:
    """The git directory `git_dir`, whose shared part is `common_dir` (the same but in a linked
    worktree). `sha256` and `reftable` are its formats of objects and refs.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    liveness.sign(folder)
    isolated = IsolatedGitDir(git_dir, folder, common_dir / "objects")
    weakref.finalize(isolated, _remove, folder, os.getpid())
    (folder / "info").mkdir()
    for name in _SHARED:
        (folder / name).symlink_to(common_dir / name)
    formats = {"objectFormat = sha256": sha256, "refStorage = reftable": reftable}
    extensions = [f"\t{line}" for line, is_used in formats.items() if is_used]
    lines = [
        "[core]",
        f"\trepositoryformatversion = {int(bool(extensions))}",
        f"\tbare = {str(bare).lower()}",
        *(["[extensions]", *extensions] if extensions else []),
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    return isolated


def link_common(isolated: IsolatedGitDir, into: Path) -> None:
    """Make the folder `into` another `GIT_COMMON_DIR`, without ignore rules and attributes."""
    into.mkdir()
    for path in isolated.common.iterdir():
        if path.name != "info":
            (into / path.name).symlink_to(path)


@functools.cache
def _sweep() -> None:
    """Once a process: what killed ones could not remove goes."""
    liveness.sweep(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"), stale=_STALE)


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a fork, whose parent still needs it
        shutil.rmtree(folder, ignore_errors=True)


def environment(settings: Iterable[tuple[str, str]] = ()) -> dict[str, str | None]:
    """What is laid over the environment of a git command: no configuration but `settings`."""
    return base_environment() | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **configured([("core.hooksPath", os.devnull), ("protocol.allow", "never"), *settings]),
    }


def asking_environment(root: Path) -> dict[str, str | None]:
    """For `rev-parse` and `config`, which run no program, where they have to read a repository's
    own configuration: where the git directory is, and which settings hold. Its owner may be
    another user (a mount's often is).
    """
    settings = [*_PRECAUTIONS.items(), ("safe.directory", str(root)), ("safe.directory", "*")]
    user = {name: os.environ[name] for name in USER_CONFIGURATION if name in os.environ}
    return base_environment() | user | configured(settings)


def base_environment() -> dict[str, str | None]:
    """Without the caller's GIT_* variables, which name repositories and programs, too."""
    env: dict[str, str | None] = {name: None for name in os.environ if name.startswith("GIT_")}
    return env | {
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def configured(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Settings as git takes them from its environment; a name may come more than once."""
    env: dict[str, str] = {}
    number = 0
    for number, (name, value) in enumerate(settings, 1):
        env |= {f"GIT_CONFIG_KEY_{number - 1}": name, f"GIT_CONFIG_VALUE_{number - 1}": value}
    return env | {"GIT_CONFIG_COUNT": str(number)}


def listed(raw: bytes) -> list[tuple[str, str]]:
    r"""What `git config --list -z` prints, in order; a name without `= value` stands for true.

    >>> listed(b"core.eol\nlf\0core.filemode\0")
    [('core.eol', 'lf'), ('core.filemode', 'true')]
    """
    entries = [os.fsdecode(entry).partition("\n") for entry in raw.split(b"\0") if entry]
    return [(name, value if equals else "true") for name, equals, value in entries]


def data(settings: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of a repository's settings that are data."""
    return [(name, value) for name, value in settings if DATA.fullmatch(name)]


def partial_clone_filter(settings: Iterable[tuple[str, str]]) -> str:
    """What a partial clone leaves out, such as `blob:none`; "" for a whole clone.

    https://git-scm.com/docs/partial-clone
    """
    names = {name: value for name, value in settings if _PARTIAL.fullmatch(name)}
    filters = [value for name, value in names.items() if name.endswith(".partialclonefilter")]
    return next(iter(filters), "objects" if names else "")


def filter_drivers(settings: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The names of the filter drivers that convert what git stores. https://git-scm.com/docs/gitattributes"""
    matches = [_FILTER.fullmatch(name) for name, value in settings if value]
    return tuple(sorted({match["driver"] for match in matches if match}))
