"""Runs a workflow's jobs on this machine, in order, with the environment that GitHub gives them.

GitHub's expression language is not interpreted: what our workflows use of it is in `expressions`,
and stand-ins of their actions are in `actions`; anything else ends the rehearsal (`CannotRun`).
What is GitHub's own is done: a pull request of a fork gets no secret and a token that only reads,
and the runner obeys the commands in what a step prints.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks.github import workflow_rules
from tests.support import github_runner
from tests.workflows import expressions
from tests.workflows.expressions import CannotRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Result = Literal["success", "failure", "skipped"]

#: What a job keeps of this machine's environment: how to reach the network and the engine.
INHERITED: Final = re.compile(
    r"HOME|LANG|LC_.*|TZ|TMPDIR|PATH|DOCKER_.*|XDG_.*|.*_proxy|.*_PROXY|.*SSL.*|.*_CERTS?|.*CA_.*"
    r"|PIP_.*|UV_.*|(?i:npm_config_.*)"
)
_JOB_KEYS: Final = {
    "name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "environment",
    "concurrency", "outputs", "steps",
}  # fmt: skip
_STEP_KEYS: Final = {"name", "id", "if", "uses", "with", "run", "env"}


@dataclass(kw_only=True)
class Webhook:
    """What happened. `sha` and `ref` are what GitHub sets for it."""

    name: str
    payload: dict[str, Any]
    sha: str
    ref: str
    head_ref: str = ""
    base_ref: str = ""

    @property
    def is_fork(self) -> bool:
        """Whether GitHub withholds the secrets, and lets the token only read."""
        return self.name == "pull_request" and self.head_repository != self.repository

    @property
    def repository(self) -> str:
        return str(self.payload["repository"]["full_name"])

    @property
    def head_repository(self) -> str:
        """Of a pull request; "" for another event, and for a fork that was deleted."""
        head = self.payload.get("pull_request", {}).get("head", {})
        return str((head.get("repo") or {}).get("full_name", ""))


@dataclass(kw_only=True)
class Machine:
    """Where jobs run, and what the repository's settings are. All of it is below `folder`.

    `secrets`: environment → its secrets. `environment` is laid over every job's, `tools` come first
    on PATH. `token` makes the token of a job from its permissions.
    """

    folder: Path
    origin: str  # what `git clone` takes
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    tools: tuple[Path, ...] = ()
    api_url: str = "https://api.github.com"
    token: Callable[[Mapping[str, str]], str] = lambda _: f"ghs_{secrets.token_hex(18)}"
    #: (ref, key) of each cache that was saved.
    caches: set[tuple[str, str]] = field(default_factory=set)
    #: The files that jobs of the newest run have uploaded.
    artifacts: dict[str, bytes] = field(default_factory=dict)
    runs: int = 0


@dataclass
class WorkflowStep:
    """`command` is what `run:` or `uses:` has; `commands` the workflow commands that counted."""

    command: str
    outcome: Result = "skipped"
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    commands: list[tuple[str, str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class WorkflowSteps:
    """What steps wrote, one after the other."""

    steps: list[WorkflowStep] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps)

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps)


@dataclass(kw_only=True)
class WorkflowRun(WorkflowSteps):
    """A workflow that has ended; without jobs, the event did not start it."""

    event: Webhook
    jobs: dict[str, WorkflowJob] = field(default_factory=dict)

    @property
    def results(self) -> dict[str, Result]:
        """Job → how it ended."""
        return {name: job.result for name, job in self.jobs.items()}

    @property
    def failure(self) -> str:
        """The end of the log of the first job that failed."""
        logs = [job.log for job in self.jobs.values() if job.result == "failure"]
        return next(iter(logs), "")[-6000:]

    @property
    def result(self) -> Result:
        results = {*self.results.values()}
        if results <= {"skipped"}:
            return "skipped"
        return "failure" if "failure" in results else "success"


def run(text: str, event: Webhook, machine: Machine) -> WorkflowRun:
    """Run the workflow in `text` for `event`."""
    workflow = workflow_rules.parse(text)
    workflow_run = WorkflowRun(event=event)
    if _is_triggered(workflow["on"], event):
        machine.runs += 1
        machine.artifacts.clear()
        for name, spec in workflow["jobs"].items():
            job = WorkflowJob(name, spec, event, machine, workflow_run.jobs).run()
            workflow_run.jobs[name] = job
            workflow_run.steps += job.steps
    return workflow_run


def _is_triggered(triggers: dict[str, Any], event: Webhook) -> bool:
    options = triggers.get(event.name)
    if not isinstance(options, dict):
        return event.name in triggers
    if unknown := options.keys() - {"types", "branches", "inputs"}:
        raise CannotRun(f"on.{event.name}: {sorted(unknown)}")
    branch = (event.base_ref or event.ref).removeprefix("refs/heads/")
    action = event.payload.get("action")
    return action in options.get("types", [action]) and branch in options.get("branches", [branch])


class WorkflowJob(WorkflowSteps):
    """One job, from its condition to its outputs, which a skipped job has as well, empty."""

    event: Webhook

    def __init__(
        self, name: str, spec: dict[str, Any], event: Webhook, machine: Machine,
        earlier: Mapping[str, WorkflowJob],
    ) -> None:  # fmt: skip
        super().__init__()
        if unknown := spec.keys() - _JOB_KEYS:
            raise CannotRun(f"job {name}: {sorted(unknown)}")
        needs = spec.get("needs", [])
        self.name = name
        self.event = event
        self.machine = machine
        self.needs = {
            need: earlier[need] for need in (needs if isinstance(needs, list) else [needs])
        }
        self.result: Result = "success"
        self.environment = ""
        self.outputs: dict[str, str] = dict.fromkeys(spec.get("outputs", {}), "")
        self.permissions = {
            scope: "read" if event.is_fork and level == "write" else level
            for scope, level in spec["permissions"].items()
        }
        self.token = machine.token(self.permissions)
        self.default_branch = str(event.payload["repository"]["default_branch"])
        self.folder = machine.folder / "runs" / str(machine.runs) / name
        self.workspace = self.folder / "workspace"
        #: Id → the outputs of the steps that have one.
        self.by_id: dict[str, dict[str, str]] = {s["id"]: {} for s in spec["steps"] if "id" in s}
        self.path: list[str] = [*map(str, machine.tools)]
        self._spec = spec

    def output(self, need: str, name: str) -> str:
        """Of a job before this one."""
        return self.needs[need].outputs[name]

    def variable(self, name: str) -> str:
        return self.machine.variables.get(name, "")

    def secret(self, name: str) -> str:
        names = {} if self.event.is_fork else self.machine.secrets.get(self.environment, {})
        return names.get(name, "")

    def run(self) -> WorkflowJob:
        results = {need.result for need in self.needs.values()}
        if not expressions.decide(self, self._spec.get("if", ""), {*results}):
            self.result = "skipped"
            return self
        self.environment = str(self._spec.get("environment", ""))
        self.workspace.mkdir(parents=True)
        (self.folder / "temp").mkdir()
        (self.folder / "event.json").write_text(json.dumps(self.event.payload))
        deadline = time.monotonic() + 60 * float(self._spec["timeout-minutes"])
        for spec in self._spec["steps"]:
            self._run_step(spec, deadline)
        self.outputs = expressions.fill(self, self._spec.get("outputs", {}))
        return self

    def _run_step(self, spec: dict[str, Any], deadline: float) -> None:
        from tests.workflows import actions  # the stand-ins, which know this class

        if unknown := spec.keys() - _STEP_KEYS:
            raise CannotRun(f"a step of {self.name}: {sorted(unknown)}")
        step = WorkflowStep(str(spec.get("run") or spec["uses"].partition("@")[0]).strip())
        self.steps.append(step)
        if not expressions.decide(self, spec.get("if", ""), {self.result}):
            return
        watch = time.monotonic()
        if "run" in spec:
            step.environment = expressions.fill(self, spec.get("env", {}))
            self._execute(step, deadline)
        else:
            step.outputs = actions.run(
                self, step.command, expressions.fill(self, spec.get("with", {}))
            )
            step.outcome = "success"
        step.seconds = time.monotonic() - watch
        if step.outcome == "failure":
            self.result = "failure"
        if "id" in spec:
            self.by_id[spec["id"]] = step.outputs

    def _execute(self, step: WorkflowStep, deadline: float) -> None:
        if "${{" in step.command:
            raise CannotRun(f"an expression in a script: {step.command}")
        temporary = self.folder / "temp"
        names = ("OUTPUT", "STEP_SUMMARY", "ENV", "PATH", "STATE")
        files = {f"GITHUB_{name}": temporary / f"{len(self.steps)}-{name}" for name in names}
        for file in files.values():
            file.touch()
        script = temporary / f"{len(self.steps)}.sh"
        script.write_text(step.command)
        environment = {
            **dict(self._environment()),
            **{name: str(file) for name, file in files.items()},
            **step.environment,
        }
        status, step.log = _bash(script, self.workspace, environment, deadline)
        commands = github_runner.commands(step.log)
        step.commands = [(command.name, command.data) for command in commands]
        step.outcome = "failure" if status else "success"
        step.outputs = github_runner.outputs(files["GITHUB_OUTPUT"].read_text()) | {
            command.properties["name"]: command.data
            for command in commands
            if command.name == "set-output"
        }
        step.summary = files["GITHUB_STEP_SUMMARY"].read_text()
        # Sessions hand nothing to later steps in this way, so nothing foreign can reach them.
        for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"):
            assert not files[name].read_text(), name

    def _environment(self) -> Iterator[tuple[str, str]]:
        event, machine = self.event, self.machine
        yield from (
            (name, value) for name, value in os.environ.items() if INHERITED.fullmatch(name)
        )
        yield from machine.environment.items()
        yield "PATH", os.pathsep.join([*self.path, os.environ["PATH"]])
        yield from {
            "CI": "true", "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": machine.api_url, "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_BASE_REF": event.base_ref, "GITHUB_HEAD_REF": event.head_ref,
            "GITHUB_EVENT_NAME": event.name, "GITHUB_EVENT_PATH": f"{self.folder}/event.json",
            "GITHUB_JOB": self.name, "GITHUB_REF": event.ref, "GITHUB_SHA": event.sha,
            "GITHUB_REF_NAME": event.ref.removeprefix("refs/heads/"),
            "GITHUB_REPOSITORY": event.repository,
            "GITHUB_RUN_ID": str(1000 + machine.runs), "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": f"{self.folder}/temp",
        }.items()  # fmt: skip


def _bash(
    script: Path, folder: Path, environment: dict[str, str], deadline: float
) -> tuple[int, str]:
    """Status and output, as GitHub runs a script for which no shell is named."""
    child = subprocess.Popen(
        ["bash", "-e", str(script)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = child.communicate(timeout=max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
    except BaseException:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(30)
        raise
    return child.returncode, output.decode(errors="replace")
