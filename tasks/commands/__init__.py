"""The commands of `python -m tasks`: each parses its arguments, calls a package and prints."""

from __future__ import annotations

from typing import Final

#: Command → module in tasks.commands; each has `main(arguments) -> None`. Imported at use.
COMMANDS: Final = {
    "bump-versions": "bump_versions",
    "daytona-test": "daytona_test",
    "deps": "deps",
    "doctor": "doctor",
    "lint": "lint",
    "local-test": "local_test",
    "reap": "reap",
    "require-engine": "require_engine",
    "setup": "setup",
    "snapshot-daytona": "snapshot_daytona",
    "snapshot-local": "snapshot_local",
    "snapshots": "snapshots",
    "stand-in": "stand_in",
    "suggest-session": "suggest_session",
    "tests": "tests",
    "types": "check_types",
    "unit": "unit",
    # The workflows' steps, `nox -s ci -- COMMAND`.
    "ci bump-pull-request": "bump_pull_request",
    "ci gate": "gate",
    "ci github-check": "github_check",
    "ci github-comment": "github_comment",
    "ci plan": "plan",
    "ci sandbox-plan": "sandbox_plan",
}
#: Commands that have commands of their own.
GROUPS: Final = {"ci": "A step of the workflows; each of them also runs by hand."}
