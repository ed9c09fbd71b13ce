"""Which commit a person means by a branch, a tag, an id or `HEAD~2`: resolved once, to a full id.

Git is never handed the text as it came. It is split into a name and `~`/`^` steps here, the name
is looked up among what the clone has, and only full ids and full ref names go into commands:
what looks like an option, a range, a path or a search cannot reach one. Nothing is ever fetched.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tasks.base import console, project
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks import git

#: Names the ref to publish where no `--ref` does.
VARIABLE: Final = project.REF_VARIABLE

Kind = Literal["HEAD", "branch", "remote branch", "tag", "ref", "commit"]

_HEX: Final = re.compile(r"[0-9a-fA-F]{4,64}")
_CLOSE: Final = 3
_LISTED: Final = 5


@dataclass(frozen=True)
class Choice:
    """The ref that was asked for, and by what (for messages): a flag, a variable, the checkout."""

    ref: str
    said_by: str


@dataclass(frozen=True)
class ResolvedRef:
    """`sha` is the full commit id; `name` what was asked for, for people only. `branch` is the
    branch's short name when it was one, local or remote.
    """

    sha: str
    name: str
    kind: Kind
    branch: str | None = None

    def describe(self) -> str:
        return f"{console.printable(self.name)} ({self.kind}) at {self.sha[:12]}"


@dataclass(frozen=True)
class _Candidate:
    ref: str
    kind: Kind
    oid: str

    def __str__(self) -> str:
        text = f"{self.kind} {self.ref}" if self.ref else "commit"
        return f"{console.printable(text)} {self.oid[:12]}"


def choose(flag: str | None, environ: Mapping[str, str], branch: str | None) -> Choice:
    """The flag, else the variable (an empty one counts as unset), else what is checked out.

    >>> choose(None, {}, "main").ref
    'main'
    >>> choose(None, {"SANDBOX_ITERATE_REPO_REF": "v1"}, "main")
    Choice(ref='v1', said_by='SANDBOX_ITERATE_REPO_REF')
    """
    if flag is not None:
        return Choice(flag, "--ref")
    if environ.get(VARIABLE):
        return Choice(environ[VARIABLE], VARIABLE)
    if branch:
        return Choice(f"refs/heads/{branch}", "the current branch")
    return Choice("HEAD", "the checked-out commit, on no branch")


def resolve(repo: git.Repo, ref: str) -> ResolvedRef:
    """The commit that `ref` names in this clone. Raises `BadInput` for anything but one commit."""
    name, steps = _split(ref)
    candidates = _candidates(repo, name)
    if not candidates:
        raise _unknown(repo, ref, name)
    commits = {c: _commit(repo, c.oid) for c in candidates}
    ids = {sha for sha in commits.values() if sha}
    if not ids:
        kind = repo.line("cat-file", "-t", candidates[0].oid)
        raise BadInput(f"{_quoted(ref)} is a {kind}, not a commit", fix="name a commit")
    if len(ids) > 1:
        descriptions = [str(c) for c, sha in commits.items() if sha]
        rest = f" and {len(descriptions) - _LISTED} more" if len(descriptions) > _LISTED else ""
        raise BadInput(
            f"{_quoted(ref)} is ambiguous: {', '.join(descriptions[:_LISTED])}{rest}",
            fix="name one of them in full (refs/heads/…, refs/tags/… or the whole id)",
        )
    first = next(c for c, sha in commits.items() if sha)
    sha = ids.pop()
    if steps:
        # From an id of our own making and digits: nothing that git could take for an option.
        sha = _line(repo, f"{sha}{steps}^{{commit}}")
        if not sha:
            raise BadInput(
                f"{_quoted(ref)} goes back further than this clone's history",
                fix="name a later commit; in a shallow clone, git fetch --unshallow first",
            )
        return ResolvedRef(sha, ref, "commit")
    return ResolvedRef(sha, _short(first, ref), first.kind, _branch(first))


def _split(ref: str) -> tuple[str, str]:
    if not ref.strip():
        raise BadInput("the ref is empty", fix="name a branch, a tag or a commit")
    if any(ord(c) < 32 or ord(c) == 127 for c in ref):
        raise BadInput(f"{_quoted(ref)} holds control characters", fix="name a branch or a commit")
    at = _end_of_name(ref)
    name, steps = ref[:at], ref[at:]
    for form, description in {"..": "a range", ":": "a path or a search", "@{": "a reflog's entry",
                       "^": "a form of its own"}.items():  # fmt: skip
        if form in name:
            raise BadInput(f"{_quoted(ref)} is {description}, not one commit", fix="name a commit")
    if name == "@" or (not name and steps):
        name = "HEAD"
    return name, steps


def _end_of_name(ref: str) -> int:
    """Where the steps begin that a ref ends with: of `main~1^`, 4."""
    end = at = len(ref)
    while at:
        at -= 1
        if ref[at] in "~^":
            end = at
        elif ref[at] not in "0123456789":
            break
    return end


def _candidates(repo: git.Repo, name: str) -> list[_Candidate]:
    """What of that name there is; names first that a person would mean first."""
    if name == "HEAD":
        oid = _line(repo, "HEAD^{commit}")
        return [_Candidate("HEAD", "HEAD", oid)] if oid else []
    refs = _all_refs(repo)
    full = [name] if name.startswith("refs/") else [f"refs/heads/{name}", f"refs/tags/{name}"]
    if name.startswith(("heads/", "tags/", "remotes/")):
        full.append(f"refs/{name}")
    candidates = [_Candidate(ref, _kind(ref), refs[ref]) for ref in full if ref in refs]
    if not candidates:
        candidates = [
            _Candidate(ref, "remote branch", oid)
            for ref, oid in refs.items()
            if ref.startswith("refs/remotes/") and _tails(ref, name)
        ]
    if _HEX.fullmatch(name):
        candidates += [_Candidate("", "commit", oid) for oid in _with_prefix(repo, name.lower())]
        exact = [c for c in candidates if c.oid == name.lower()]
        return exact or candidates
    return candidates


def _tails(ref: str, name: str) -> bool:
    rest = ref.removeprefix("refs/remotes/")
    return name in {rest, rest.partition("/")[2]} and not rest.endswith("/HEAD")


def _all_refs(repo: git.Repo) -> dict[str, str]:
    listed = repo.git("for-each-ref", "--format=%(objectname) %(refname)")
    lines = [os.fsdecode(line) for line in listed.split(b"\n") if line]
    return {line.partition(" ")[2]: line.partition(" ")[0] for line in lines}


def _with_prefix(repo: git.Repo, prefix: str) -> list[str]:
    """The commits, and annotated tags, whose ids begin so."""
    if len(prefix) in {40, 64}:
        return [prefix] if _line(repo, prefix + "^{object}") else []
    listed = repo.git("rev-parse", f"--disambiguate={prefix}", check=False).split()
    kinds = repo.git("cat-file", "--batch-check=%(objectname) %(objecttype)",
                     stdin=b"\n".join(listed) + b"\n")  # fmt: skip
    pairs = [line.split() for line in kinds.decode().splitlines()]
    commits = [pair[0] for pair in pairs if pair[1:] == ["commit"]]
    return commits or [pair[0] for pair in pairs if len(pair) == 2]


def _commit(repo: git.Repo, oid: str) -> str:
    return _line(repo, oid + "^{commit}")


def _line(repo: git.Repo, text: str) -> str:
    """`text` is made of ids, `HEAD` and steps alone; `--end-of-options` is the second lock."""
    return repo.line("rev-parse", "--verify", "--quiet", "--end-of-options", text, check=False)


def _kind(ref: str) -> Kind:
    for start, kind in _KINDS.items():
        if ref.startswith(start):
            return kind
    return "ref"


_KINDS: Final[Mapping[str, Kind]] = {
    "refs/heads/": "branch",
    "refs/remotes/": "remote branch",
    "refs/tags/": "tag",
}


def _branch(candidate: _Candidate) -> str | None:
    if candidate.kind == "branch":
        return candidate.ref.removeprefix("refs/heads/")
    if candidate.kind == "remote branch":
        return candidate.ref.removeprefix("refs/remotes/").partition("/")[2]
    return None


def _short(candidate: _Candidate, requested_ref: str) -> str:
    return _branch(candidate) or (
        candidate.ref.removeprefix("refs/tags/") if candidate.ref else requested_ref
    )


def _unknown(repo: git.Repo, ref: str, name: str) -> BadInput:
    names: dict[str, None] = {}
    for full in _all_refs(repo):
        short = re.sub(r"^refs/(heads|tags|remotes/[^/]+)/", "", full)
        if short != "HEAD":
            names[short] = None
    similar_names = difflib.get_close_matches(name, list(names), n=_CLOSE, cutoff=0.5)
    hint = f"; near it: {', '.join(map(console.printable, similar_names))}" if similar_names else ""
    option = name.startswith("-")
    problem = "looks like an option and is no branch" if option else "is not in this clone"
    return BadInput(
        f"{_quoted(ref)} {problem}{hint}",
        fix="check the name; git fetch gets what is only on the remote (that is never done here)",
    )


def _quoted(ref: str) -> str:
    return f"`{console.printable(ref[:200])}`"
