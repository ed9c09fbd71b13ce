"""Which snapshot each stage uses, who put it there, and what it was before: refs in a git remote.

Daytona's snapshots carry no labels, and its lists are no history. A git remote has all it takes: a
chain of commits a stage below refs/sandbox/ledger/ (`git log` reads it), compare-and-swap on
push, the access rights of the repository, and no life of its own on any machine. The work is done
in a bare repository beside the checkout, `.sandbox/ledger.git`, so that neither the user's
repository nor its configuration (which could name programs) takes part.

Without a remote the ledger stays in that bare repository; the command that moves it says so.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks import git
from tasks.base import addresses, console
from tasks.base.errors import CommandFailed, TaskError
from tasks.git import remotes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX: Final = "refs/sandbox/ledger/"
#: Names another remote than the checkout's own.
VARIABLE: Final = "SANDBOX_LEDGER"
_EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_ATTEMPTS: Final = 5
#: As git says it when the lease or the remote's lock on the ref is lost.
_LOST: Final = ("stale info", "cannot lock ref", "fetch first", "reference already exists")

Why = Literal["publish", "promote", "rollback"]


class LedgerFailed(TaskError):
    code = "ledger-failed"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One move: from then on the stage uses `snapshot`. `branch` is the one it was made of, as
    far as that was said; entries of before November 2026 do not have it.
    """

    snapshot: str
    sha: str
    identity: str
    why: Why
    who: str
    when: str
    branch: str = ""

    def to_message(self) -> str:
        fields = json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False)
        return f"{self.why} {self.snapshot}\n\n{fields}\n"

    @classmethod
    def from_message(cls, text: str) -> Entry | None:
        """None for a commit that is no move of ours."""
        try:
            said: Any = json.loads(text.partition("\n\n")[2])
            entry = cls(**said)
        except (ValueError, TypeError):
            return None
        return entry if all(isinstance(v, str) for v in asdict(entry).values()) else None


def entry(*, snapshot: str, sha: str, identity: str, why: Why, branch: str = "") -> Entry:
    return Entry(
        snapshot=snapshot,
        sha=sha,
        identity=identity,
        why=why,
        who=_who(),
        when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        branch=branch,
    )


def _who(environment: Mapping[str, str] = os.environ) -> str:
    names = ("GITHUB_ACTOR", "ITERATE_USER", "USER", "LOGNAME")
    name = next((environment[n] for n in names if environment.get(n, "").strip()), "unknown")
    return console.printable(f"{name}@{socket.gethostname()}")


class Ledger:
    """`remote`: a path or address that git can push to; None keeps it on this machine."""

    def __init__(self, store: Path, *, remote: str | None) -> None:
        self._store = store
        self.remote = remote
        if not (store / "HEAD").exists():
            remotes.create_store(store)
        self._isolated = remotes.open_store(store)

    @property
    def place(self) -> str:
        """Where it lives, without credentials."""
        if self.remote is None:
            return f"{self._store} on this machine only"
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
        listed = self._git("for-each-ref", "--format=%(refname)", PREFIX)
        return [line.removeprefix(PREFIX) for line in listed.splitlines()]

    def history(self, stage: str) -> list[Entry]:
        """The newest first."""
        tip = self.tip(stage)
        if tip is None:
            return []
        messages = self._git("log", "-z", "--format=%B", tip).split("\0")
        return [found for text in messages if (found := Entry.from_message(text))]

    def current(self, stage: str) -> Entry | None:
        return next(iter(self.history(stage)), None)

    def previous(self, stage: str) -> Entry | None:
        """The last one that was another snapshot than the current one."""
        history = self.history(stage)
        return next((e for e in history if e.snapshot != history[0].snapshot), None)

    def points_at(self) -> dict[str, list[str]]:
        """Snapshot → what points at it: `prd`, `prd (previous)`."""
        found: dict[str, list[str]] = {}
        for stage in self.stages():
            if now := self.current(stage):
                found.setdefault(now.snapshot, []).append(stage)
            if before := self.previous(stage):
                found.setdefault(before.snapshot, []).append(f"{stage} (previous)")
        return found

    def knows(self, snapshot: str) -> Entry | None:
        """The newest move to that snapshot at any stage: it was verified then."""
        found = [e for s in self.stages() for e in self.history(s) if e.snapshot == snapshot]
        return max(found, key=lambda e: e.when, default=None)

    def move(self, stage: str, wanted: Entry, *, expected: Entry | None = None) -> bool:
        """Let the stage use another snapshot; False when it does already.

        With `expected`, only from there: raises when somebody has moved it meanwhile.
        """
        for _ in range(_ATTEMPTS):
            self.refresh()
            tip, now = self.tip(stage), self.current(stage)
            if now and now.snapshot == wanted.snapshot:
                return False
            if expected is not None and now != expected:
                there = now.snapshot if now else "nothing"
                raise LedgerFailed(
                    f"{stage} has been moved to {there} meanwhile",
                    fix="nox -s snapshots -- list, then decide again",
                )
            if self._push(stage, tip, self._commit(tip, wanted)):
                return True
        raise LedgerFailed(
            f"the ledger of {stage} is moved by somebody else all the time",
            fix="run it again in a minute",
        )

    def _commit(self, parent: str | None, wanted: Entry) -> str:
        self._git("hash-object", "-t", "tree", "-w", "--stdin")
        parents = ["-p", parent] if parent else []
        return self._git(
            "commit-tree", _EMPTY_TREE, *parents, stdin=wanted.to_message(), who=wanted.who
        ).strip()

    def _push(self, stage: str, old: str | None, new: str) -> bool:
        """Compare-and-swap; False when somebody else was first."""
        ref = PREFIX + stage
        if self.remote is None:
            try:
                self._git("update-ref", ref, new, old or "0" * len(new))
            except CommandFailed:
                return False
            return True
        try:
            self._git("push", "--quiet", f"--force-with-lease={ref}:{old or ''}", "--",
                      self.remote, f"{new}:{ref}")  # fmt: skip
        except CommandFailed as error:
            if any(word in error.output for word in _LOST):
                return False
            raise self._unreachable("moved", error) from error
        self._git("update-ref", ref, new)
        return True

    def drop(self, stage: str, *, expected: str) -> bool:
        """Forget the stage, if it is still where `tip` was; False when it is not."""
        ref = PREFIX + stage
        try:
            if self.remote is not None:
                self._git("push", "--quiet", f"--force-with-lease={ref}:{expected}", "--",
                          self.remote, f":{ref}")  # fmt: skip
            self._git("update-ref", "-d", ref, expected)
        except CommandFailed as error:
            if any(word in error.output for word in _LOST):
                return False
            raise self._unreachable("moved", error) from error
        return True

    def _unreachable(self, doing: str, error: TaskError) -> LedgerFailed:
        output = getattr(error, "output", "") or error.what
        said = next(iter(output.strip().splitlines()[::-1]), "")
        said = re.sub(r"(://)[^/@\s]*@", r"\1", console.printable(said))
        return LedgerFailed(
            f"the ledger at {self.place} cannot be {doing}: {said}",
            fix=f"check the access to that remote, or name another in {VARIABLE}",
        )

    def tip(self, stage: str) -> str | None:
        """What names the state of a stage: it changes with every move."""
        listed = self._git("for-each-ref", "--format=%(objectname)", PREFIX + stage)
        return listed.strip() or None

    def _git(self, *args: str, stdin: str = "", who: str = "") -> str:
        return remotes.run(self._isolated, *args, stdin=stdin, who=who)


def open_ledger(
    root: Path, state: Path, *, local: bool, environment: Mapping[str, str] = os.environ
) -> Ledger:
    """The ledger of the checkout at `root`: at SANDBOX_LEDGER, else at its remote `origin`.

    `local`: of the stand-in, which has stages of its own that nobody else is to see. A ledger on
    this very machine may be named for it, too: workflows are rehearsed so.
    """
    named = environment.get(VARIABLE, "").strip()
    if local:
        remote = named if _on_this_machine(named) else None
        return Ledger(state / "stand-in-ledger.git", remote=remote)
    return Ledger(state / "ledger.git", remote=named or _origin(root))


def _on_this_machine(remote: str) -> bool:
    if "://" in remote:
        return addresses.is_loopback(addresses.host_of(remote))
    return remote.startswith("/")


def _origin(root: Path) -> str | None:
    url = git.origin_url(root)
    if not url:
        return None
    # A relative path is meant from the checkout, not from where the ledger works.
    local = "://" not in url and not re.match(r"[^/]+:", url)
    return str((root / url).resolve()) if local else url
