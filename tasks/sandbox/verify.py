"""Is this the sandbox it is to be? Boot one, look, delete it, before anybody learns its name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console, project
from tasks.base.errors import TaskError
from tasks.sandbox import diagnostics
from tasks.sandbox.run import Run
from tasks.sandbox.values import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.sandbox.provider import Provider
    from tasks.sandbox.sandbox import Sandbox

#: Seconds until the sandbox must be ready.
_READINESS_TIMEOUT: Final = 180.0
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
    """What was checked. Raises `NotVerified`; the sandbox is gone either way."""
    watch = console.Stopwatch()
    with Run(provider) as run, provider.create(Spec(image=image, purpose="verify"), run) as sandbox:
        folder = diagnostics.folder_for(run.id, "verify", sandbox.name)
        try:
            sandbox.start()
            readiness = sandbox.wait_until_ready(timeout=_READINESS_TIMEOUT)
            build = sandbox.read_json(project.BUILD_INFO)
            differences = _differences(sandbox, readiness, build, expected)
        except TaskError as error:
            diagnostics.collect(sandbox, folder, reason=str(error))
            raise NotVerified(
                f"a sandbox of {image} does not work: {error.what}", fix=f"see {folder}"
            ) from error
        if differences:
            diagnostics.collect(sandbox, folder, reason="\n".join(differences))
            raise NotVerified(
                f"{image} is not what was built: {'; '.join(differences)}", fix=f"see {folder}"
            )
    checked = ["services", "commit", "entry point", "clean tree"]
    checked += ["pins"] if expected.pins is not None else []
    console.good(f"verified in {watch}: {', '.join(checked)}")
    return Verified(sha=str(build["sha"]), checked=checked)


@dataclass
class _Comparison:
    differences: list[str] = field(default_factory=list)

    def compare(self, subject: str, actual: Any, expected: Any) -> None:
        if actual != expected:
            self.differences.append(f"{subject} is {_text(actual)}, not {_text(expected)}")


def _differences(
    sandbox: Sandbox, readiness: Mapping[str, Any], build: Mapping[str, Any], expected: Expected
) -> list[str]:
    """Where the sandbox is not as expected, in words; all that is wrong, not the first alone."""
    sha = expected.sha or build.get("sha")
    result = _Comparison()
    result.compare("the commit the daemon names", readiness.get("sha"), sha)
    result.compare("the commit of the build", build.get("sha"), sha)
    if expected.identity is not None:
        result.compare("the identity", build.get("identity"), expected.identity)
    if expected.pins is not None:
        result.compare("the set of pins", build.get("pins"), dict(expected.pins))
    for service in project.SERVICES:
        is_ready = (readiness.get("services") or {}).get(service, {}).get("ready")
        result.compare(f"readiness of {service}", is_ready, True)
    result.compare("the list of problems at its start", readiness.get("problems"), [])
    if not sandbox.exec(["pgrep", "-x", _ENTRYPOINT], check=False).ok:
        result.differences.append(f"the entry point does not run: there is no {_ENTRYPOINT}")
    head = sandbox.exec(["git", "-C", project.REPO, "rev-parse", "HEAD"], check=False)
    result.compare("the commit that is checked out", head.stdout.strip(), sha)
    status = sandbox.exec(["git", "-C", project.REPO, "status", "--porcelain"], check=False)
    result.compare("what git status says", status.stdout, "")
    return result.differences


def _text(value: Any) -> str:
    return console.printable(json.dumps(value, default=str))[:200]
