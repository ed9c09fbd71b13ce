"""The ledger's refs and commits, in a bare repository of ours and in the remote that it follows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tasks.base import console, stages
from tasks.base.errors import CommandFailed, TaskError
from tasks.daytona import push_errors
from tasks.git import remotes

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.daytona.ledger_entry import LedgerEntry

PREFIX: Final = "refs/sandbox/ledger/"
#: Names another remote than the checkout's own.
VARIABLE: Final = "SANDBOX_LEDGER"
EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
#: Not a valid stage, so nobody takes it for one.
_PROBE: Final = f"{PREFIX}probe"


class LedgerFailed(TaskError):
    code = "ledger-failed"


class LedgerStore:
    """`remote`: a path or address that git can push to; None keeps all of it on this machine."""

    def __init__(self, folder: Path, *, remote: str | None) -> None:
        self._folder = folder
        self.remote = remote
        if not (folder / "HEAD").exists():
            remotes.create_store(folder)
        self._git_dir = remotes.open_store(folder)

    @property
    def place(self) -> str:
        """Where it lives, without credentials."""
        if self.remote is None:
            return f"{self._folder} on this machine only"
        return re.sub(r"(://)[^/@]*@", r"\1", console.printable(self.remote))

    def refresh(self) -> None:
        """Take over what the remote says."""
        if self.remote is None:
            return
        try:
            self._git("fetch", "--quiet", "--no-tags", "--prune", "--", self.remote,
                      f"+{PREFIX}*:{PREFIX}*")  # fmt: skip
        except TaskError as error:
            raise self._unreachable("read", error) from error

    def stages(self) -> list[str]:
        refs = self._git("for-each-ref", "--format=%(refname)", PREFIX)
        names = [line.removeprefix(PREFIX) for line in refs.splitlines()]
        return [name for name in names if stages.is_stage(name)]

    def tip(self, stage: str) -> str | None:
        """The commit of the newest move, None for a stage without any."""
        tip = self._git("for-each-ref", "--format=%(objectname)", PREFIX + stage)
        return tip.strip() or None

    def messages(self, tip: str) -> list[str]:
        """Of that commit and all before it, the newest first."""
        return self._git("log", "-z", "--format=%B", tip).split("\0")

    def append(self, stage: str, tip: str | None, entry: LedgerEntry) -> bool:
        """Add an entry if the stage is still at `tip`; False when somebody else was first."""
        self._git("hash-object", "-t", "tree", "-w", "--stdin")
        parents = ["-p", tip] if tip else []
        commit = self._git(
            "commit-tree", EMPTY_TREE, *parents, stdin=entry.to_message(), author=entry.author
        ).strip()
        return self._update(PREFIX + stage, tip or "", commit)

    def drop(self, stage: str, tip: str) -> bool:
        """Forget the stage, if it is still at `tip`; False when it is not."""
        return self._update(PREFIX + stage, tip, "")

    def check_access(self) -> None:
        """Push a ref and delete it again: nothing less tells what a remote's rules refuse.

        Raises `LedgerFailed` with the remote's reason.
        """
        if self.remote is None:
            return
        tree = self._git("hash-object", "-t", "tree", "-w", "--stdin").strip()
        commit = self._git("commit-tree", tree, stdin="may the ledger be written?").strip()
        self._push(f"+{commit}:{_PROBE}")
        try:
            self._push(f":{_PROBE}")
        except (CommandFailed, LedgerFailed) as error:
            # Another run has deleted it; or the remote keeps refs, which only `drop` minds.
            console.say(f"{_PROBE} stays at {self.place}: {error}", "dim")

    def _update(self, ref: str, old: str, new: str) -> bool:
        """Compare and swap. "" for `old` or `new` is a ref that is not there. Where there is a
        remote, that decides.
        """
        command = ["update-ref", ref, new] if new else ["update-ref", "-d", ref]
        if self.remote is None:
            try:
                self._git(*command, old or "0" * len(new))
            except CommandFailed:
                return False
            return True
        if not self._push(f"--force-with-lease={ref}:{old}", f"{new}:{ref}"):
            return False
        self._git(*command)
        return True

    def _push(self, *arguments: str) -> bool:
        """False when another push was first. Raises `LedgerFailed` for any other refusal."""
        *options, refspec = arguments
        try:
            self._git("push", "--quiet", *options, "--", str(self.remote), refspec)
        except TaskError as error:
            if push_errors.is_lost_race(getattr(error, "output", "")):
                return False
            raise self._unreachable("moved", error) from error
        return True

    def _unreachable(self, action: str, error: TaskError) -> LedgerFailed:
        output = getattr(error, "output", "")
        reason = push_errors.explain(output) if output else error.what
        reason = re.sub(r"(://)[^/@\s]*@", r"\1", console.printable(reason))
        return LedgerFailed(
            f"the ledger at {self.place} cannot be {action}: {reason}",
            fix=f"check the access to that remote, or name another in {VARIABLE}",
        )

    def _git(self, *args: str, stdin: str = "", author: str = "") -> str:
        return remotes.run(self._git_dir, *args, stdin=stdin, who=author)
