"""Runs a workflow's jobs on this machine, as GitHub would: conditions, outputs, files, commands.

The `run` steps are executed, in order, each job in an empty folder of its own. `uses:` steps are
answered by stand-ins, which are declared at the end; an action without one is an error.
What is GitHub's own: a job's `if`, `needs`, `env`, `outputs`, environments and their secrets, none
of which a fork's pull request gets; the workflow commands in what a step prints.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.github import expressions, workflow_rules
from tasks.github.expressions import Declared, Scope
from tests.support import github_runner, repos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Result = Literal["success", "failure", "cancelled", "skipped"]

#: What a job keeps of this machine's environment: how to reach the network and the engine.
KEPT: Final = re.compile(
    r"HOME|LANG|LC_.*|TZ|TMPDIR|PATH|DOCKER_.*|XDG_.*|.*_proxy|.*_PROXY|.*SSL.*|.*_CERTS?|.*CA_.*"
    r"|PIP_.*|UV_.*|(?i:npm_config_.*)"
)


class CannotRun(Exception):
    """The workflow asks for something that this runner does not know."""


@dataclass(kw_only=True)
class Event:
    """What happened. `sha` and `ref` are what GitHub would set for it."""

    name: str
    payload: dict[str, Any]
    sha: str
    ref: str
    head_ref: str = ""
    base_ref: str = ""

    @property
    def action(self) -> str:
        return str(self.payload.get("action", ""))

    @property
    def is_fork(self) -> bool:
        """Whether GitHub withholds the secrets, and lets the token only read."""
        if self.name != "pull_request":
            return False
        home = (self.payload["pull_request"]["head"].get("repo") or {}).get("full_name")
        return bool(home != self.payload["repository"]["full_name"])


@dataclass(kw_only=True)
class Machine:
    """Where jobs run, and what the repository's settings are. All of it is below `folder`."""

    folder: Path
    origin: str  # what `git clone` takes
    repository: str = "iterate/iterate"
    #: environment → its secrets; "" is the repository's own.
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    #: Laid over every job's environment.
    environment: dict[str, str] = field(default_factory=dict)
    #: First on PATH.
    tools: tuple[Path, ...] = ()
    api_url: str = "https://api.github.com"
    #: Makes the token of a job from its permissions.
    token: Callable[[Mapping[str, str]], str] = lambda _: f"ghs_{secrets.token_hex(18)}"
    runs: int = 0

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def cache(self, ref: str) -> Path:
        """A branch's caches are its own; others read those of the base and of main alone."""
        return self.folder / "caches" / re.sub(r"[^A-Za-z0-9]", "_", ref)


@dataclass
class Step:
    name: str
    ran: str
    outcome: Result
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    #: Workflow commands that counted: (name, data).
    commands: list[tuple[str, str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Job:
    name: str
    result: Result
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    environment: str = ""
    permissions: dict[str, str] = field(default_factory=dict)
    token: str = ""

    @property
    def ran(self) -> list[str]:
        """The commands that were executed."""
        return [step.ran for step in self.steps if step.outcome != "skipped"]

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps)

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps)


@dataclass
class Run:
    event: Event
    triggered: bool
    jobs: dict[str, Job] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def result(self) -> Result:
        results = {job.result for job in self.jobs.values()}
        if not results or results == {"skipped"}:
            return "skipped"
        return "failure" if "failure" in results else "success"

    @property
    def summary(self) -> str:
        return "".join(job.summary for job in self.jobs.values())

    @property
    def log(self) -> str:
        return "".join(job.log for job in self.jobs.values())

    @property
    def commands(self) -> list[tuple[str, str]]:
        return [c for job in self.jobs.values() for step in job.steps for c in step.commands]


def run(text: str, event: Event, machine: Machine) -> Run:
    """Run the workflow in `text` for `event`."""
    workflow = workflow_rules.parse(text).plain()
    done = Run(event, triggered=_triggered(workflow["on"], event))
    if not done.triggered:
        return done
    began = time.monotonic()
    machine.runs += 1
    folder = machine.folder / "runs" / str(machine.runs)
    folder.mkdir(parents=True)
    for name in _in_order(workflow["jobs"]):
        runner = _Job(name, workflow, event, machine, done.jobs, folder / name)
        done.jobs[name] = runner.run()
    done.seconds = time.monotonic() - began
    return done


def _triggered(on: Any, event: Event) -> bool:
    if isinstance(on, (str, list)):
        return event.name in on if isinstance(on, list) else event.name == on
    if event.name not in on:
        return False
    given = on[event.name] or {}
    known = {"types", "branches", "inputs"}
    if isinstance(given, dict) and given.keys() - known:
        raise CannotRun(f"on.{event.name}: {sorted(given.keys() - known)}")
    if not isinstance(given, dict):
        return True
    types = given.get("types")
    if event.name == "pull_request":
        types = types or ["opened", "synchronize", "reopened"]
    branch = (event.base_ref or event.ref).removeprefix("refs/heads/")
    return (not types or event.action in types) and branch in given.get("branches", [branch])


def _in_order(jobs: Mapping[str, Any]) -> Iterator[str]:
    done: list[str] = []
    while len(done) < len(jobs):
        ready = [n for n, job in jobs.items() if n not in done and set(_needs(job)) <= set(done)]
        if not ready:
            raise CannotRun(f"jobs need each other: {sorted(jobs.keys() - set(done))}")
        done += ready
        yield from ready


def _needs(job: Mapping[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


class _Job:
    """One job, from its condition to its outputs."""

    def __init__(
        self, name: str, workflow: dict[str, Any], event: Event, machine: Machine,
        before: Mapping[str, Job], folder: Path,
    ) -> None:  # fmt: skip
        self._name = name
        self._spec = workflow["jobs"][name]
        self._workflow = workflow
        self._event = event
        self._machine = machine
        self._before = {need: before[need] for need in _needs(self._spec)}
        self._all_before = before
        self.folder = folder
        self.workspace = folder / "workspace"
        self.temporary = folder / "temp"
        self._paths: list[str] = []
        self._env: dict[str, str] = {}
        self._steps: dict[str, Any] = {}
        self.done = Job(name, "success", folder=folder)
        self._permissions()

    def _permissions(self) -> None:
        given = self._spec.get("permissions", self._workflow.get("permissions", {}))
        self.done.permissions = {
            scope: "read" if self._event.is_fork and level == "write" else level
            for scope, level in dict(given or {}).items()
        }

    # ── contexts ────────────────────────────────────────────────────────────────────────────

    def _github(self) -> dict[str, Any]:
        event = self._event
        return {
            "event": event.payload, "event_name": event.name, "ref": event.ref, "sha": event.sha,
            "head_ref": event.head_ref, "base_ref": event.base_ref,
            "ref_name": event.ref.removeprefix("refs/heads/"),
            "repository": self._machine.repository, "workflow": self._workflow.get("name", ""),
            "run_id": str(1000 + self._machine.runs), "run_attempt": "1", "job": self._name,
            "token": self.done.token, "actor": "somebody",
        }  # fmt: skip

    def _scope(self, *, env: Mapping[str, str] | None = None, at_step: bool = False) -> Scope:
        results = {job.result for job in self._before.values()}
        failed = self.done.result == "failure" if at_step else "failure" in results
        fine = not failed if at_step else results <= {"success"}
        needs = {
            name: Declared(result=job.result, outputs=self._declared(name, job))
            for name, job in self._before.items()
        }
        contexts: dict[str, Any] = {
            "github": Declared(self._github()),
            "needs": Declared(needs),
            "vars": dict(self._machine.variables),
            "inputs": dict(self._event.payload.get("inputs") or {}),
            "env": dict(env or {}),
            "secrets": self._secrets(),
            "runner": Declared(temp=str(self.temporary), os="Linux", arch="X64"),
        }
        if at_step:
            contexts["steps"] = Declared(self._steps)
        functions = {
            "success": lambda: fine, "failure": lambda: failed, "always": lambda: True,
            "cancelled": lambda: False,
        }  # fmt: skip
        return Scope(contexts, functions)

    def _declared(self, name: str, job: Job) -> Declared:
        """A job's outputs; those of one that did not run are empty, and another name an error."""
        names = self._workflow["jobs"][name].get("outputs", {})
        return Declared({output: job.outputs.get(output, "") for output in names})

    def _secrets(self) -> dict[str, str]:
        token = {"GITHUB_TOKEN": self.done.token}
        if self._event.is_fork:
            return token
        given = self._machine.secrets
        return {**given.get("", {}), **given.get(self.done.environment, {}), **token}

    # ── running ─────────────────────────────────────────────────────────────────────────────

    def run(self) -> Job:
        if not expressions.condition(self._spec.get("if", "success()"), self._scope()):
            self.done.result = "skipped"
            return self.done
        known = {
            "name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "environment",
            "concurrency", "outputs", "steps",
        }  # fmt: skip
        if unknown := self._spec.keys() - known:
            raise CannotRun(f"job {self._name}: {sorted(unknown)}")
        self.done.environment = str(self._spec.get("environment", ""))
        self.done.token = self._machine.token(self.done.permissions)
        self._concurrency()
        self.workspace.mkdir(parents=True)
        self.temporary.mkdir()
        (self.folder / "event.json").write_text(json.dumps(self._event.payload))
        deadline = time.monotonic() + 60 * float(self._spec["timeout-minutes"])
        self._steps = {
            step["id"]: Declared(outcome="", outputs={})
            for step in self._spec["steps"]
            if "id" in step
        }
        for number, step in enumerate(self._spec["steps"]):
            self._step(number, step, deadline)
        outputs = self._spec.get("outputs", {})
        scope = self._scope(at_step=True)
        self.done.outputs = {
            name: expressions.shown(expressions.template(value, scope))
            for name, value in outputs.items()
        }
        return self.done

    def _concurrency(self) -> None:
        """Only that it can be worked out: nothing runs at once here."""
        for of in (self._workflow, self._spec):
            for value in (of.get("concurrency") or {}).values():
                expressions.template(value, self._scope())

    def _step(self, number: int, spec: dict[str, Any], deadline: float) -> None:
        known = {"name", "id", "if", "uses", "with", "run", "env"}
        if unknown := spec.keys() - known:
            raise CannotRun(f"a step of {self._name}: {sorted(unknown)}")
        scope = self._scope(at_step=True, env=self._env)
        what = spec.get("run") or spec.get("uses", "").partition("@")[0]
        step = Step(spec.get("name", ""), what.strip(), "skipped")
        self.done.steps.append(step)
        if expressions.condition(spec.get("if", "success()"), scope):
            given = {
                name: expressions.shown(expressions.template(value, scope))
                for name, value in (spec.get("env") or {}).items()
            }
            began = time.monotonic()
            if "run" in spec:
                script = str(expressions.template(spec["run"], scope))
                self._execute(number, step, script, given, deadline)
            else:
                options = {
                    name: expressions.shown(expressions.template(value, scope))
                    for name, value in (spec.get("with") or {}).items()
                }
                self._act(step, spec["uses"], options)
            step.seconds = time.monotonic() - began
        if step.outcome == "failure":
            self.done.result = "failure"
        if "id" in spec:
            self._steps[spec["id"]] = Declared(outcome=step.outcome, outputs=step.outputs)

    def _act(self, step: Step, uses: str, given: dict[str, str]) -> None:
        action = uses.partition("@")[0]
        if action not in ACTIONS:
            raise CannotRun(f"there is no stand-in of {action}")
        take, known = ACTIONS[action]
        if unknown := given.keys() - known:
            raise CannotRun(f"{action}: with {sorted(unknown)}")
        step.outcome = "success"
        step.outputs = take(self, given)

    def environment(self, given: Mapping[str, str], files: Mapping[str, Path]) -> dict[str, str]:
        event, machine = self._event, self._machine
        path = os.pathsep.join([*map(str, machine.tools), *self._paths, os.environ["PATH"]])
        return {
            **{name: value for name, value in os.environ.items() if KEPT.fullmatch(name)},
            **machine.environment,
            "PATH": path,
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "somebody",
            "GITHUB_API_URL": machine.api_url, "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_BASE_REF": event.base_ref, "GITHUB_HEAD_REF": event.head_ref,
            "GITHUB_EVENT_NAME": event.name, "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_JOB": self._name, "GITHUB_REF": event.ref, "GITHUB_SHA": event.sha,
            "GITHUB_REF_NAME": event.ref.removeprefix("refs/heads/"),
            "GITHUB_REPOSITORY": machine.repository,
            "GITHUB_REPOSITORY_OWNER": machine.repository.partition("/")[0],
            "GITHUB_RUN_ID": str(1000 + machine.runs), "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_NUMBER": str(machine.runs),
            "GITHUB_WORKFLOW": str(self._workflow.get("name", "")),
            "GITHUB_WORKSPACE": str(self.workspace), "RUNNER_TEMP": str(self.temporary),
            "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64",
            **{name: str(file) for name, file in files.items()},
            **self._env,
            **given,
        }  # fmt: skip

    def _execute(
        self, number: int, step: Step, script: str, given: dict[str, str], deadline: float
    ) -> None:
        names = ("OUTPUT", "STEP_SUMMARY", "ENV", "PATH", "STATE")
        files = {f"GITHUB_{name}": self.temporary / f"{number}-{name.lower()}" for name in names}
        for file in files.values():
            file.touch()
        path = self.temporary / f"{number}.sh"
        path.write_text(script)
        environment = self.environment(given, files)
        step.environment = given
        status, step.log = _bash(path, self.workspace, environment, deadline)
        obeyed = github_runner.commands(step.log)
        step.commands = [(command.name, command.data) for command in obeyed]
        step.outcome = "failure" if status else "success"
        step.outputs = github_runner.outputs(files["GITHUB_OUTPUT"].read_text()) | {
            command.properties["name"]: command.data
            for command in obeyed
            if command.name == "set-output"
        }
        step.summary = files["GITHUB_STEP_SUMMARY"].read_text()
        self._env |= github_runner.outputs(files["GITHUB_ENV"].read_text())
        self._paths[:0] = files["GITHUB_PATH"].read_text().splitlines()[::-1]


def _bash(
    script: Path, folder: Path, environment: dict[str, str], deadline: float
) -> tuple[int, str]:
    """As GitHub does where no shell is named."""
    child = subprocess.Popen(
        ["bash", "-e", str(script)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    timer = threading.Timer(
        max(deadline - time.monotonic(), 0.1), os.killpg, (child.pid, signal.SIGKILL)
    )
    timer.start()
    try:
        output, _ = child.communicate()
    except BaseException:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(30)
        raise
    finally:
        timer.cancel()
    return child.returncode, output.decode(errors="replace")


# ── actions ─────────────────────────────────────────────────────────────────────────────────


def git(at: Path, *args: str) -> str:
    command = ["git", "-C", str(at), *args]
    result = subprocess.run(
        command, env=repos.GIT_ENV, capture_output=True, check=False, timeout=120
    )
    if result.returncode:
        raise CannotRun(f"git {args}: {result.stderr.decode(errors='replace')}")
    return os.fsdecode(result.stdout).strip()


def _checkout(job: _Job, given: dict[str, str]) -> dict[str, str]:
    """The ref, from the origin, and no credentials: a job that wants to push says how."""
    if given.get("persist-credentials") != "false":
        raise CannotRun("checkout keeps the token in the clone")
    event, at = job._event, job.workspace
    git(at, "init", "--quiet", "-b", "unborn", ".")
    git(at, "remote", "add", "origin", job._machine.origin)
    ref = given.get("ref") or event.ref
    is_id = re.fullmatch(r"[0-9a-f]{40}", ref)
    branch = "" if is_id or ref.startswith("refs/pull/") else ref.removeprefix("refs/heads/")
    # Of the event's own ref, what it was then; of another branch, what it is now.
    if is_id:
        sha = ref
    elif ref == event.ref:
        sha = event.sha
    else:
        sha = git(at, "ls-remote", "origin", f"refs/heads/{branch}").partition("\t")[0]
    depth = given.get("fetch-depth", "1")
    if depth == "0":
        git(at, "fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*", sha)  # fmt: skip
    else:
        git(at, "fetch", "--quiet", f"--depth={depth}", "origin", sha)
    if branch:
        git(at, "checkout", "--quiet", "-B", branch, sha)
        git(at, "update-ref", f"refs/remotes/origin/{branch}", sha)
    else:
        git(at, "checkout", "--quiet", "--detach", sha)
    return {}


def _python(job: _Job, _given: dict[str, str]) -> dict[str, str]:
    """An environment of its own, so that pip installs nothing into this machine's Python."""
    at = job._machine.folder / "python"
    if not (at / "bin" / "pip").exists():
        subprocess.run(["python3", "-m", "venv", str(at)], check=True, timeout=120)
    job._paths.insert(0, str(at / "bin"))
    return {}


def _restore(job: _Job, given: dict[str, str]) -> dict[str, str]:
    event = job._event
    for ref in dict.fromkeys([event.ref, f"refs/heads/{event.base_ref}", "refs/heads/main"]):
        found = job._machine.cache(ref) / given["key"]
        if found.exists():
            if given.get("lookup-only") != "true":
                shutil.copytree(found, job.workspace / given["path"], dirs_exist_ok=True)
            return {"cache-hit": "true"}
    return {"cache-hit": ""}


def _save(job: _Job, given: dict[str, str]) -> dict[str, str]:
    into = job._machine.cache(job._event.ref) / given["key"]
    source = job.workspace / given["path"]
    if not source.exists():
        raise CannotRun(f"there is nothing at {given['path']} to be kept in the cache")
    shutil.copytree(source, into, dirs_exist_ok=True)
    return {}


def _upload(job: _Job, given: dict[str, str]) -> dict[str, str]:
    """Hidden files, and what is in hidden folders, only where that is said."""
    into = job._machine.artifacts / str(job._machine.runs) / given["name"]
    hidden = given.get("include-hidden-files") == "true"
    for pattern in given["path"].split():
        source = job.workspace / pattern
        for file in [source, *source.rglob("*")] if source.exists() else []:
            relative = file.relative_to(job.workspace)
            if file.is_file() and (hidden or not any(p.startswith(".") for p in relative.parts)):
                (into / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, into / relative)
    if not into.exists() and given.get("if-no-files-found") == "error":
        raise CannotRun(f"no files for {given['name']}")
    return {}


#: Action → its stand-in, and the inputs that it knows.
ACTIONS: Final[
    Mapping[str, tuple[Callable[[_Job, dict[str, str]], dict[str, str]], frozenset[str]]]
] = {
    "actions/checkout": (_checkout, frozenset({"ref", "fetch-depth", "persist-credentials"})),
    "actions/setup-python": (_python, frozenset({"python-version"})),
    "actions/cache/restore": (_restore, frozenset({"key", "path", "lookup-only"})),
    "actions/cache/save": (_save, frozenset({"key", "path"})),
    "actions/upload-artifact": (
        _upload,
        frozenset({"name", "path", "include-hidden-files", "if-no-files-found", "retention-days"}),
    ),
}
