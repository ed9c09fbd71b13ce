"""Is this the sandbox it is to be? Boot one, look, delete it: before anybody is told its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console, project
from tasks.base.errors import TaskError
from tasks.sandbox import diagnostics
from tasks.sandbox.run import Run
from tasks.sandbox.sandbox import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.sandbox.sandbox import Provider, Sandbox

_READY_IN: Final = 180.0
#: s6 must have been started by the image's entry point, wherever in the tree that is.
_ENTRYPOINT: Final = "s6-svscan"


class NotVerified(TaskError):
    code = "not-verified"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What was built. `identity` and `pins` are not compared where they are not known."""

    sha: str | None = None
    identity: str | None = None
    pins: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Verified:
    sha: str
    checked: list[str]


def look(provider: Provider, image: str, *, identity: str | None) -> str:
    """Verify a snapshot of which only the identity is known; the commit that is in it."""
    return verify(provider, image, Expected(identity=identity)).sha


def verify(provider: Provider, image: str, expected: Expected) -> Verified:
    """What was found to be right. Raises `NotVerified`; the sandbox is gone either way."""
    watch = console.Stopwatch()
    with Run(provider) as run, provider.create(Spec(image=image, purpose="verify"), run) as sandbox:
        try:
            sandbox.start()
            said = sandbox.wait_until_ready(timeout=_READY_IN)
            build = sandbox.read_json(project.BUILD_INFO)
            found = _differences(sandbox, said, build, expected)
        except TaskError as error:
            folder = diagnostics.folder_for(run.id, "verify", sandbox.name)
            diagnostics.collect(sandbox, folder, reason=str(error))
            raise NotVerified(
                f"a sandbox of {image} does not work: {error.what}", fix=f"see {folder}"
            ) from error
        if found:
            folder = diagnostics.folder_for(run.id, "verify", sandbox.name)
            diagnostics.collect(sandbox, folder, reason="\n".join(found))
            raise NotVerified(
                f"{image} is not what was built: {'; '.join(found)}", fix=f"see {folder}"
            )
    checked = ["services", "commit", "entry point", "clean tree"]
    checked += ["pins"] if expected.pins is not None else []
    console.good(f"verified in {watch}: {', '.join(checked)}")
    return Verified(sha=str(build["sha"]), checked=checked)


def _differences(
    sandbox: Sandbox, said: Mapping[str, Any], build: Mapping[str, Any], expected: Expected
) -> list[str]:
    """Where the sandbox is not as expected, in words; all that is wrong, not the first alone."""
    sha = expected.sha or build.get("sha")
    wrong = []

    def same(what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            wrong.append(f"{what} is {_shown(found)}, not {_shown(wanted)}")

    same("the commit the daemon names", said.get("sha"), sha)
    same("the commit of the build", build.get("sha"), sha)
    if expected.identity is not None:
        same("the identity", build.get("identity"), expected.identity)
    if expected.pins is not None:
        same("the set of pins", build.get("pins"), dict(expected.pins))
    for service in project.SERVICES:
        ready = (said.get("services") or {}).get(service, {}).get("ready")
        same(f"readiness of {service}", ready, True)
    same("the list of problems at its start", said.get("problems"), [])
    running = sandbox.exec(["pgrep", "-x", _ENTRYPOINT], check=False)
    if not running.ok:
        wrong.append(f"the entry point does not run: there is no {_ENTRYPOINT}")
    head = sandbox.exec(["git", "-C", project.REPO, "rev-parse", "HEAD"], check=False)
    same("the commit that is checked out", head.stdout.strip(), sha)
    status = sandbox.exec(["git", "-C", project.REPO, "status", "--porcelain"], check=False)
    same("what git status says", status.stdout, "")
    return wrong


def _shown(value: Any) -> str:
    return console.printable(json.dumps(value, default=str))[:200]
