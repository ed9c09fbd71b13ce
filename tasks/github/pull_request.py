"""One pull request of ours, on a branch that nobody else works on, kept up to date.

A push with a workflow's token starts no workflow, so the checks of the branch are dispatched.
https://docs.github.com/actions/using-workflows/triggering-a-workflow
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.base import console
from tasks.base.errors import BadInput, CommandFailed, TaskError
from tasks.base.retry import RemoteFailed
from tasks.git import commits, remotes
from tasks.github.rest import segment

if TYPE_CHECKING:
    from tasks.git import Repo
    from tasks.github.rest import GitHubApi

Action = Literal["opened", "updated", "closed", "none"]

_LABEL: Final = "dependencies"
_AUTHOR: Final = "github-actions[bot]"
#: The bot's documented address, so that commits show its picture.
_EMAIL: Final = "41898282+github-actions[bot]@users.noreply.github.com"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is proposed: `tree` on top of the commit `parent`, with a title and a text."""

    parent: str
    tree: str
    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class PullRequestResult:
    """What was done; `number`, `url` and `sha` are None or "" where there is nothing."""

    action: Action
    branch: str
    number: int | None = None
    url: str = ""
    sha: str | None = None
    is_pushed: bool = False
    is_dispatched: bool = False

    def record(self) -> dict[str, Any]:
        """For the outputs of a step and for `--json`."""
        return {
            "changed": self.action in {"opened", "updated"},
            "action": self.action,
            "pull_request": self.number,
            "url": self.url,
            "branch": self.branch,
            "sha": self.sha,
            "pushed": self.is_pushed,
            "dispatched": self.is_dispatched,
        }


class ProposalBranch:
    """The branch of the pull request, in a clone and on its remote `origin`."""

    def __init__(self, repo: Repo, name: str) -> None:
        self._repo = repo
        self.name = name
        self._ref = f"refs/heads/{name}"

    def require_in_base(self, parent: str, base: str) -> None:
        """Raise `BadInput` unless `parent` is in the remote's branch `base`: whatever else is
        checked out would become a part of the pull request.
        """
        base_name = console.printable(base)
        tip = self._fetch(f"refs/heads/{base}")
        if not tip:
            raise BadInput(
                f"the remote `origin` has no branch {base_name}", fix="name another --base"
            )
        if self._repo.line("rev-list", "--max-count=1", f"{tip}..{parent}"):
            raise BadInput(
                f"the checked-out commit {parent[:12]} is not in {base_name}",
                fix=f"check out {base_name}, run bump_versions there",
            )

    def push(self, change: Change) -> tuple[str, bool]:
        """Returns the commit that the branch has, and whether it was pushed: a commit of the same
        tree and parent stays. Raises `TaskError` where somebody else has committed to the branch.
        """
        tip = self._own_tip()
        if tip:
            existing = commits.read(self._repo, tip)
            if (existing.tree, existing.parents) == (change.tree, (change.parent,)):
                return tip, False
        commit = remotes.run(
            self._repo, "commit-tree", change.tree, "-p", change.parent,
            stdin=change.title + "\n", who=_AUTHOR, email=_EMAIL,
        ).strip()  # fmt: skip
        self._push(tip, f"{commit}:{self._ref}")
        return commit, True

    def delete(self) -> None:
        """Delete it on the remote, if it exists."""
        if tip := self._own_tip():
            self._push(tip, f":{self._ref}")

    def _push(self, tip: str, refspec: str) -> None:
        lease = f"--force-with-lease={self._ref}:{tip}"
        self._remote("push", "--quiet", lease, "--", "origin", refspec)

    def _own_tip(self) -> str:
        tip = self._fetch(self._ref)
        if not tip:
            return ""
        committer = commits.read(self._repo, tip).committer
        if committer != remotes.NAME:
            raise TaskError(
                f"the branch {self.name} has a commit of {console.printable(committer)} on top:"
                " nothing is pushed over it",
                fix=f"merge it, or delete the branch {self.name}; then run it again",
            )
        return tip

    def _fetch(self, ref: str) -> str:
        """Where the remote's ref is, "" for nowhere; its commits are in the clone then."""
        listed = self._remote("ls-remote", "--", "origin", ref)
        tip = listed.partition("\t")[0].strip()
        if tip:
            options = ("--quiet", "--no-tags", "--no-write-fetch-head")
            self._remote("fetch", *options, "--", "origin", ref)
        return tip

    def _remote(self, *args: str) -> str:
        try:
            return remotes.run(self._repo, *args)
        except CommandFailed as error:
            raise TaskError(
                f"git {args[0]}: {_refusal(error)}", fix=self._advice(error.output)
            ) from None

    def _advice(self, output: str) -> str:
        """By what GitHub and git print when they refuse a push."""
        if "protected branch" in output or "GH006" in output or "GH013" in output:
            return (
                f"leave {self.name} out of the branch protection and the rulesets: only this"
                " session pushes to it"
            )
        if "stale info" in output or "fetch first" in output:
            return "somebody pushed to it at the same moment: run it again"
        if any(word in output for word in ("403", "401", "denied", "could not read Username")):
            return "the job needs permissions: contents: write, and GITHUB_TOKEN in its environment"
        return "check the remote `origin` and the token's permission contents: write"


def _refusal(error: CommandFailed) -> str:
    lines = [line.strip() for line in error.output.splitlines()]
    reasons = [line for line in lines if line.startswith(("remote: error:", "! [", "fatal:"))]
    return console.printable("; ".join(reasons[:3]) or error.last_line or error.what)[:300]


# ── the pull request ────────────────────────────────────────────────────────────────────────


def propose(
    api: GitHubApi, branch: ProposalBranch, change: Change, *, base: str, workflow: str
) -> PullRequestResult:
    """Push the change, open or update the pull request, and start its checks."""
    branch.require_in_base(change.parent, base)
    commit, is_new = branch.push(change)
    fields = {"title": change.title, "body": change.body, "base": base}
    existing = _find_open(api, branch.name)
    if existing is None:
        response = api.create(
            "opening the pull request", "{repo}/pulls", {**fields, "head": branch.name},
            existing=lambda: _find_open(api, branch.name),
        )  # fmt: skip
        _add_label(api, int(response["number"]))
    else:
        path = f"{{repo}}/pulls/{existing['number']}"
        response = api.ask("updating the pull request", "PATCH", path, body=fields)
    return PullRequestResult(
        action="updated" if existing else "opened",
        branch=branch.name,
        number=int(response["number"]),
        url=str(response.get("html_url") or ""),
        sha=commit,
        is_pushed=is_new,
        is_dispatched=_dispatch(api, workflow, branch.name, commit),
    )


def withdraw(api: GitHubApi, branch: ProposalBranch) -> PullRequestResult:
    """Close the pull request and delete its branch, as far as they exist."""
    existing = _find_open(api, branch.name)
    if existing is not None:
        path = f"{{repo}}/pulls/{existing['number']}"
        api.ask("closing the pull request", "PATCH", path, body={"state": "closed"})
    branch.delete()
    if existing is None:
        return PullRequestResult(action="none", branch=branch.name)
    url = str(existing.get("html_url") or "")
    return PullRequestResult(
        action="closed", branch=branch.name, number=int(existing["number"]), url=url
    )


def _find_open(api: GitHubApi, branch: str) -> Any | None:
    """Our open pull request. A fork may have a branch of the same name: the owner tells them
    apart.
    """
    pages = api.pages(
        "looking for the pull request", "{repo}/pulls",
        state="open", head=f"{api.access.owner}:{branch}",
    )  # fmt: skip
    return next(iter(pages), None)


def _add_label(api: GitHubApi, number: int) -> None:
    """GitHub makes a label that is missing; a label that may not be set is no failure."""
    path = f"{{repo}}/issues/{number}/labels"
    try:
        api.ask("labelling the pull request", "POST", path, body={"labels": [_LABEL]})
    except RemoteFailed as error:
        console.warn(str(error))


def _dispatch(api: GitHubApi, workflow: str, branch: str, commit: str) -> bool:
    """Start the checks of that commit, unless they have been started already."""
    path = f"{{repo}}/actions/workflows/{segment(workflow)}"
    try:
        runs = api.get("looking for its checks", f"{path}/runs", head_sha=commit, per_page=1)
        if runs["total_count"]:
            return False
        start = f"starting {workflow}"
        api.create(start, f"{path}/dispatches", {"ref": branch}, existing=lambda: None)
    except RemoteFailed as error:
        by_hand = f"gh workflow run {workflow} --ref {branch}"
        raise TaskError(
            f"the pull request is open, but its checks could not be started: {error.what}",
            fix=f"{error.fix or 'mend that'}; or by hand: {by_hand}",
        ) from None
    console.step(f"{workflow} is started on {branch}")
    return True
