"""Repositories whose configuration names a program wherever git would take one.

Each setting names a canary of its own, so that the file it leaves says which setting was obeyed.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import repos

#: Programs by git's documentation that `git help --config` does not list, or lists as a pattern.
_PROGRAMS: Final = (
    "alias.{}", "browser.{}.cmd", "credential.https://git.example.helper", "credential.helper",
    "diff.{}.command", "diff.{}.textconv", "difftool.{}.cmd", "difftool.{}.path",
    "filter.{}.clean", "filter.{}.process", "filter.{}.smudge", "gpg.openpgp.program",
    "gpg.program", "gpg.ssh.defaultKeyCommand", "gpg.ssh.program", "gpg.x509.program",
    "guitool.{}.cmd", "man.{}.cmd", "merge.{}.driver", "mergetool.{}.cmd", "mergetool.{}.path",
    "pager.{}", "remote.{}.receivepack", "remote.{}.uploadpack", "remote.{}.vcs",
    "sendemail.{}.smtpServer", "sendemail.sendmailCmd", "sendemail.toCmd", "sendemail.headerCmd",
    "tar.{}.command", "trailer.{}.cmd", "trailer.{}.command", "uploadpack.packObjectsHook",
    "web.browser", "core.virtualFilesystem",
)  # fmt: skip
#: What lets git come to a program: these take no program's name themselves.
_SWITCHES: Final = (
    ("commit.gpgSign", "true"), ("diff.ignoreSubmodules", "none"), ("diff.submodule", "diff"),
    ("feature.manyFiles", "true"), ("fetch.recurseSubmodules", "true"), ("gc.auto", "1"),
    ("gpg.format", "openpgp"), ("log.showSignature", "true"), ("maintenance.auto", "true"),
    ("merge.verifySignatures", "true"), ("protocol.allow", "always"),
    ("protocol.ext.allow", "always"), ("push.gpgSign", "if-asked"),
    ("push.recurseSubmodules", "on-demand"), ("rebase.autoStash", "true"),
    ("status.submoduleSummary", "true"), ("submodule.recurse", "true"),
    ("submodule.sub.ignore", "none"), ("submodule.sub.update", "!{canary}"),
)  # fmt: skip
_PLACEHOLDER: Final = r"<[^>]*>|\*|\{\}"
#: What a placeholder stands for, by section; `evil` elsewhere.
_NAMES: Final = {
    "remote": ("origin",),
    "submodule": ("sub",),
    "alias": ("status", "log", "rev-parse", "config", "evil"),
    "pager": ("status", "log", "rev-parse", "config"),
}
#: These decide what the repository is; tests of their own set them.
_ELSEWHERE: Final = (
    "include","core.worktree", "core.bare", "extensions.", "remote.origin.url",
    "remote.origin.pushurl", "safe.", "branch.", "core.repositoryFormatVersion",
)  # fmt: skip
#: Severities, colours, answers to hints, and numbers that git reads where no probe comes.
_WORDS: Final = re.compile(
    r"(?:(?:fetch|receive)\.)?fsck\.|color\.|advice\.|core\.fsmonitorHookVersion|help\.autoCorrect"
)
_PROBES: Final = (
    ("status",), ("log", "-1"), ("branch",), ("diff", "--no-ext-diff"), ("add", "."),
    ("fetch", "--dry-run", "."), ("push", "--dry-run", ".", "HEAD:refs/heads/x"),
)  # fmt: skip
_HOOKS: Final = (
    "applypatch-msg", "commit-msg", "fsmonitor-watchman", "p4-pre-submit", "post-applypatch",
    "post-checkout", "post-commit", "post-index-change", "post-merge", "post-receive",
    "post-rewrite", "post-update", "pre-applypatch", "pre-auto-gc", "pre-commit",
    "pre-merge-commit", "pre-push", "pre-rebase", "pre-receive", "prepare-commit-msg",
    "proc-receive", "push-to-checkout", "reference-transaction", "sendemail-validate", "update",
)  # fmt: skip
ATTRIBUTES: Final = "* filter=evil diff=evil merge=evil\n"
_SIGNATURE: Final = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----\n"


@dataclass(frozen=True)
class Canaries:
    """A folder of programs, each of which leaves a file of its name beside it when it runs."""

    folder: Path

    def program(self, name: str) -> str:
        """A program that leaves `name` (in a spelling that a file may have)."""
        safe = re.sub(r"[^A-Za-z0-9.-]", "_", name)
        path = self.folder / f"{safe}.sh"
        # It answers nothing and succeeds, so that git goes on to the next one.
        path.write_text(f"#!/bin/sh\n: > '{self.folder}/{safe}.ran'\n")
        path.chmod(0o755)
        return str(path)

    def ran(self) -> set[str]:
        """The names of those that have run."""
        return {path.stem for path in self.folder.glob("*.ran")}

    def forget(self) -> None:
        for path in self.folder.glob("*.ran"):
            path.unlink()


@functools.cache
def settings() -> tuple[str, ...]:
    """Every setting that this git knows and takes a program's name for, as a value at least: what
    has to be a number or a truth value, git refuses to work with.
    """
    listed = subprocess.run(["git", "help", "--config"], capture_output=True, check=True, text=True)
    documented = [line for line in listed.stdout.split() if "." in line and not _WORDS.match(line)]
    patterns = [*documented, *_PROGRAMS]
    names = {name for pattern in patterns for name in _settings_of(pattern)}
    left_out = {name for name in names if name.startswith(_ELSEWHERE)}
    with tempfile.TemporaryDirectory(prefix="iterate-probe-") as folder:
        probe = repos.new(Path(folder) / "repo")
        return tuple(sorted(_accepted(probe, sorted(names - left_out))))


def _settings_of(pattern: str) -> list[str]:
    """A setting for each name that `<name>`, `*` or `{}` may stand for."""
    if not re.search(_PLACEHOLDER, pattern):
        return [pattern]
    names = _NAMES.get(pattern.partition(".")[0], ("evil",))
    return [re.sub(_PLACEHOLDER, name, pattern) for name in names]


def _accepted(probe: Path, names: list[str]) -> list[str]:
    """Those with which git still works, when each has a path as its value."""
    if _works(probe, names):
        return names
    if len(names) == 1:
        return []
    half = len(names) // 2
    return [*_accepted(probe, names[:half]), *_accepted(probe, names[half:])]


def _works(probe: Path, names: list[str]) -> bool:
    lines = [line for name in names for line in _lines(name, "/nonexistent/canary")]
    included = probe.parent / "settings"
    included.write_text("".join(line + "\n" for line in lines))
    command = ["git", "-C", str(probe), "-c", f"include.path={included}"]
    return all(
        not subprocess.run([*command, *args], env=repos.GIT_ENV, capture_output=True, check=False,
                           stdin=subprocess.DEVNULL).returncode
        for args in _PROBES
    )  # fmt: skip


def configuration(canaries: Canaries, prefix: str) -> str:
    """A configuration file that names a canary in every setting."""
    lines = []
    for name in settings():
        lines += _lines(name, canaries.program(f"{prefix}-{name}"))
    for name, value in _SWITCHES:
        lines += _lines(name, value.format(canary=canaries.program(f"{prefix}-{name}")))
    return "".join(line + "\n" for line in lines)


def _lines(name: str, value: str) -> list[str]:
    section, _, rest = name.partition(".")
    subsection, _, key = rest.rpartition(".")
    head = f'[{section} "{subsection}"]' if subsection else f"[{section}]"
    return [head, f'\t{key} = "{value}"']


def infest(git_dir: Path, canaries: Canaries, prefix: str) -> None:
    """Put canaries into a git directory: settings, included ones, hooks, attributes."""
    included = canaries.folder / f"{prefix}-included"
    included.write_text(configuration(canaries, f"{prefix}-included"))
    with (git_dir / "config").open("a") as file:
        file.write(configuration(canaries, f"{prefix}-config"))
        file.write(f'[include]\n\tpath = "{included}"\n')
        file.write(f'[includeIf "gitdir:/"]\n\tpath = "{included}"\n')
    hooks = git_dir / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in _HOOKS:
        Path(canaries.program(f"{prefix}-hook-{name}")).rename(hooks / name)
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info/attributes").write_text(ATTRIBUTES)


def worktree_settings(repo: Path, canaries: Canaries) -> None:
    """The configuration of one working tree alone (git-worktree, CONFIGURATION FILE)."""
    repos.git(repo, "config", "extensions.worktreeConfig", "true")
    path = Path(repos.git(repo, "rev-parse", "--path-format=absolute", "--git-path",
                          "config.worktree").strip())  # fmt: skip
    path.write_text(configuration(canaries, "worktree"))


def sign_head(repo: Path) -> str:
    """Give HEAD's commit the header of a signature, which `log.showSignature` has checked."""
    raw = repos.git(repo, "cat-file", "commit", "HEAD")
    header, _, message = raw.partition("\n\n")
    with tempfile.NamedTemporaryFile("w", prefix="iterate-commit-") as file:
        file.write(f"{header}\n{_SIGNATURE}\n{message}")
        file.flush()
        sha = repos.git(repo, "hash-object", "-t", "commit", "-w", file.name).strip()
    repos.git(repo, "update-ref", "HEAD", sha)
    return sha


def environment(canaries: Canaries) -> dict[str, str]:
    """GIT_* variables, and others that git looks at, which name programs."""
    programs = {
        name: canaries.program(f"env-{name}")
        for name in ("GIT_EDITOR", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_PROXY_COMMAND",
                     "GIT_SEQUENCE_EDITOR", "EDITOR", "PAGER", "VISUAL", "BROWSER")
    }  # fmt: skip
    templates = canaries.folder / "templates"
    (templates / "hooks").mkdir(parents=True, exist_ok=True)
    for name in _HOOKS:
        Path(canaries.program(f"env-template-{name}")).rename(templates / "hooks" / name)
    commands = canaries.folder / "exec-path"
    commands.mkdir(exist_ok=True)
    for name in ("git", "git-status", "git-upload-pack", "git-remote-https"):
        Path(canaries.program(f"env-exec-path-{name}")).rename(commands / name)
    parameters = canaries.program("env-GIT_CONFIG_PARAMETERS")
    return programs | {
        "GIT_TEMPLATE_DIR": str(templates),
        "GIT_EXEC_PATH": str(commands),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": canaries.program("env-GIT_CONFIG_COUNT"),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='{parameters}'",
        "GIT_ATTR_SOURCE": "HEAD",
        "PATH": os.environ["PATH"],
    }
