"""Whether others have the commit that is published, and which way it moves a stage.

All of it is as far as this clone knows: nothing is fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.base import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks import git
    from tasks.build.source import Source
    from tasks.daytona.ledger_entry import LedgerEntry

#: Everybody's stages: what they use is to be found by everybody.
SHARED_STAGES: Final = frozenset({"prd", "stg"})


def remarks(repo: git.Repo, source: Source, stage: str) -> Iterator[str]:
    """What a person should know before a shared stage is moved to that commit."""
    if remark := absence_remark(repo, stage, source.sha):
        yield remark
    if stage not in SHARED_STAGES:
        return
    branch = source.ref.branch if source.ref and source.ref.kind == "branch" else None
    if branch:
        yield from _remarks_on_branch(repo, branch, source.sha)


def absence_remark(repo: git.Repo, stage: str, sha: str) -> str:
    """That others do not have the commit which a shared stage is moved to; "" where they do."""
    if stage not in SHARED_STAGES or _remote_branches(repo, "--contains", sha):
        return ""
    return (
        f"commit {sha[:12]} is on no remote branch that this clone knows: others cannot get what"
        f" {stage} runs → git push, or git fetch if it has been pushed"
    )


def _remarks_on_branch(repo: git.Repo, branch: str, sha: str) -> Iterator[str]:
    for ref in _remote_branches(repo):
        name = ref.removeprefix("refs/remotes/")
        if name.partition("/")[2] != branch:
            continue
        missing, ahead = count_commits(repo, sha, ref), count_commits(repo, ref, sha)
        if missing:
            also = f", and {_commits(ahead)} ahead of it" if ahead else ""
            yield console.printable(
                f"{branch} is {_commits(missing)} behind {name}{also} → git pull, or --ref {name}"
            )


def backward_remark(repo: git.Repo, stage: str, current: LedgerEntry, sha: str) -> str:
    """What a shared stage loses when it moves from what it uses to that commit; "" for nothing,
    or where this clone cannot tell.
    """
    if stage not in SHARED_STAGES or current.sha == sha:
        return ""
    missing, ahead = count_commits(repo, sha, current.sha), count_commits(repo, current.sha, sha)
    if not missing:
        return ""
    movement = "moves to another line of commits" if ahead else "moves back"
    return (
        f"{stage} {movement}: {sha[:12]} lacks {_commits(missing)} of what it uses,"
        f" {current.describe()}"
    )


def count_commits(repo: git.Repo, base: str, tip: str) -> int | None:
    """How many commits `tip` has that `base` has not; None where this clone lacks one of them."""
    count = repo.line("rev-list", "--count", "--end-of-options", f"{base}..{tip}", check=False)
    return int(count) if count.isdecimal() else None


def _remote_branches(repo: git.Repo, *options: str) -> list[str]:
    refs = repo.line("for-each-ref", "--format=%(refname)", *options, "refs/remotes", check=False)
    return [ref for ref in refs.splitlines() if not ref.endswith("/HEAD")]


def _commits(count: int | None) -> str:
    return f"{count} commit{'' if count == 1 else 's'}"
