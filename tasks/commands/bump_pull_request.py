"""Put what bump_versions changed into one pull request, kept up to date; close it when nothing is.

Only what bump_versions writes is committed (the Dockerfile's pins, their locks, package.json's
packageManager), on top of the checked-out commit, on a branch of its own, which nobody else may
have worked on. A push with a workflow's token starts no workflow: its checks are dispatched.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks import git
from tasks.base import ci, console, markdown, project
from tasks.base.errors import BadInput, CommandFailed, TaskError
from tasks.base.options import Once, Parser
from tasks.base.retry import RemoteFailed
from tasks.build import dockerfile
from tasks.bump import edit, locks, pins
from tasks.commands import bump_versions
from tasks.git import commits, indexfile, remotes
from tasks.github import job, rest

if TYPE_CHECKING:
    import argparse

    from tasks.git import Repo
    from tasks.github.rest import Api

BRANCH: Final = "bump-versions"
WORKFLOW: Final = "ci.yml"
LABEL: Final = "dependencies"
#: GitHub's limit for a body is 65536 characters.
_LONGEST: Final = 60_000
_WHO: Final = "github-actions[bot]"
#: Its documented address: commits show the bot's picture.
_EMAIL: Final = "41898282+github-actions[bot]@users.noreply.github.com"


def parse(arguments: list[str]) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser = Parser(
        prog="nox -s bump_pull_request --",
        description=first,
        allow_abbrev=False,
        epilog=f"{rest} Needs GITHUB_TOKEN (contents, pull-requests, actions: write) and"
        " GITHUB_REPOSITORY.",
    )
    parser.add_argument(
        "--markdown",
        action=Once,
        metavar="FILE",
        help="the pull request's text, as `bump_versions -- --markdown FILE` wrote it; else what"
        " bump_versions left in this job; else the pins that moved, with links",
    )
    parser.add_argument(
        "--base", action=Once, metavar="BRANCH", help="else the repository's default branch"
    )
    parser.add_argument(
        "--dispatch", action=Once, default=WORKFLOW, metavar="FILE", help="(%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    given = rest.access()
    body = _body(options.markdown)
    repo = git.open_repo(project.ROOT)
    bump = prepare(repo)
    with closing(rest.Api(given)) as api:
        base = options.base or str(api.get("looking at the repository", "{repo}")["default_branch"])
        if base == BRANCH:
            raise BadInput(f"{BRANCH} cannot be its own base", fix="name another --base")
        result = (
            _propose(api, repo, bump, base=base, body=body, workflow=options.dispatch)
            if bump
            else _withdraw(api, repo)
        )
    job.write_outputs(**result)
    number, url = result["pull_request"], result["url"]
    what = {
        "opened": f"pull request {number} is open: {url}",
        "updated": f"pull request {number} is up to date: {url}",
        "closed": f"nothing is to bump: pull request {number} is closed",
        "none": "nothing is to bump",
    }[str(result["action"])]
    console.good(what)
    link = f"[pull request {number}]({url})" if number else ""
    job.write_summary(f"### Bump of the pins: {result['action']} {link}")
    if options.json:
        console.emit_json(result)


def _body(path: str | None) -> str | None:
    if path is None:
        left = project.state_dir() / bump_versions.BODY
        if not (ci.is_github_job() and left.exists()):
            return None
        path = str(left)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise BadInput(
            f"--markdown {console.printable(path)} cannot be read",
            fix="nox -s bump_versions -- --markdown FILE writes it",
        ) from None
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "\n\n(cut)\n"


# ── the commit ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Bump:
    """`tree` on top of `parent`; `moved`: variable → version before and after."""

    parent: str
    tree: str
    moved: dict[str, tuple[str, str]]

    @property
    def title(self) -> str:
        named = ", ".join(f"{pins.short(n)} {new}" for n, (_, new) in self.moved.items())
        title = f"Bump {named}" if named else "Bring the pins' locks up to date"
        return title if len(title) <= 100 else f"Bump {len(self.moved)} pinned versions"

    @property
    def table(self) -> str:
        links = {pin.variable: pin for pin in pins.PINS}
        rows = [
            [markdown.plain(pins.short(name)), markdown.code(old), markdown.code(new),
             links[name].changes_in(new) if name in links else ""]
            for name, (old, new) in self.moved.items()
        ]  # fmt: skip
        return markdown.table(["pin", "from", "to", "changes"], rows)


def prepare(repo: Repo) -> Bump | None:
    """What bump_versions left in the working tree, as a tree of git's; None when it left nothing.

    The checkout's own index is not touched.
    """
    head, _ = git.head(repo)
    wanted = [project.DOCKERFILE, locks.FOLDER, edit.PACKAGE_JSON]
    there = [path for path in wanted if (repo.root / path).exists()]
    with tempfile.TemporaryDirectory(prefix="iterate-bump-") as folder:
        index = Path(folder) / "index"
        repo.git("read-tree", head, index=index)
        names = repo.git("ls-files", "-z", "--cached", "--others", "--", *there, index=index)
        present = [name for name in names.split(b"\0") if name]
        indexfile.update(repo, index, present=present, absent=())
        tree = os.fsdecode(repo.git("write-tree", index=index)).strip()
    if tree == repo.line("rev-parse", f"{head}^{{tree}}"):
        return None
    old = _pins(repo, head)
    new = _pins(repo, tree)
    moved = {n: (old.get(n, ""), v) for n, v in new.items() if old.get(n) != v}
    return Bump(parent=head, tree=tree, moved=moved)


def _pins(repo: Repo, treeish: str) -> dict[str, str]:
    text = repo.git("cat-file", "blob", f"{treeish}:{project.DOCKERFILE}").decode()
    return dict(dockerfile.pins(text))


# ── the branch ──────────────────────────────────────────────────────────────────────────────


def _tip(repo: Repo, branch: str = BRANCH) -> str:
    """Where the remote's branch is, "" for nowhere; its commits are here then."""
    ref = f"refs/heads/{branch}"
    listed = _remote(repo, "ls-remote", "--", "origin", ref)
    tip = listed.partition("\t")[0].strip()
    if tip:
        fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]
        _remote(repo, *fetch, "--", "origin", ref)
    return tip


def _refuse_unmerged(repo: Repo, bump: Bump, base: str) -> None:
    """What is checked out would come along: it has to be in the base already."""
    tip = _tip(repo, base)
    if not tip:
        raise BadInput(
            f"the remote `origin` has no branch {console.printable(base)}",
            fix="name another --base",
        )
    if repo.line("rev-list", "--max-count=1", f"{tip}..{bump.parent}"):
        raise BadInput(
            f"the checked-out commit {bump.parent[:12]} is not in {console.printable(base)}",
            fix=f"check out {console.printable(base)}, run bump_versions there",
        )


def _push(repo: Repo, bump: Bump, tip: str) -> tuple[str, bool]:
    """The commit that the branch has now, and whether that is news."""
    if tip:
        _refuse_others(repo, tip)
        same = repo.line("rev-parse", f"{tip}^{{tree}}") == bump.tree
        if same and commits.read(repo, tip).parents == (bump.parent,):
            return tip, False
    commit = remotes.run(
        repo, "commit-tree", bump.tree, "-p", bump.parent,
        stdin=bump.title + "\n", who=_WHO, email=_EMAIL,
    ).strip()  # fmt: skip
    _remote(repo, "push", "--quiet", f"--force-with-lease=refs/heads/{BRANCH}:{tip}", "--",
            "origin", f"{commit}:refs/heads/{BRANCH}")  # fmt: skip
    return commit, True


def _refuse_others(repo: Repo, tip: str) -> None:
    who = commits.read(repo, tip).committer
    if who != remotes.NAME:
        raise TaskError(
            f"the branch {BRANCH} has a commit of {console.printable(who)} on top: nothing is"
            " pushed over it",
            fix=f"merge it, or delete the branch {BRANCH}; then run it again",
        )


def _remote(repo: Repo, *args: str) -> str:
    try:
        return remotes.run(repo, *args)
    except CommandFailed as error:
        raise TaskError(f"git {args[0]}: {_said(error)}", fix=_advice(error.output)) from None


def _said(error: CommandFailed) -> str:
    lines = [line.strip() for line in error.output.splitlines()]
    told = [line for line in lines if line.startswith(("remote: error:", "! [", "fatal:"))]
    return console.printable("; ".join(told[:3]) or error.last_line or error.what)[:300]


def _advice(output: str) -> str:
    """By what GitHub and git say when they refuse a push."""
    if "protected branch" in output or "GH006" in output or "GH013" in output:
        return (
            f"leave {BRANCH} out of the branch protection and rulesets: only this session pushes"
            " to it"
        )
    if "stale info" in output or "fetch first" in output:
        return "somebody pushed to it at the same moment: run it again"
    if any(word in output for word in ("403", "401", "denied", "could not read Username")):
        return "the job needs permissions: contents: write, and GITHUB_TOKEN in its environment"
    return "check the remote `origin` and the token's permission contents: write"


# ── the pull request ────────────────────────────────────────────────────────────────────────


def _propose(
    api: Api, repo: Repo, bump: Bump, *, base: str, body: str | None, workflow: str
) -> dict[str, Any]:
    _refuse_unmerged(repo, bump, base)
    commit, pushed = _push(repo, bump, _tip(repo))
    told = {"title": bump.title, "body": body or bump.table, "base": base}
    there = _open(api)
    if there is None:
        said = api.create(
            "opening the pull request", "{repo}/pulls", {**told, "head": BRANCH},
            there=lambda: _open(api),
        )  # fmt: skip
        _label(api, int(said["number"]))
    else:
        said = api.ask("updating the pull request", "PATCH",
                       f"{{repo}}/pulls/{there['number']}", body=told)  # fmt: skip
    result = {
        "changed": True,
        "action": "updated" if there else "opened",
        "pull_request": int(said["number"]),
        "url": str(said.get("html_url") or ""),
        "branch": BRANCH,
        "sha": commit,
        "pushed": pushed,
    }
    return {**result, "dispatched": _dispatch(api, workflow, commit)}


def _open(api: Api) -> Any | None:
    """Our open pull request. One of a fork may have the same branch name: the owner counts."""
    found = api.pages(
        "looking for the pull request", "{repo}/pulls",
        state="open", head=f"{api.access.owner}:{BRANCH}",
    )  # fmt: skip
    return next(iter(found), None)


def _label(api: Api, number: int) -> None:
    """A label that is missing is made by GitHub; one that may not be set is no failure."""
    try:
        api.ask("labelling the pull request", "POST",
                f"{{repo}}/issues/{number}/labels", body={"labels": [LABEL]})  # fmt: skip
    except RemoteFailed as error:
        console.warn(str(error))


def _dispatch(api: Api, workflow: str, commit: str) -> bool:
    """Start the checks of that commit, unless they have been started before."""
    path = f"{{repo}}/actions/workflows/{rest.segment(workflow)}"
    try:
        runs = api.get("looking for its checks", f"{path}/runs", head_sha=commit, per_page=1)
        if runs["total_count"]:
            return False
        api.create(f"starting {workflow}", f"{path}/dispatches", {"ref": BRANCH},
                   there=lambda: None)  # fmt: skip
    except RemoteFailed as error:
        by_hand = f"gh workflow run {workflow} --ref {BRANCH}"
        raise TaskError(
            f"the pull request is there, but its checks could not be started: {error.what}",
            fix=f"{error.fix or 'mend that'}; or by hand: {by_hand}",
        ) from None
    console.step(f"{workflow} is started on {BRANCH}")
    return True


def _withdraw(api: Api, repo: Repo) -> dict[str, Any]:
    there = _open(api)
    if there is not None:
        api.ask("closing the pull request", "PATCH",
                f"{{repo}}/pulls/{there['number']}", body={"state": "closed"})  # fmt: skip
    tip = _tip(repo)
    if tip:
        _refuse_others(repo, tip)
        _remote(repo, "push", "--quiet", f"--force-with-lease=refs/heads/{BRANCH}:{tip}", "--",
                "origin", f":refs/heads/{BRANCH}")  # fmt: skip
    return {
        "changed": False,
        "action": "closed" if there else "none",
        "pull_request": int(there["number"]) if there else None,
        "url": str(there.get("html_url") or "") if there else "",
        "branch": BRANCH,
        "sha": None,
        "pushed": False,
        "dispatched": False,
    }
