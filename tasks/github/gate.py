"""Whether the checks of a pull request let it pass: each job succeeded or was rightly skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tasks.base import console
from tasks.base.errors import BadInput, TaskError
from tasks.base.parsing import parse_json

#: The one job that may be skipped, and the job whose outputs say why.
OPTIONAL: Final = "sandbox"
PLAN: Final = "plan"
_REASONS: Final = {
    "success": "passed",
    "failure": "failed: its log says what",
    "cancelled": "was ended before it had finished",
    "skipped": "did not run, because what it needs has failed",
}


class GateClosed(TaskError):
    """At least one job does not let the pull request pass."""

    code = "gate-closed"


@dataclass(frozen=True)
class Verdict:
    """Of one job; `result` is GitHub's word for how it ended."""

    job: str
    result: str
    passes: bool
    reason: str


def judge(needs: dict[str, Any]) -> list[Verdict]:
    """Judge each job of GitHub's `needs`: {"plan": {"result": "success", "outputs": {…}}, …}."""
    return [_verdict(job, need, needs.get(PLAN, {})) for job, need in needs.items()]


def read(text: str) -> dict[str, Any]:
    """Parse `toJSON(needs)`. Raises `BadInput` where the jobs are missing that the gate judges by:
    without them everything would pass.
    """
    try:
        needs = parse_json(text)
        is_valid = all(isinstance(need["result"], str) for need in needs.values())
    except (ValueError, TypeError, KeyError, AttributeError):
        is_valid = False
    if not is_valid or not {PLAN, OPTIONAL} <= needs.keys():
        raise BadInput(
            f"NEEDS is not what toJSON(needs) gives: {console.printable(text[:60])}",
            fix=f"needs: of the gate must name {PLAN}, {OPTIONAL} and every other job",
        )
    return dict(needs)


def _verdict(job: str, need: dict[str, Any], plan: dict[str, Any]) -> Verdict:
    result = need["result"]
    if job == OPTIONAL and result == "skipped" and plan.get("result") == "success":
        outputs = plan.get("outputs") or {}
        if outputs.get("changed") == "false":
            return Verdict(job, result, passes=True, reason="the image is the same as before")
        if outputs.get("tested") == "true":
            return Verdict(job, result, passes=True, reason="an image of this content has passed")
        return Verdict(job, result, passes=False, reason="was skipped without a reason")
    reason = _REASONS.get(result, f"ended in an unknown way: {console.printable(result[:40])}")
    return Verdict(job, result, passes=result == "success", reason=reason)
