"""What our workflows promise beyond what actionlint and zizmor look for. Pure: text → findings.

The promises are in CONTRIBUTING.md. A job with a secret carries one of the conditions in `GUARDS`,
word for word: what a condition would decide for a stranger's event is not worked out here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
_FOR_ALL_STEPS: Final = (
    "env", "defaults", "container", "services", "uses", "secrets", "strategy",
)  # fmt: skip


class Guard(NamedTuple):
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
        Guard("prd", frozenset({"push", "workflow_dispatch"})),
    "needs.plan.outputs.action == 'publish' && (github.event_name == 'workflow_dispatch'"
    f" || {_PULL_REQUEST_OF_OURS})":
        Guard("dev", _BRANCH_TRIGGERS),
    "needs.plan.outputs.action == 'retire' && (github.event_name == 'delete'"
    f" || {_PULL_REQUEST_OF_OURS})":
        Guard("dev", _BRANCH_TRIGGERS),
    "!github.event.repository.fork":
        Guard("dev", frozenset({"schedule", "workflow_dispatch"})),
}  # fmt: skip
ENVIRONMENTS: Final = {guard.environment for guard in GUARDS.values()}


class Finding(NamedTuple):
    """A promise that line `line` of the file breaks; `rule` is its name."""

    line: int
    rule: str
    message: str


# ── YAML ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Node:
    """A node of the file: its value (a text, a list or a mapping of nodes), and its line."""

    value: Any
    line: int

    def get(self, key: str) -> Node | None:
        """The node at a key; None where there is none, or this is no mapping."""
        node = self.value.get(key) if isinstance(self.value, dict) else None
        return node if isinstance(node, Node) else None

    def text(self, key: str) -> str:
        """The text at a key, "" for none."""
        node = self.get(key)
        return node.value if node and isinstance(node.value, str) else ""

    def elements(self, key: str) -> list[Node]:
        """The list at a key; one text counts as a list of it."""
        node = self.get(key)
        if node is None:
            return []
        return node.value if isinstance(node.value, list) else [node]

    def items(self) -> list[tuple[str, Node]]:
        """The pairs of a mapping, in order."""
        return list(self.value.items()) if isinstance(self.value, dict) else []

    def texts(self) -> Iterator[Node]:
        """Every text below, this one included."""
        if isinstance(self.value, str):
            yield self
        children = [child for _, child in self.items()] or self.value
        for child in children if isinstance(children, list) else []:
            yield from child.texts()

    def plain(self) -> Any:
        """The same without lines."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def parse(text: str) -> Node:
    """Read a file; every scalar stays the text that it is written as, so `on` is no truth value.

    Raises `yaml.YAMLError`, also for an empty file and for a key that stands twice.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        raise yaml.YAMLError("the file is empty")
    return _node(node)


def _node(node: yaml.Node) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        pairs: dict[str, Node] = {}
        for key, value in node.value:
            key_line = key.start_mark.line + 1
            if key.value in pairs:
                raise yaml.YAMLError(f"`{key.value}` stands twice, in line {key_line}")
            # The first line of a block is the one below its key.
            pairs[key.value] = Node(_node(value).value, key_line)
        return Node(pairs, line)
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(child) for child in node.value], line)
    return Node(str(node.value), line)


def condition(node: Node) -> str:
    """The `if:` of a job or a step as one line, without `${{ }}`; "" for none."""
    text = " ".join(node.text("if").split())
    return re.sub(r"^\$\{\{ (.*) \}\}$", r"\1", text)


# ── workflows ───────────────────────────────────────────────────────────────────────────────


def check_workflow(text: str) -> list[Finding]:
    """The findings in one file of .github/workflows."""
    try:
        workflow = parse(text)
    except yaml.YAMLError as error:
        return [Finding(1, "yaml", str(error).splitlines()[0])]
    jobs = workflow.get("jobs") or Node({}, 1)
    findings = list(_check_top(workflow))
    for name, job in jobs.items():
        findings += _check_job(name, job, workflow)
        for step in job.elements("steps"):
            findings += _check_step(step, text.splitlines())
    findings += _check_gate(workflow, jobs)
    return sorted(set(findings))


def _triggers(workflow: Node) -> dict[str, int]:
    """The events that start it, and their lines."""
    trigger = workflow.get("on") or Node({}, 1)
    if isinstance(trigger.value, dict):
        return {name: node.line for name, node in trigger.items()}
    return {node.value: trigger.line for node in workflow.elements("on")}


def _check_top(workflow: Node) -> Iterator[Finding]:
    permissions = workflow.get("permissions")
    if permissions is None or permissions.value != {}:
        line = permissions.line if permissions else 1
        yield Finding(line, "top-permissions", "`permissions: {}` belongs at the top")
    for trigger, line in _triggers(workflow).items():
        if trigger not in TRIGGERS:
            yield Finding(line, "trigger", f"`{trigger}` may run a stranger's input with secrets")
    for key in ("env", "defaults"):
        if node := workflow.get(key):
            yield Finding(node.line, "least-reach", f"`{key}` belongs to the step that needs it")
    if not workflow.get("jobs"):
        yield Finding(1, "yaml", "there is no job")


def _check_job(name: str, job: Node, workflow: Node) -> Iterator[Finding]:
    minutes = job.text("timeout-minutes")
    if not re.fullmatch(r"\d{1,3}", minutes) or int(minutes) > _LONGEST_MINUTES:
        line = (job.get("timeout-minutes") or job).line
        limit = f"may run {minutes} minutes" if minutes else "has no timeout-minutes"
        yield Finding(line, "timeout", f"job `{name}` {limit}")
    permissions = job.get("permissions")
    if permissions is None or not isinstance(permissions.value, dict):
        yield Finding((permissions or job).line, "job-permissions",
                      f"job `{name}` does not list its permissions")  # fmt: skip
    concurrency = job.get("concurrency") or workflow.get("concurrency") or Node({}, 1)
    if not (concurrency.get("group") and concurrency.get("cancel-in-progress")):
        yield Finding(job.line, "concurrency", f"job `{name}` is in no concurrency group")
    for key in _FOR_ALL_STEPS:
        if node := job.get(key):
            yield Finding(node.line, "least-reach", f"job `{name}` has `{key}` for all its steps")
    if not re.fullmatch(r"ubuntu-\d\d\.\d\d", job.text("runs-on")):
        line = (job.get("runs-on") or job).line
        yield Finding(line, "machine", f"job `{name}` does not name the version of its machine")
    if _holds_secret(job):
        yield from _check_secret(name, job, set(_triggers(workflow)))
    sessions = {session for step in job.elements("steps") for session in _sessions(step)}
    if sessions & _LEAVE_FILES and not any(map(_keeps_failures, job.elements("steps"))):
        yield Finding(job.line, "artifacts", f"job `{name}` keeps nothing of a failure")


def _holds_secret(job: Node) -> bool:
    """Whether it names a secret, or an environment that has one."""
    return bool(job.get("environment")) or any(_SECRET.search(node.value) for node in job.texts())


def _check_secret(name: str, job: Node, triggers: set[str]) -> Iterator[Finding]:
    environment = job.text("environment")
    line = (job.get("environment") or job).line
    is_production = any("--stage prd" in node.value for node in job.texts())
    if environment not in ENVIRONMENTS or (is_production and environment != "prd"):
        yield Finding(line, "environment", f"job `{name}` has a secret outside of its environment")
    guard = GUARDS.get(condition(job))
    if guard is None or guard.environment != environment or not triggers <= guard.triggers:
        line = (job.get("if") or job).line
        yield Finding(line, "guard", f"job `{name}` has a secret, and its `if:` is none of GUARDS"
                      " for its environment and the workflow's triggers")  # fmt: skip
    for step in job.elements("steps"):
        if step.text("uses").startswith("actions/cache"):
            yield Finding(step.line, "cache", f"job `{name}` has a secret, and a cache to poison")
    for node in job.texts():
        if "SANDBOX_BUILD_CACHE" in node.value:
            yield Finding(node.line, "cache", f"job `{name}` has a secret, and others' layers")


def _check_step(step: Node, lines: list[str]) -> Iterator[Finding]:
    uses, run = step.get("uses"), step.get("run")
    if uses and not _ACTION.fullmatch(uses.value):
        yield Finding(uses.line, "pinned", f"`{uses.value}` is not pinned by a full commit id")
    elif uses and not _VERSION.search(lines[uses.line - 1]):
        yield Finding(uses.line, "pinned", f"`{uses.value}` has no version as a comment")
    if uses and uses.value.startswith("actions/checkout@"):
        options = step.get("with") or Node({}, uses.line)
        if options.text("persist-credentials") != "false":
            yield Finding(options.line, "credentials", "checkout must not persist credentials")
    if run and "${{" in run.value:
        yield Finding(run.line, "injection", "an expression in `run:`; use `env:`")
    elif run and not _COMMAND.fullmatch(run.value.strip()):
        first_line = run.value.strip().splitlines()[0][:60]
        yield Finding(run.line, "run", f"not one session, nor pip's line: `{first_line}`")
    for key, node in step.items():
        if key in {"shell", "continue-on-error", "working-directory"}:
            yield Finding(node.line, "run", f"`{key}` does not belong to a step of one session")
        if key != "env" and any(_TOKEN_OR_SECRET.search(text.value) for text in node.texts()):
            yield Finding(node.line, "least-reach", f"a secret in `{key}`, not in `env`")


def _check_gate(workflow: Node, jobs: Node) -> Iterator[Finding]:
    """The checks of a pull request are judged by one job, which needs all others."""
    is_checks = "pull_request" in _triggers(workflow)
    if not is_checks or any(_holds_secret(job) for _, job in jobs.items()):
        return
    gate = jobs.get("gate")
    if gate is None:
        yield Finding(1, "gate", "the checks of a pull request need a job `gate`")
        return
    needed = {node.value for node in gate.elements("needs")}
    if missing := sorted(dict(jobs.items()).keys() - needed - {"gate"}):
        yield Finding(gate.line, "gate", f"the gate does not need {', '.join(missing)}")
    if condition(gate) != "always()":
        yield Finding(gate.line, "gate", "the gate must judge always(), or it counts as passed")


def _sessions(step: Node) -> list[str]:
    match = _COMMAND.fullmatch(step.text("run").strip())
    return match["sessions"].split() if match and match["sessions"] else []


def _keeps_failures(step: Node) -> bool:
    is_upload = step.text("uses").startswith("actions/upload-artifact@")
    return is_upload and condition(step) == "failure()"


# ── dependabot ──────────────────────────────────────────────────────────────────────────────


def check_dependabot(text: str) -> list[Finding]:
    """The findings in .github/dependabot.yml."""
    try:
        updates = parse(text).elements("updates")
    except yaml.YAMLError as error:
        return [Finding(1, "yaml", str(error).splitlines()[0])]
    missing = ECOSYSTEMS - {update.text("package-ecosystem") for update in updates}
    findings = [
        Finding(1, "dependabot", f"`{ecosystem}` is not kept up to date") for ecosystem in missing
    ]
    for update in updates:
        days = (update.get("cooldown") or Node({}, update.line)).text("default-days")
        if not days.isdecimal() or int(days) < _COOL_DOWN_DAYS:
            findings.append(Finding(update.line, "cool-down",
                                    f"releases younger than {_COOL_DOWN_DAYS} days may be"
                                    " proposed"))  # fmt: skip
    return sorted(findings)
