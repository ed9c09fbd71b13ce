"""Every expression of our workflows, and what GitHub makes of it. There is no other one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from tasks.github import workflow_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.workflows.runner import WorkflowJob


class CannotRun(Exception):
    """The workflow has something that the rehearsal does not know."""


def _is_pull_request_of_ours(job: WorkflowJob) -> bool:
    return job.event.head_repository == job.event.repository


def _is_in_fork(job: WorkflowJob) -> bool:
    return bool(job.event.payload["repository"]["fork"])


#: Each condition of our workflows → what GitHub decides, given that nothing has failed yet.
CONDITIONS: Final[Mapping[str, Callable[[WorkflowJob], bool]]] = {
    "": lambda _: True,
    "!github.event.repository.fork": lambda job: not _is_in_fork(job),
    "needs.plan.outputs.changed == 'true' && needs.plan.outputs.tested != 'true'":
        lambda job: job.output("plan", "changed") == "true"
        and job.output("plan", "tested") != "true",
    "needs.plan.outputs.action == 'publish' && github.ref == 'refs/heads/main'"
    " && !github.event.repository.fork":
        lambda job: job.output("plan", "action") == "publish"
        and job.event.ref == "refs/heads/main" and not _is_in_fork(job),
    "needs.plan.outputs.action == 'publish' && (github.event_name == 'workflow_dispatch'"
    " || github.event.pull_request.head.repo.full_name == github.repository)":
        lambda job: job.output("plan", "action") == "publish"
        and (job.event.name == "workflow_dispatch" or _is_pull_request_of_ours(job)),
    "needs.plan.outputs.action == 'retire' && (github.event_name == 'delete'"
    " || github.event.pull_request.head.repo.full_name == github.repository)":
        lambda job: job.output("plan", "action") == "retire"
        and (job.event.name == "delete" or _is_pull_request_of_ours(job)),
    "needs.plan.outputs.pull_request != ''": lambda job: bool(job.output("plan", "pull_request")),
    "vars.SANDBOX_BUILD_CACHE != ''": lambda job: bool(job.variable("SANDBOX_BUILD_CACHE")),
    "vars.SANDBOX_BUILD_CACHE == 'gha'": lambda job: job.variable("SANDBOX_BUILD_CACHE") == "gha",
}  # fmt: skip
#: Each form of `${{ }}` outside of conditions → its text.
VALUES: Final[Mapping[str, Callable[..., str]]] = {
    r"needs\.(\w+)\.outputs\.(\w+)": lambda job, need, name: job.output(need, name),
    r"steps\.(\w+)\.outputs\.([\w-]+)": lambda job, step, name: job.by_id[step].get(name, ""),
    r"secrets\.(\w+)": lambda job, name: job.secret(name),
    r"vars\.(\w+)": lambda job, name: job.variable(name),
    r"github\.token": lambda job: job.token,
    r"github\.run_attempt": lambda _: "1",
    r"github\.event\.repository\.default_branch": lambda job: job.default_branch,
    r"github\.base_ref \|\| github\.event\.repository\.default_branch":
        lambda job: job.event.base_ref or job.default_branch,
    r"toJSON\(needs\)": lambda job: json.dumps(
        {name: {"result": need.result, "outputs": need.outputs} for name, need in job.needs.items()}
    ),
}  # fmt: skip


def decide(job: WorkflowJob, text: str, results: set[str]) -> bool:
    """An `if:`, after what ended with `results`. Raises `CannotRun` for one not in the table."""
    condition = workflow_rules.condition_of(text)
    if condition in {"always()", "!cancelled()"}:
        return condition == "always()" or "cancelled" not in results
    if condition == "failure()":
        return "failure" in results
    if condition not in CONDITIONS:
        raise CannotRun(f"the table CONDITIONS does not have {condition}")
    return results <= {"success"} and CONDITIONS[condition](job)


def fill(job: WorkflowJob, texts: Mapping[str, str]) -> dict[str, str]:
    """The texts with their `${{ }}` replaced. Raises `CannotRun` for one not in the table."""

    def value(match: re.Match[str]) -> str:
        for form, resolve in VALUES.items():
            if parts := re.fullmatch(form, match[1]):
                try:
                    return resolve(job, *parts.groups())
                except KeyError as error:
                    raise CannotRun(f"{match[1]}: there is no {error}") from None
        raise CannotRun(f"the table VALUES does not have {match[1]}")

    return {name: re.sub(r"\$\{\{\s*(.*?)\s*\}\}", value, text) for name, text in texts.items()}
