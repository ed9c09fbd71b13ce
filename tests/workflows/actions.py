"""Stand-ins of the actions that our workflows use."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.support import repos
from tests.workflows.expressions import CannotRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.workflows.runner import WorkflowJob

Options = dict[str, str]
ActionStandIn = Callable[["WorkflowJob", Options], dict[str, str] | None]


def run(job: WorkflowJob, action: str, options: Options) -> dict[str, str]:
    """The outputs of `action`; raises `CannotRun` for one, or an option, that is not known."""
    if action not in ACTIONS:
        raise CannotRun(f"there is no stand-in of {action}")
    act, names = ACTIONS[action]
    if unknown := options.keys() - set(names.split()):
        raise CannotRun(f"{action}: with {sorted(unknown)}")
    return act(job, options) or {}


def _checkout(job: WorkflowJob, options: Options) -> None:
    """The ref, from the origin, and no credentials: a job that pushes says how."""
    if options.get("persist-credentials") != "false":
        raise CannotRun("checkout keeps the token in the clone")
    folder, ref = job.workspace, options.get("ref") or job.event.ref
    repos.git(folder, "init", "--quiet", "-b", "unborn", ".")
    repos.git(folder, "remote", "add", "origin", job.machine.origin)
    is_id = re.fullmatch(r"[0-9a-f]{40}", ref)
    branch = "" if is_id or ref.startswith("refs/pull/") else ref.removeprefix("refs/heads/")
    # The event's own ref is taken as it was then; another branch as it is now.
    sha = ref if is_id else job.event.sha
    if branch and ref != job.event.ref:
        listed = repos.git(folder, "ls-remote", "origin", f"refs/heads/{branch}")
        sha = listed.partition("\t")[0]
    all_refs = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    depth = options.get("fetch-depth", "1")
    refspecs = all_refs if depth == "0" else ()
    limit = () if depth == "0" else (f"--depth={depth}",)
    repos.git(folder, "fetch", "--quiet", *limit, "origin", *refspecs, sha)
    repos.git(folder, "checkout", "--quiet", *(("-B", branch) if branch else ("--detach",)), sha)
    if branch:
        repos.git(folder, "update-ref", f"refs/remotes/origin/{branch}", sha)


def _python(job: WorkflowJob, _options: Options) -> None:
    """An environment of its own, so that pip installs nothing into this machine's Python."""
    folder = job.machine.folder / "python"
    if not (folder / "bin" / "pip").exists():
        subprocess.run(["python3", "-m", "venv", str(folder)], check=True, timeout=120)
    job.path.append(str(folder / "bin"))


def _look_up(job: WorkflowJob, options: Options) -> dict[str, str]:
    """A branch's caches are its own; others see those of the base and of main alone."""
    if options.get("lookup-only") != "true":
        raise CannotRun("a cache is restored, not only looked up")
    refs = (job.event.ref, f"refs/heads/{job.event.base_ref}", "refs/heads/main")
    is_hit = any((ref, options["key"]) in job.machine.caches for ref in refs)
    return {"cache-hit": "true" if is_hit else ""}


def _save(job: WorkflowJob, options: Options) -> None:
    assert (job.workspace / options["path"]).exists()
    job.machine.caches.add((job.event.ref, options["key"]))


def _upload(job: WorkflowJob, options: Options) -> None:
    """Hidden files, and what is in hidden folders, only where that is asked for."""
    for path in options["path"].split():
        source = job.workspace / path
        for file in [source, *source.rglob("*")] if source.exists() else []:
            name = file.relative_to(job.workspace)
            is_hidden = any(part.startswith(".") for part in name.parts)
            if file.is_file() and (options.get("include-hidden-files") == "true" or not is_hidden):
                job.machine.artifacts[str(name)] = file.read_bytes()


#: Action → its stand-in, and the options that it knows.
ACTIONS: Final[Mapping[str, tuple[ActionStandIn, str]]] = {
    "actions/checkout": (_checkout, "ref fetch-depth persist-credentials"),
    "actions/setup-python": (_python, "python-version"),
    "actions/cache/restore": (_look_up, "key path lookup-only"),
    "actions/cache/save": (_save, "key path"),
    "actions/upload-artifact":
        (_upload, "name path include-hidden-files if-no-files-found retention-days"),
}  # fmt: skip
