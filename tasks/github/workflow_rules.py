"""What our workflows promise beyond what actionlint and zizmor look for. Pure: text → findings.

The promises are in CONTRIBUTING.md. A job with a secret carries one of the conditions in `GUARDS`,
word for word: what a condition would decide for a stranger's event is not worked out here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Others run with secrets on what a stranger sent, or start a run that does.
TRIGGERS: Final = {
    "pull_request", "push", "delete", "schedule", "workflow_dispatch", "merge_group",
}  # fmt: skip
ECOSYSTEMS: Final = {"github-actions", "pip", "npm", "docker"}
_COOL_DOWN_DAYS: Final = 7
_LONGEST_MINUTES: Final = 120
#: Sessions whose failure leaves files to look at.
_LEAVE_FILES: Final = {"snapshot_local", "local_test", "snapshot_daytona", "tests", "bump_versions"}

_ACTION: Final = re.compile(r"[\w.-]+/[\w.-]+(?:/[\w./-]+)?@[0-9a-f]{40}", re.ASCII)
_VERSION: Final = re.compile(r"#\s*v\d+(?:\.\d+)*\s*$", re.ASCII)
_WORD: Final = r"(?:[A-Za-z0-9_./=:,@+-]+|\"\$[A-Z_]+(?:/[a-z.-]+)?\")"
_COMMAND: Final = re.compile(
    rf"pip install --require-hashes -r requirements/nox\.txt"
    rf"|nox -s (?P<sessions>[a-z_]+(?: [a-z_]+)*)(?: --(?: {_WORD})+)?"
    rf"(?: > \"\$RUNNER_TEMP/[a-z.-]+\")?",
    re.ASCII,
)
_TOKEN_OR_SECRET: Final = re.compile(r"\bsecrets\b|\bgithub\s*\.\s*token\b", re.IGNORECASE)
_SECRET: Final = re.compile(r"\bsecrets\b", re.IGNORECASE)
#: What a job or a workflow must leave to the steps that need it.
_FOR_ALL_STEPS: Final = {
    "env", "defaults", "container", "services", "uses", "secrets", "strategy",
}  # fmt: skip


class SecretGuard(NamedTuple):
    """The environment that a condition protects, and the triggers for which it does."""

    environment: str
    triggers: frozenset[str]


_PULL_REQUEST_OF_OURS: Final = "github.event.pull_request.head.repo.full_name == github.repository"
_BRANCH_TRIGGERS: Final = frozenset({"pull_request", "delete", "workflow_dispatch"})
#: Condition of a job with a secret → what it protects. Each is false for every fork: for a pull
#: request from one (whose repository is another, or null), and for a run in a fork itself. The one
#: of production is false for every branch but main.
GUARDS: Final = {
    "needs.plan.outputs.action == 'publish' && github.ref == 'refs/heads/main'"
    " && !github.event.repository.fork":
        SecretGuard("prd", frozenset({"push", "workflow_dispatch"})),
    "needs.plan.outputs.action == 'publish' && (github.event_name == 'workflow_dispatch'"
    f" || {_PULL_REQUEST_OF_OURS})":
        SecretGuard("dev", _BRANCH_TRIGGERS),
    "needs.plan.outputs.action == 'retire' && (github.event_name == 'delete'"
    f" || {_PULL_REQUEST_OF_OURS})":
        SecretGuard("dev", _BRANCH_TRIGGERS),
    "!github.event.repository.fork":
        SecretGuard("dev", frozenset({"schedule", "workflow_dispatch"})),
}  # fmt: skip
ENVIRONMENTS: Final = {guard.environment for guard in GUARDS.values()}


class Violation(NamedTuple):
    """A promise that line `line` of the file breaks; `rule` is its name."""

    line: int
    rule: str
    message: str


# ── YAML ────────────────────────────────────────────────────────────────────────────────────


class Text(str):
    """A scalar as it is written, so `on` is no truth value, and its line."""

    __slots__ = ("line",)
    line: int


class _Loader(yaml.BaseLoader):
    def construct_scalar(self, node: yaml.ScalarNode) -> Text:
        text = Text(super().construct_scalar(node))
        text.line = node.start_mark.line + 1
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        names = [key.value for key, _ in node.value]
        for (key, _), count in zip(node.value, map(names.count, names), strict=True):
            if count > 1:
                raise yaml.YAMLError(f"`{key.value}` stands twice: line {key.start_mark.line + 1}")
        return super().construct_mapping(node, deep=deep)


def parse(text: str) -> dict[str, Any]:
    """Read a file into dicts and lists of `Text`.

    Raises `yaml.YAMLError`, also for a file that is no mapping and for a key that stands twice.
    """
    content = yaml.load(text, _Loader)  # noqa: S506 - makes texts, lists and dicts alone
    if not isinstance(content, dict):
        raise yaml.YAMLError("the file is empty")
    return content


def _texts(node: Any) -> Iterator[Text]:
    """Every text in it, keys included."""
    if isinstance(node, Text):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from (key, *_texts(value))
    else:
        for item in node:
            yield from _texts(item)


def _line(node: Any, default: int = 1) -> int:
    """Of the first text in it."""
    return next((text.line for text in _texts(node)), default)


def _listed(value: Any) -> list[Any]:
    """A list, or the names of a mapping; one text counts as a list of it."""
    return [value] if isinstance(value, str) else list(value)


def condition_of(text: str) -> str:
    """The `if:` of a job or a step as one line, without `${{ }}`."""
    return re.sub(r"^\$\{\{ (.*) \}\}$", r"\1", " ".join(text.split()))


# ── workflows ───────────────────────────────────────────────────────────────────────────────


def check_workflow(text: str) -> list[Violation]:
    """The findings in one file of .github/workflows."""
    try:
        workflow = parse(text)
    except yaml.YAMLError as error:
        return [Violation(1, "yaml", str(error).splitlines()[0])]
    findings = list(_check_top(workflow))
    for name, job in workflow.get("jobs", {}).items():
        findings += _check_job(name, job, workflow)
        for step in job.get("steps", []):
            findings += _check_step(step, text.splitlines())
    findings += _check_gate(workflow)
    return sorted(set(findings))


def _triggers(workflow: dict[str, Any]) -> list[Text]:
    """The events that start it."""
    return _listed(workflow.get("on", []))


def _check_top(workflow: dict[str, Any]) -> Iterator[Violation]:
    if workflow.get("permissions") != {}:
        line = _line(workflow.get("permissions", []))
        yield Violation(line, "top-permissions", "`permissions: {}` belongs at the top")
    for trigger in _triggers(workflow):
        if trigger not in TRIGGERS:
            message = f"`{trigger}` may run a stranger's input with secrets"
            yield Violation(trigger.line, "trigger", message)
    for key in ("env", "defaults"):
        if key in workflow:
            line = _line(workflow[key])
            yield Violation(line, "least-reach", f"`{key}` belongs to the step that needs it")
    if not workflow.get("jobs"):
        yield Violation(1, "yaml", "there is no job")


def _check_job(name: Text, job: dict[str, Any], workflow: dict[str, Any]) -> Iterator[Violation]:
    minutes = job.get("timeout-minutes", "")
    if not re.fullmatch(r"\d{1,3}", minutes) or int(minutes) > _LONGEST_MINUTES:
        limit = f"may run {minutes} minutes" if minutes else "has no timeout-minutes"
        yield Violation(_line(minutes or name), "timeout", f"job `{name}` {limit}")
    if not isinstance(job.get("permissions"), dict):
        yield Violation(name.line, "job-permissions", f"job `{name}` does not list its permissions")
    concurrency = job.get("concurrency") or workflow.get("concurrency") or {}
    if not {"group", "cancel-in-progress"} <= {*concurrency}:
        yield Violation(name.line, "concurrency", f"job `{name}` is in no concurrency group")
    for key in _FOR_ALL_STEPS & job.keys():
        line = _line(job[key], name.line)
        yield Violation(line, "least-reach", f"job `{name}` has `{key}` for all its steps")
    if not re.fullmatch(r"ubuntu-\d\d\.\d\d", machine := job.get("runs-on", "")):
        line = _line(machine or name)
        yield Violation(line, "machine", f"job `{name}` does not name the version of its machine")
    if _holds_secret(job):
        yield from _check_secret(name, job, {*_triggers(workflow)})
    steps = job.get("steps", [])
    sessions = {session for step in steps for session in _sessions(step)}
    if sessions & _LEAVE_FILES and not any(map(_keeps_failures, steps)):
        yield Violation(name.line, "artifacts", f"job `{name}` keeps nothing of a failure")


def _holds_secret(job: dict[str, Any]) -> bool:
    """Whether it names a secret, or an environment that has one."""
    return "environment" in job or any(_SECRET.search(text) for text in _texts(job))


def _check_secret(name: Text, job: dict[str, Any], triggers: set[Text]) -> Iterator[Violation]:
    environment = job.get("environment", "")
    is_production = any("--stage prd" in text for text in _texts(job))
    if environment not in ENVIRONMENTS or (is_production and environment != "prd"):
        line = _line(environment or name)
        yield Violation(
            line, "environment", f"job `{name}` has a secret outside of its environment"
        )
    guard = GUARDS.get(condition_of(job.get("if", "")))
    if guard is None or guard.environment != environment or not triggers <= guard.triggers:
        line = _line(job.get("if", name))
        yield Violation(line, "guard", f"job `{name}` has a secret, and its `if:` is none of GUARDS"
                      " for its environment and the workflow's triggers")  # fmt: skip
    for text in _texts(job):
        if text.startswith("actions/cache"):
            yield Violation(text.line, "cache", f"job `{name}` has a secret, and a cache to poison")
        if "SANDBOX_BUILD_CACHE" in text:
            yield Violation(text.line, "cache", f"job `{name}` has a secret, and others' layers")


def _check_step(step: dict[Any, Any], lines: list[str]) -> Iterator[Violation]:
    uses = step.get("uses", Text())
    run = step.get("run", Text())
    if uses and not _ACTION.fullmatch(uses):
        yield Violation(uses.line, "pinned", f"`{uses}` is not pinned by a full commit id")
    elif uses and not _VERSION.search(lines[uses.line - 1]):
        yield Violation(uses.line, "pinned", f"`{uses}` has no version as a comment")
    options = step.get("with", {})
    if uses.startswith("actions/checkout@") and options.get("persist-credentials") != "false":
        yield Violation(uses.line, "credentials", "checkout must not persist credentials")
    if "${{" in run:
        yield Violation(_line(run), "injection", "an expression in `run:`; use `env:`")
    elif run and not _COMMAND.fullmatch(run.strip()):
        first_line = run.strip().splitlines()[0][:60]
        yield Violation(_line(run), "run", f"not one session, nor pip's line: `{first_line}`")
    for key, value in step.items():
        if key in {"shell", "continue-on-error", "working-directory"}:
            yield Violation(key.line, "run", f"`{key}` does not belong to a step of one session")
        if key != "env" and any(_TOKEN_OR_SECRET.search(text) for text in _texts(value)):
            yield Violation(key.line, "least-reach", f"a secret in `{key}`, not in `env`")


def _check_gate(workflow: dict[str, Any]) -> Iterator[Violation]:
    """The checks of a pull request are judged by one job, which needs all others."""
    jobs = workflow.get("jobs", {})
    if "pull_request" not in _triggers(workflow) or any(map(_holds_secret, jobs.values())):
        return
    gate = jobs.get("gate", {})
    line = _line(gate)
    if missing := sorted(jobs.keys() - {*_listed(gate.get("needs", []))} - {"gate"}):
        yield Violation(line, "gate", f"a job `gate` must need {', '.join(missing)}")
    if condition_of(gate.get("if", "")) != "always()":
        yield Violation(line, "gate", "the gate must judge always(), or it counts as passed")


def _sessions(step: dict[str, Any]) -> list[str]:
    match = _COMMAND.fullmatch(step.get("run", "").strip())
    return match["sessions"].split() if match and match["sessions"] else []


def _keeps_failures(step: dict[str, Any]) -> bool:
    is_upload = step.get("uses", "").startswith("actions/upload-artifact@")
    return is_upload and condition_of(step.get("if", "")) == "failure()"


# ── dependabot ──────────────────────────────────────────────────────────────────────────────


def check_dependabot(text: str) -> list[Violation]:
    """The findings in .github/dependabot.yml."""
    try:
        updates = parse(text).get("updates", [])
    except yaml.YAMLError as error:
        return [Violation(1, "yaml", str(error).splitlines()[0])]
    missing = ECOSYSTEMS - {update.get("package-ecosystem") for update in updates}
    findings = [Violation(1, "dependabot", f"`{name}` is not kept up to date") for name in missing]
    for update in updates:
        days = update.get("cooldown", {}).get("default-days", "")
        if not days.isdecimal() or int(days) < _COOL_DOWN_DAYS:
            message = f"releases younger than {_COOL_DOWN_DAYS} days may be proposed"
            findings.append(Violation(_line(update), "cool-down", message))
    return sorted(findings)
