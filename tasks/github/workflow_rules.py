"""What our workflows promise beyond what actionlint and zizmor look for. Pure: text → findings.

The promises are in CONTRIBUTING.md. Conditions are not compared as text but worked out, for an
event of a fork and for another branch than main: a job that has a secret must not run on either.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from tasks.github import expressions
from tasks.github.expressions import BadExpression, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ACTION: Final = re.compile(r"[\w.-]+/[\w.-]+(?:/[\w./-]+)?@[0-9a-f]{40}", re.ASCII)
_VERSION: Final = re.compile(r"#\s*v\d+(?:\.\d+)*\s*$", re.ASCII)
_REPO: Final = "iterate/iterate"

#: Others run with secrets on what a stranger sent, or start a run that does.
TRIGGERS: Final = {
    "pull_request", "push", "delete", "schedule", "workflow_dispatch", "merge_group",
}  # fmt: skip
#: Environments that hold the key.
ENVIRONMENTS: Final = {"prd", "dev"}
#: Sessions whose failure leaves something to look at.
_LEAVES: Final = {
    "snapshot_local", "local_test", "snapshot_daytona", "stand_in_test", "bump_versions",
}  # fmt: skip
_LONGEST_MINUTES: Final = 120

_WORD: Final = r"(?:[A-Za-z0-9_./=:,@+-]+|\"\$[A-Z_]+(?:/[a-z.-]+)?\")"
_COMMAND: Final = re.compile(
    rf"pip install --require-hashes -r requirements/nox\.txt"
    rf"|nox -s (?P<sessions>[a-z_]+(?: [a-z_]+)*)(?: --(?: {_WORD})+)?"
    rf"(?: > \"\$RUNNER_TEMP/[a-z.-]+\")?",
    re.ASCII,
)
_SECRET: Final = re.compile(r"\bsecrets\b|\bgithub\s*\.\s*token\b", re.IGNORECASE)
_KEY: Final = re.compile(r"\bsecrets\b", re.IGNORECASE)

ECOSYSTEMS: Final = {"github-actions", "pip", "npm", "docker"}
_COOL_DOWN: Final = 7


@dataclass(frozen=True, order=True)
class Finding:
    line: int
    rule: str
    what: str


@dataclass(frozen=True)
class At:
    """A node of the file: its value, and the line it stands on."""

    value: Any
    line: int

    def get(self, key: str) -> At | None:
        """The value of a key; None where there is none, or this is no mapping."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if isinstance(found, At) else None

    def items(self) -> Iterator[tuple[str, At]]:
        if isinstance(self.value, dict):
            yield from self.value.items()

    def __iter__(self) -> Iterator[At]:
        if isinstance(self.value, list):
            yield from self.value

    def texts(self) -> Iterator[At]:
        """Every text below, this one included."""
        if isinstance(self.value, str):
            yield self
        children = self.value.values() if isinstance(self.value, dict) else self
        for child in children:
            yield from child.texts()

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def parse(text: str) -> At:
    """The file, every scalar as the text it is written as: `on` is no truth value."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        raise yaml.YAMLError("the file is empty")
    return _at(node)


def _at(node: yaml.Node) -> At:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        pairs: dict[str, At] = {}
        for key, value in node.value:
            if key.value in pairs:
                raise yaml.YAMLError(
                    f"`{key.value}` stands twice, in line {key.start_mark.line + 1}"
                )
            found = _at(value)
            # A block's own first line is the one below its key.
            pairs[key.value] = At(found.value, key.start_mark.line + 1)
        return At(pairs, line)
    if isinstance(node, yaml.SequenceNode):
        return At([_at(child) for child in node.value], line)
    return At(str(node.value), line)


# ── workflows ───────────────────────────────────────────────────────────────────────────────


def check_workflow(text: str) -> list[Finding]:
    try:
        top = parse(text)
    except yaml.YAMLError as error:
        return [Finding(1, "yaml", str(error).splitlines()[0])]
    return sorted(set(Workflow(top, text.splitlines()).findings()))


class Workflow:
    """One file, looked at rule by rule."""

    def __init__(self, top: At, lines: list[str]) -> None:
        self._top = top
        self._lines = lines
        self._jobs = dict((top.get("jobs") or At({}, 1)).items())
        on = top.get("on") or At({}, 1)
        named = [on.value] if isinstance(on.value, str) else [n.value for n in on]
        self._triggers = {**dict.fromkeys(named, on.line), **{n: a.line for n, a in on.items()}}

    def findings(self) -> Iterator[Finding]:
        yield from self._whole()
        for name, job in self._jobs.items():
            yield from self._job(name, job)
            for step in job.get("steps") or ():
                yield from self._step(step)
        yield from self._gate()

    # ── the file ────────────────────────────────────────────────────────────────────────────

    def _whole(self) -> Iterator[Finding]:
        permissions = self._top.get("permissions")
        if permissions is None or permissions.value != {}:
            line = permissions.line if permissions else 1
            yield Finding(line, "top-permissions", "`permissions: {}` belongs on top")
        for trigger, line in self._triggers.items():
            if trigger not in TRIGGERS:
                yield Finding(
                    line, "trigger", f"`{trigger}` may run a stranger's input with secrets"
                )
        for key in ("env", "defaults"):
            if found := self._top.get(key):
                yield Finding(
                    found.line, "least-reach", f"`{key}` belongs to the step that needs it"
                )
        if not self._jobs:
            yield Finding(1, "yaml", "there is no job")

    # ── a job ───────────────────────────────────────────────────────────────────────────────

    def _job(self, name: str, job: At) -> Iterator[Finding]:
        yield from self._limits(name, job)
        for key in ("env", "defaults", "container", "services", "uses", "secrets", "strategy"):
            if found := job.get(key):
                yield Finding(
                    found.line, "least-reach", f"job `{name}` has `{key}` for all its steps"
                )
        runs = job.get("runs-on")
        if runs is None or not re.fullmatch(r"ubuntu-\d\d\.\d\d", str(runs.value)):
            line = runs.line if runs else job.line
            yield Finding(line, "machine", f"job `{name}` runs on no machine of a fixed version")
        if self._has_key(job):
            yield from self._guarded(name, job)
        sessions = {s for step in job.get("steps") or () for s in _sessions(step)}
        if sessions & _LEAVES and not any(map(_keeps_failures, job.get("steps") or ())):
            yield Finding(job.line, "artifacts", f"job `{name}` keeps nothing of a failure")

    def _limits(self, name: str, job: At) -> Iterator[Finding]:
        minutes = job.get("timeout-minutes")
        if minutes is None or not re.fullmatch(r"\d{1,3}", str(minutes.value)):
            yield Finding(job.line, "timeout", f"job `{name}` has no timeout-minutes")
        elif int(minutes.value) > _LONGEST_MINUTES:
            yield Finding(minutes.line, "timeout", f"job `{name}` may run {minutes.value} minutes")
        permissions = job.get("permissions")
        if permissions is None or not isinstance(permissions.value, dict):
            line = permissions.line if permissions else job.line
            yield Finding(line, "job-permissions", f"job `{name}` does not say what it may do")
        concurrency = job.get("concurrency") or self._top.get("concurrency")
        if concurrency is None or not (concurrency.get("group") and
                                       concurrency.get("cancel-in-progress")):  # fmt: skip
            yield Finding(job.line, "concurrency", f"job `{name}` is in no concurrency group")

    def _guarded(self, name: str, job: At) -> Iterator[Finding]:
        """A job that has the key, or an environment that has it."""
        environment = job.get("environment")
        value = environment.value if environment else None
        if value not in ENVIRONMENTS:
            line = environment.line if environment else job.line
            yield Finding(line, "environment", f"job `{name}` has a secret outside of prd and dev")
        production = any("--stage prd" in text.value for text in job.texts())
        if production and value != "prd":
            yield Finding(job.line, "environment", f"job `{name}` is production's, not in prd")
        condition = job.get("if")
        line = condition.line if condition else job.line
        text = condition.value if condition else "success()"
        if "pull_request" in self._triggers:
            for github in (FORK, FORK_GONE):
                yield from self._never(
                    name, text, line, "fork-secrets", "a fork's pull request", github
                )
        if value == "prd":
            yield from self._never(name, text, line, "main-only", "another branch", OTHER_BRANCH)
        else:
            yield from self._never(name, text, line, "fork-secrets", "a fork's own run", FORK_PUSH,
                                   only={"schedule", "push"})  # fmt: skip
        for step in job.get("steps") or ():
            uses = step.get("uses")
            if uses and str(uses.value).startswith("actions/cache"):
                yield Finding(
                    uses.line, "cache", f"job `{name}` has a secret, and a cache to poison"
                )
        for text in job.texts():
            if "SANDBOX_BUILD_CACHE" in text.value:
                yield Finding(text.line, "cache", f"job `{name}` has a secret, and others' layers")

    def _never(  # noqa: PLR0917 - a table's row
        self, name: str, text: str, line: int, rule: str, who: str, github: Mapping[str, Any],
        *, only: set[str] | None = None,
    ) -> Iterator[Finding]:  # fmt: skip
        """`text` must be false for `github`, whatever the jobs before have put out."""
        if only is not None and not only & self._triggers.keys():
            return
        try:
            if any(expressions.condition(text, scope) for scope in _scopes(text, github)):
                yield Finding(line, rule, f"job `{name}` has a secret, and runs for {who}")
        except BadExpression as error:
            yield Finding(line, rule, f"job `{name}`: {error}")

    def _has_key(self, job: At) -> bool:
        return bool(job.get("environment")) or any(_KEY.search(t.value) for t in job.texts())

    # ── a step ──────────────────────────────────────────────────────────────────────────────

    def _step(self, step: At) -> Iterator[Finding]:
        uses, run = step.get("uses"), step.get("run")
        if uses:
            yield from self._action(step, uses)
        if run:
            yield from self._command(run)
        for key in ("shell", "continue-on-error", "working-directory"):
            if found := step.get(key):
                yield Finding(found.line, "run", f"`{key}`: a step is a session, which knows that")
        # In the environment of the very step that needs it, and nowhere else.
        for key, child in step.items():
            if key != "env" and any(_SECRET.search(text.value) for text in child.texts()):
                yield Finding(child.line, "least-reach", f"a secret in `{key}`, not in `env`")

    def _action(self, step: At, uses: At) -> Iterator[Finding]:
        if not _ACTION.fullmatch(uses.value):
            yield Finding(uses.line, "pinned", f"`{uses.value}` is not pinned by a full commit id")
        elif not _VERSION.search(self._lines[uses.line - 1]):
            yield Finding(uses.line, "pinned", f"`{uses.value}` has no version as comment")
        if uses.value.startswith("actions/checkout@"):
            given = step.get("with") or At({}, uses.line)
            persist = given.get("persist-credentials")
            if persist is None or persist.value != "false":
                line = persist.line if persist else uses.line
                yield Finding(line, "credentials", "checkout without `persist-credentials: false`")

    def _command(self, run: At) -> Iterator[Finding]:
        if expressions.has_expression(run.value):
            yield Finding(run.line, "injection", "an expression in `run:`; use `env:`")
        elif not _COMMAND.fullmatch(run.value.strip()):
            shown = run.value.strip().splitlines()[0][:60]
            yield Finding(run.line, "run", f"not one session, or pip's line: `{shown}`")

    # ── the gate ────────────────────────────────────────────────────────────────────────────

    def _gate(self) -> Iterator[Finding]:
        if "pull_request" not in self._triggers or self._has_any_key():
            return
        gate = self._jobs.get("gate")
        if gate is None:
            yield Finding(1, "gate", "checks of a pull request need a job `gate`")
            return
        needs = gate.get("needs") or At([], gate.line)
        named = {needs.value} if isinstance(needs.value, str) else {n.value for n in needs}
        if missing := sorted(self._jobs.keys() - named - {"gate"}):
            yield Finding(needs.line, "gate", f"the gate does not need {', '.join(missing)}")
        condition = gate.get("if")
        if condition is None or condition.value != "always()":
            yield Finding(gate.line, "gate", "the gate must judge always(), or it counts as passed")

    def _has_any_key(self) -> bool:
        return any(self._has_key(job) for job in self._jobs.values())


def _sessions(step: At) -> list[str]:
    run = step.get("run")
    match = _COMMAND.fullmatch(run.value.strip()) if run else None
    return match["sessions"].split() if match and match["sessions"] else []


def _keeps_failures(step: At) -> bool:
    uses, condition = step.get("uses"), step.get("if")
    return bool(
        uses
        and uses.value.startswith("actions/upload-artifact@")
        and condition
        and condition.value == "failure()"
    )


# ── events that must not reach a secret ─────────────────────────────────────────────────────

_OURS: Final = {"full_name": _REPO, "fork": False, "default_branch": "main"}


def _stranger(home: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A stranger's pull request, as GitHub describes it. Its author chose all names in it."""
    label = {"name": "sandbox"}
    pull = {
        "number": 1,
        "state": "open",
        "labels": [label],
        "head": {"repo": home, "ref": "main", "sha": "1" * 40},
        "base": {"repo": _OURS, "ref": "main", "sha": "2" * 40},
    }
    event = {"action": "labeled", "label": label, "repository": _OURS, "pull_request": pull}
    return {
        "event_name": "pull_request", "repository": _REPO, "repository_owner": "iterate",
        "ref": "refs/pull/1/merge", "ref_name": "1/merge", "base_ref": "main", "head_ref": "main",
        "actor": "stranger", "event": event,
    }  # fmt: skip


FORK: Final = _stranger({"full_name": "stranger/iterate", "fork": True})
#: Its fork was deleted meanwhile.
FORK_GONE: Final = _stranger(None)
OTHER_BRANCH: Final = {
    "event_name": "workflow_dispatch",
    "repository": _REPO,
    "ref": "refs/heads/other",
    "event": {"repository": _OURS},
}
FORK_PUSH: Final = {
    "event_name": "schedule",
    "repository": "stranger/iterate",
    "ref": "refs/heads/main",
    "event": {"repository": {"full_name": "stranger/iterate", "fork": True}},
}


def _scopes(text: str, github: Mapping[str, Any]) -> Iterator[Scope]:
    """Every result that the jobs before may have had: each output takes every text that the
    condition compares with, for a stranger's code may have written it.
    """
    body = next(iter(expressions.bodies(text)), text)
    outputs = sorted({tuple(path[1:]) for path in expressions.names(body) if path[0] == "needs"})
    values = [*dict.fromkeys(expressions.texts(body)), "", "true"]
    functions = {
        "success": lambda: True, "failure": lambda: True, "always": lambda: True,
        "cancelled": lambda: True,
    }  # fmt: skip
    for chosen in itertools.product(values, repeat=len(outputs)):
        needs: dict[str, Any] = {}
        for path, value in zip(outputs, chosen, strict=True):
            at = needs
            for part in path[:-1]:
                at = at.setdefault(part, {})
            at[path[-1]] = value
        yield Scope({"github": github, "needs": needs}, functions)


# ── dependabot ──────────────────────────────────────────────────────────────────────────────


def check_dependabot(text: str) -> list[Finding]:
    try:
        top = parse(text)
    except yaml.YAMLError as error:
        return [Finding(1, "yaml", str(error).splitlines()[0])]
    return sorted(_dependabot(top))


def _dependabot(top: At) -> Iterator[Finding]:
    updates = list(top.get("updates") or At([], 1))
    named = {kind.value: update for update in updates if (kind := update.get("package-ecosystem"))}
    for missing in sorted(ECOSYSTEMS - named.keys()):
        yield Finding(1, "dependabot", f"`{missing}` is not kept up to date")
    for update in updates:
        cooldown = update.get("cooldown") or At({}, update.line)
        days = cooldown.get("default-days")
        if days is None or not days.value.isdecimal() or int(days.value) < _COOL_DOWN:
            line = days.line if days else update.line
            yield Finding(line, "cool-down", f"less than {_COOL_DOWN} days old may be proposed")
