"""What a person asks to be published, and what that turns out to be.

A `PublishRequest` is made of options and environment alone. `resolve` finds the commit that it
means, and the `ResolvedRequest` does not change any more: it names the snapshot, and it knows the
command that goes on with this very publication after an interrupt.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tasks import git
from tasks.base import console
from tasks.base.errors import BadInput
from tasks.base.options import CommandLine, Once, add_ref, add_stage, add_via, seconds
from tasks.base.project import DOCKERFILE, ROOT
from tasks.build import dockerfile, source
from tasks.build.image import BUILD_ARGS
from tasks.daytona import naming
from tasks.daytona.resources import Resources, add_resources, from_options
from tasks.git import commits, refs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from tasks.build.source import Source
    from tasks.daytona.naming import SnapshotName

Via = Literal["remote", "push"]

#: What Daytona's machines run: an image of another architecture is refused there.
PLATFORM: Final = "linux/amd64"
#: Seconds for all that happens at Daytona; the server's own limit for a build is 60 minutes.
DEADLINE: Final = 3900.0


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """`name` is one of a person's choice. `rebuild` is the id of a forced build: a build under
    another id, or under none, is not the one that is asked for.
    """

    stage: str
    ref: str | None = None
    branch: str | None = None
    via: Via = "remote"
    untested: bool = False
    name: str | None = None
    rebuild: str = ""
    timeout: float = DEADLINE
    only_forward: bool = False
    resources: Resources = field(default_factory=Resources)
    #: The command that asked for it.
    command_line: CommandLine | None = field(default=None, compare=False, repr=False)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """What to publish, where, and on which road."""
    add_ref(parser)
    add_stage(parser)
    add_via(parser)
    add_resources(parser)


def add_publishing_options(parser: argparse.ArgumentParser) -> None:
    """What else can be asked for when a stage is to be moved."""
    parser.add_argument(
        "--for-branch",
        action=Once,
        metavar="BRANCH",
        help="publish this branch at the stage of its own (dev-BRANCH), so that `snapshots --"
        " retire --branch` finds it; --ref and --stage take precedence",
    )
    parser.add_argument(
        "--untested",
        action="store_true",
        help="with --via push: push an image even if it has not passed local_test",
    )
    parser.add_argument("--name", action=Once, help="use this name instead of the generated one")
    parser.add_argument(
        "--force", action="store_true", help="build it anew even if it is there already"
    )
    parser.add_argument(
        "--rebuild",
        action=Once,
        type=rebuild_id,
        metavar="ID",
        help="go on with the forced build of this id, as an interrupted --force prints it",
    )
    parser.add_argument(
        "--only-forward",
        action="store_true",
        help="refuse to move prd or stg to a commit that lacks what it uses now",
    )
    parser.add_argument(
        "--timeout",
        action=Once,
        type=seconds,
        default=DEADLINE,
        metavar="SECONDS",
        help="how long to wait for Daytona (%(default)g)",
    )


def rebuild_id(text: str) -> str:
    if not naming.is_rebuild_id(text):
        raise ValueError
    return text


def read_request(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    *,
    stage: str,
    branch: str | None = None,
) -> PublishRequest:
    """What `options` of `parser` ask for; a parser need not have all of them."""
    values = vars(options)
    forced = values.get("force", False)
    return PublishRequest(
        stage=stage,
        ref=options.ref,
        branch=branch,
        via=options.via,
        untested=values.get("untested", False),
        name=values.get("name"),
        rebuild=values.get("rebuild") or (new_rebuild_id() if forced else ""),
        timeout=values.get("timeout", DEADLINE),
        only_forward=values.get("only_forward", False),
        resources=from_options(options, ROOT / "pyproject.toml"),
        command_line=CommandLine(parser, values),
    )


def new_rebuild_id() -> str:
    """Another one each second, and in a name as short as can be."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    number, text = int(time.time()), ""
    while number:
        number, digit = divmod(number, len(digits))
        text = digits[digit] + text
    return text


@dataclass(frozen=True, kw_only=True)
class ResolvedRequest:
    """A request whose commit is known. `branch` is the one it was made of, as far as that is
    known; `committed` is the commit's time in seconds since 1970; `changes` counts what is
    changed in the checkout and therefore not in it.
    """

    request: PublishRequest
    repo: git.Repo
    source: Source
    branch: str
    committed: float
    pins: Mapping[str, str]
    changes: int

    @property
    def generated_name(self) -> SnapshotName:
        return naming.name_for(
            stage=self.request.stage,
            committed=self.committed,
            identity=self.source.identity,
            rebuild=self.request.rebuild,
        )

    @property
    def snapshot_name(self) -> str:
        return self.request.name or str(self.generated_name)

    @property
    def resume_command(self) -> str:
        """What a person types to go on with this publication: the ref may have moved by then."""
        if self.request.command_line is None:
            return "the same command"
        values = {
            "ref": self.source.sha,
            "for_branch": self.branch or None,
            "stage": self.request.stage,
            "force": False,
            "rebuild": self.request.rebuild or None,
        }
        return str(self.request.command_line.replace(**values))


def resolve(request: PublishRequest, environment: Mapping[str, str]) -> ResolvedRequest:
    """Find the commit. Raises `BadInput`; asks nobody and changes nothing."""
    if request.name is not None:
        naming.check_name(request.name)
    repo = git.open_repo(ROOT)
    _head, current_branch = git.head(repo)
    ref = _branch_ref(repo, request.branch) if request.branch and not request.ref else request.ref
    choice = refs.choose(ref, environment, current_branch)
    resolved_ref = refs.resolve(repo, choice.ref)
    source_of_ref = source.from_ref(repo, resolved_ref, build_args=BUILD_ARGS, platform=PLATFORM)
    console.step(f"source: {resolved_ref.describe()}, from {choice.said_by}")
    changes = repo.count_changes()
    if changes:
        console.warn(f"{changes} uncommitted changes are not in it: a ref is published")
    for note in source_of_ref.tree.all_notes():
        console.warn(note)
    text = repo.git("cat-file", "blob", f"{source_of_ref.sha}:{DOCKERFILE}").decode()
    return ResolvedRequest(
        request=request,
        repo=repo,
        source=source_of_ref,
        branch=request.branch or resolved_ref.branch or "",
        committed=float(commits.read(repo, source_of_ref.sha).committed),
        pins=dockerfile.pins(text),
        changes=changes,
    )


def _branch_ref(repo: git.Repo, branch: str) -> str:
    """The branch, here or as the remote `origin` had it; a tag of that name is not meant."""
    candidates = [f"refs/heads/{branch}", f"refs/remotes/origin/{branch}"]
    for ref in candidates:
        try:
            refs.resolve(repo, ref)
        except BadInput:
            continue
        return ref
    return candidates[-1]
