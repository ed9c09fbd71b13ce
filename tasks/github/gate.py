"""Whether a pull request's checks let it pass: every job succeeded, or was rightly left out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tasks.base import console
from tasks.base.errors import BadInput

#: The one job that may be left out, and the job whose outputs say why.
OPTIONAL: Final = "sandbox"
PLAN: Final = "plan"


@dataclass(frozen=True)
class Verdict:
    job: str
    result: str
    passes: bool
    reason: str


def judge(needs: dict[str, Any]) -> list[Verdict]:
    """On each job of GitHub's `needs`: {"plan": {"result": "success", "outputs": {…}}, …}."""
    return [_verdict(job, need, needs.get(PLAN, {})) for job, need in needs.items()]


def read(text: str) -> dict[str, Any]:
    """`toJSON(needs)`. A gate without jobs, or without those it judges by, would let all pass."""
    try:
        needs = json.loads(text)
        known = all(isinstance(need["result"], str) for need in needs.values())
    except (ValueError, TypeError, KeyError, AttributeError):
        known = False
    if not known or not {PLAN, OPTIONAL} <= needs.keys():
        raise BadInput(
            f"NEEDS is not what toJSON(needs) gives: {console.printable(text[:60])}",
            fix=f"needs: of the gate must name {PLAN}, {OPTIONAL} and every other job",
        )
    return dict(needs)


def _verdict(job: str, need: dict[str, Any], plan: dict[str, Any]) -> Verdict:
    result = need["result"]
    if result == "success":
        return Verdict(job, result, passes=True, reason="passed")
    if job == OPTIONAL and result == "skipped" and plan.get("result") == "success":
        outputs = plan.get("outputs") or {}
        if outputs.get("changed") == "false":
            return Verdict(job, result, passes=True, reason="the image is the same as before")
        if outputs.get("tested") == "true":
            return Verdict(job, result, passes=True, reason="an image of this content has passed")
        return Verdict(job, result, passes=False, reason="left out without a reason")
    reasons = {
        "failure": "failed: its log says what",
        "cancelled": "was ended before it had finished",
        "skipped": "did not run, for what it needs failed",
    }
    reason = reasons.get(result, f"ended in an unknown way: {console.printable(result[:40])}")
    return Verdict(job, result, passes=False, reason=reason)
