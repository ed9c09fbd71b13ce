"""Random changes of a checkout, to see that no two different states have the same identity.

Whatever decides the image is changed: bytes that keep size and mtime, modes, links, names, the
index alone, submodules, attributes and ignore rules in every place that git reads, settings,
history and its depth, the Dockerfile, build arguments, the base image, the platform. After each
change the facts are read anew, without the code under test; two states with other facts and the
same identity are a fault: a build would say "nothing to do", and be wrong.

    python -m tests.support.mutations --count 10000 [--seed 1]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base.project import DOCKERFILE
from tasks.build import source
from tests.support import repos

if TYPE_CHECKING:
    from collections.abc import Callable

#: Changes of one repository, before the next begins.
_LIFE: Final = 100
_FILES: Final = ("a.txt", "b.sh", "sub/c.txt", "sub/d.bin", DOCKERFILE)
#: All of the same size.
_CONTENTS: Final = ("one\nx\n", "two\nx\n", "$Id$\n\n", "a\r\nbb\n")
_ATTRIBUTES: Final = (
    "", "*.txt text eol=crlf\n", "*.txt -text\n", "* text=auto\n", "a.txt ident\n",
    "*.txt working-tree-encoding=UTF-16\n", "*.sh filter=rot\n",
)  # fmt: skip
_IGNORED: Final = ("", "new*\n", "*.log\n", "sub/\n", ".gitattributes\n")
#: Setting → values and what they mean, "" for the default.
_SETTINGS: Final = {
    "core.autocrlf": {"input": "input", "true": "true", "yes": "true", "false": "", "off": ""},
    "core.eol": {"lf": "lf", "crlf": "crlf"},
    "core.fileMode": {"false": "false", "no": "false", "true": "", "1": ""},
    "core.symlinks": {"false": "false", "true": ""},
    "remote.origin.url": {"https://git.example/a.git": "a", "https://git.example/b.git": "b"},
    "branch.main.merge": {"refs/heads/main": "main", "refs/heads/next": "next"},
}
_BASES: Final = ("debian:trixie-slim", "debian:trixie-slim@sha256:" + "0" * 64)
_PLATFORMS: Final = ("linux/amd64", "linux/arm64")


class DifferentFactsSameIdentity(AssertionError):
    """The fault that is looked for."""


@dataclass
class MutableCheckout:
    """A checkout with a submodule, cloned from `origin`; `home` has its user's configuration."""

    folder: Path
    choice: random.Random
    settings: dict[str, str] = field(default_factory=lambda: {"branch.main.merge": "main"})
    inputs: dict[str, str] = field(default_factory=lambda: {"BASE_IMAGE": _BASES[0]})
    platform: str = _PLATFORMS[0]

    def __post_init__(self) -> None:
        library = repos.new(self.folder / "library", **{"lib.txt": "1"})
        repos.write(library, {"lib.txt": "2"})
        repos.commit(library)
        self.origin = repos.new(self.folder / "origin", **dict.fromkeys(_FILES, _CONTENTS[0]))
        repos.git(self.origin, "submodule", "add", "-q", str(library), "module")
        for number in range(5):
            repos.write(self.origin, {"a.txt": _CONTENTS[number % 2]})
            repos.commit(self.origin)
        self.root = self.folder / "repo"
        clone = ("clone", "-q", "--depth=3", "--recurse-submodules", f"file://{self.origin}")
        repos.git(self.folder, *clone, str(self.root))
        repos.git(self.root, "config", "filter.rot.clean", "tr a-m n-z")
        repos.git(self.root, "config", "filter.rot.smudge", "tr n-z a-m")

    def git(self, *args: str) -> str:
        return repos.git(self.root, *args, check=False)

    def pick_file(self) -> Path:
        return self.root / self.choice.choice([*_FILES, "new.txt", "new/e.log"])

    def identity(self) -> str:
        build_source = source.from_working_tree(
            self.root, build_args=self.inputs, platform=self.platform
        )
        return build_source.identity

    def facts(self) -> list[str]:
        """Everything that decides the image."""
        tracked = self.git("ls-files", "-z")
        index = self.git("ls-files", "-s", "-v", "-z")
        listed = sorted({*tracked.split("\0"), *self._untracked()} - {""})
        module = self.root / "module"
        return [
            index,
            self.git("rev-list", "HEAD"),
            (self.root / ".git/HEAD").read_text(),
            repr([self._fact(name, index) for name in listed]),
            repos.git(module, "rev-parse", "HEAD") + repr((module / "lib.txt").read_bytes()),
            self._attributes(tracked),
            repr((self._travelling_settings(), sorted(self.inputs.items()), self.platform)),
        ]

    def _travelling_settings(self) -> list[tuple[str, str]]:
        """What is set, and means something in the image."""
        unused = {"core.fileMode"}  # it shows in the modes
        on_main = (self.root / ".git/HEAD").read_text() == "ref: refs/heads/main\n"
        if not on_main or "remote.origin.url" not in self.settings:
            unused.add("branch.main.merge")
        return sorted((k, v) for k, v in self.settings.items() if k not in unused)

    def _untracked(self) -> list[str]:
        return self.git("ls-files", "-o", "-z", "--exclude-standard").split("\0")

    def _attributes(self, tracked: str) -> str:
        command = ["git", "-C", str(self.root), "check-attr", "-a", "-z", "--stdin"]
        result = subprocess.run(
            command, input=tracked, env=repos.GIT_ENV, capture_output=True, check=True, text=True
        )
        fields = result.stdout.split("\0")  # path, attribute, value; git has them in any order
        return repr(sorted(zip(fields[::3], fields[1::3], fields[2::3], strict=False)))

    def _fact(self, name: str, index: str) -> tuple[object, ...]:
        path = self.root / name
        try:
            if path.is_symlink():
                return name, "link", os.readlink(path)
            if path.is_dir():
                return name, "folder"
            is_executable = bool(path.stat().st_mode & 0o100)
            entry = re.search(rf"(\d{{6}}) [0-9a-f]+ [02]\t{re.escape(name)}\0", index)
            if entry and self.settings.get("core.fileMode") == "false":
                is_executable = entry[1] == "100755"
            return name, is_executable, path.read_bytes()
        except OSError:
            return name, "missing"


def _other_bytes(checkout: MutableCheckout) -> None:
    """Of the same size and mtime."""
    path = checkout.pick_file()
    if path.is_file() and not path.is_symlink():
        status = path.stat()
        path.write_text(checkout.choice.choice(_CONTENTS), newline="")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _mode(checkout: MutableCheckout) -> None:
    path = checkout.pick_file()
    if path.is_file() and not path.is_symlink():
        path.chmod(checkout.choice.choice([0o644, 0o755, 0o600]))


def _link(checkout: MutableCheckout) -> None:
    path = checkout.pick_file()
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(checkout.choice.choice(["a.txt", "b.sh", "nowhere"]))


def _write(checkout: MutableCheckout) -> None:
    path = checkout.pick_file()
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(checkout.choice.choice(_CONTENTS), newline="")


def _remove(checkout: MutableCheckout) -> None:
    checkout.pick_file().unlink(missing_ok=True)


def _rename(checkout: MutableCheckout) -> None:
    old, new = checkout.pick_file(), checkout.pick_file()
    if os.path.lexists(old):
        new.parent.mkdir(exist_ok=True)
        old.rename(new)


def _touch(checkout: MutableCheckout) -> None:
    path = checkout.pick_file()
    if path.is_file():
        os.utime(path)


def _stage(checkout: MutableCheckout) -> None:
    name = str(checkout.pick_file().relative_to(checkout.root))
    actions = [
        ("add", "-f"), ("add", "-N", "-f"), ("rm", "--cached", "-q"), ("reset", "-q"),
        ("update-index", "--chmod=+x"), ("update-index", "--chmod=-x"),
        ("update-index", "--skip-worktree"), ("update-index", "--no-skip-worktree"),
        ("update-index", "--assume-unchanged"), ("update-index", "--no-assume-unchanged"),
    ]  # fmt: skip
    checkout.git(*checkout.choice.choice(actions), "--", name)


def _check_out(checkout: MutableCheckout) -> None:
    """Write a file anew, with the attributes of this moment."""
    path = checkout.pick_file()
    path.unlink(missing_ok=True)
    checkout.git("checkout", "-q", "--", str(path.relative_to(checkout.root)))


def _refresh(checkout: MutableCheckout) -> None:
    checkout.git("update-index", "-q", "--refresh")


def _history(checkout: MutableCheckout) -> None:
    actions = [
        ("commit", "-q", "--allow-empty", "-m", "x"), ("commit", "-q", "-a", "-m", "y"),
        ("checkout", "-q", "-B", "side"), ("checkout", "-q", "-B", "main"),
        ("checkout", "-q", "--detach"), ("reset", "-q", "--soft", "HEAD~1"),
    ]  # fmt: skip
    checkout.git(*checkout.choice.choice(actions))


def _depth(checkout: MutableCheckout) -> None:
    option = checkout.choice.choice(["--depth=2", "--depth=4", "--deepen=1", "--unshallow"])
    checkout.git("fetch", "-q", option, f"file://{checkout.origin}", "main")


def _submodule(checkout: MutableCheckout) -> None:
    module = checkout.root / "module"
    action = checkout.choice.randrange(3)
    if action == 0:
        commits = repos.git(module, "rev-list", "--all").split()
        repos.git(module, "checkout", "-q", "-f", checkout.choice.choice(commits), check=False)
    elif action == 1:
        (module / "lib.txt").write_text(checkout.choice.choice(["1", "2", "3"]))
    else:
        checkout.git("add", "module")


def _rules(checkout: MutableCheckout, name: str, texts: tuple[str, ...], info: str) -> None:
    home = Path(repos.GIT_ENV["HOME"]) / ".config/git"
    places = [checkout.root / f".git{name}", checkout.root / f"sub/.git{name}",
              checkout.root / ".git/info" / info, home / name, checkout.folder / name]  # fmt: skip
    place = checkout.choice.choice(places)
    text = checkout.choice.choice(texts)
    place.parent.mkdir(parents=True, exist_ok=True)
    if text:
        place.write_text(text)
    else:
        place.unlink(missing_ok=True)
    if place.parent == checkout.folder:
        setting = "core.attributesFile" if name == "attributes" else "core.excludesFile"
        checkout.git("config", setting, str(place))


def _attributes(checkout: MutableCheckout) -> None:
    _rules(checkout, "attributes", _ATTRIBUTES, "attributes")


def _ignore_rules(checkout: MutableCheckout) -> None:
    _rules(checkout, "ignore", _IGNORED, "exclude")


def _setting(checkout: MutableCheckout) -> None:
    name = checkout.choice.choice(list(_SETTINGS))
    value = checkout.choice.choice([*_SETTINGS[name], ""])
    if value:
        checkout.git("config", name, value)
    else:
        checkout.git("config", "--unset", name)
    meaning = _SETTINGS[name].get(value, "")
    checkout.settings.pop(name, None)
    if meaning:
        checkout.settings[name] = meaning


def _input(checkout: MutableCheckout) -> None:
    action = checkout.choice.randrange(3)
    if action == 0:
        checkout.platform = checkout.choice.choice(_PLATFORMS)
    elif action == 1:
        checkout.inputs["BASE_IMAGE"] = checkout.choice.choice(_BASES)
    else:
        checkout.inputs["OTHER"] = checkout.choice.choice(["1", "2"])


MUTATIONS: Final[tuple[Callable[[MutableCheckout], None], ...]] = (
    _other_bytes, _other_bytes, _mode, _link, _write, _remove, _rename, _touch, _stage, _stage,
    _check_out, _check_out, _refresh, _history, _depth, _submodule, _attributes, _attributes,
    _ignore_rules, _setting, _input,
)  # fmt: skip


def run(count: int, seed: int, folder: Path) -> Counter[str]:
    """Make `count` changes; how often each kind was made, and how many states were there.

    Raises `DifferentFactsSameIdentity`. `HOME` in the environment has to be a folder of the test's.
    """
    choice = random.Random(seed)  # noqa: S311 - the same changes on each run
    tally: Counter[str] = Counter()
    for life in range(0, count, _LIFE):
        shutil.rmtree(Path(repos.GIT_ENV["HOME"]) / ".config", ignore_errors=True)
        checkout = MutableCheckout(folder / str(life), choice)
        states: dict[str, tuple[list[str], int]] = {}
        names: list[str] = []
        for _ in range(min(_LIFE, count - life)):
            mutation = choice.choice(MUTATIONS)
            with suppress(OSError):  # a file where a folder would have to be
                mutation(checkout)
            names.append(mutation.__name__)
            tally[mutation.__name__] += 1
            identity, facts = checkout.identity(), checkout.facts()
            earlier_facts, number = states.setdefault(identity, (facts, len(names)))
            if earlier_facts != facts:
                differences = [p for p in zip(earlier_facts, facts, strict=True) if p[0] != p[1]]
                raise DifferentFactsSameIdentity(
                    f"seed {seed}, life {life}: changes {number} and {len(names)} of {names}: "
                    f"{differences}"
                )
        tally["states"] += len(states)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.mutations")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iterate-mutations-") as folder:
        for environment in (os.environ, repos.GIT_ENV):
            environment.pop("XDG_CONFIG_HOME", None)
            environment["HOME"] = folder
            environment["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
            environment["GIT_CONFIG_GLOBAL"] = repos.GIT_ENV["GIT_CONFIG_GLOBAL"]
        print(dict(run(options.count, options.seed, Path(folder, "work"))))


if __name__ == "__main__":
    main()
