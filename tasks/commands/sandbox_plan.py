"""Say what GitHub's event asks for: publish a sandbox at Daytona, retire one, or nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tasks import git
from tasks.base import console, markdown
from tasks.base.errors import BadInput
from tasks.base.options import Parser
from tasks.base.project import ROOT
from tasks.daytona import snapshot
from tasks.git import refs
from tasks.github import events, job


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s sandbox_plan --", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--stage", choices=(snapshot.PRODUCTION,), help="production's, not a branch's"
    )
    parser.add_argument("--json", action="store_true", help="print the plan on stdout as JSON")
    options = parser.parse_args(arguments)
    event = read()
    try:
        plan = events.production(event) if options.stage else events.branch(event)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"the event `{event.name}` is not as GitHub sends it: has no {error}"
        ) from None
    show = console.step if plan.action != "nothing" else console.warn
    show(f"{plan.action}: {console.printable(plan.reason)}")
    # Whatever is foreign in these was read, not run: a name with a line break cannot forge another.
    job.write_outputs(**plan.record())
    heads = {"publish": "A sandbox is published", "retire": "The sandbox goes",
             "nothing": "Nothing goes to Daytona"}  # fmt: skip
    facts = [("branch", plan.branch), ("commit", plan.sha), ("stage", plan.stage)]
    table = markdown.facts(facts) if any(value for _, value in facts) else ""
    job.write_summary(f"### {heads[plan.action]}\n\n{markdown.plain(plan.reason)}\n\n{table}")
    if options.json:
        console.emit_json(plan.record())


def read() -> events.Event:
    """The event of this job, as GitHub tells it."""
    return events.Event(
        name=_variable("GITHUB_EVENT_NAME"),
        payload=_payload(),
        repository=_variable("GITHUB_REPOSITORY"),
        ref=_variable("GITHUB_REF"),
        resolve=_resolve,
    )


def _payload() -> dict[str, Any]:
    path = _variable("GITHUB_EVENT_PATH")
    try:
        payload = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"the event in {path} cannot be read: {error}") from None
    if not isinstance(payload, dict):
        raise BadInput(f"the event in {path} is no object")
    return payload


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise BadInput(
            f"{name} is not set: this is no job of GitHub Actions",
            fix="nox -s snapshot_daytona -- --ref REF publishes from here",
        )
    return value


def _resolve(ref: str) -> tuple[str, str]:
    found = refs.resolve(git.open_repo(ROOT), ref)
    return found.sha, found.branch or ""
