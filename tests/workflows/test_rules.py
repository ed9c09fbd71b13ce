"""Workflows with each promise broken once: the checks of `nox -s lint` refuse every one."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import TaskError
from tasks.base.project import ROOT
from tasks.github import workflow_rules, workflows

if TYPE_CHECKING:
    from pathlib import Path

CI, PRODUCTION, BRANCH = "ci.yml", "sandbox-production.yml", "sandbox-branch.yml"
BUMP, NIGHTLY, DEPENDABOT = "bump-versions.yml", "snapshots-gc.yml", "../dependabot.yml"

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
CACHE = "actions/cache/restore@55cc8345863c7cc4c66a329aec7e433d2d1c52a9 # v6.1.0"
KEY = "DAYTONA_API_KEY: ${{ secrets.DAYTONA_API_KEY }}"
GUARD = "github.event.pull_request.head.repo.full_name == github.repository"


@dataclass(frozen=True)
class Mutation:
    """`old` → `new` in `file`, once. `by`: who must refuse it, each with its own rule."""

    what: str
    file: str
    old: str
    new: str
    by: str


MUTATIONS = [
    # ── pinned ──────────────────────────────────────────────────────────────────────────────
    Mutation("an action by its tag", CI, CHECKOUT, "actions/checkout@v7",
             "rules:pinned zizmor:unpinned-uses"),
    Mutation("an action by half an id", CI, CHECKOUT, "actions/checkout@3d3c42e # v7.0.1",
             "rules:pinned"),
    Mutation("an action by a branch", CI, CHECKOUT, "actions/checkout@main",
             "rules:pinned zizmor:unpinned-uses"),
    Mutation("no version beside the id", CI, CHECKOUT, CHECKOUT.partition(" #")[0], "rules:pinned"),
    Mutation("an action of this repository", CI, CHECKOUT, "./.github/actions/x", "rules:pinned"),
    Mutation("an image", CI, CHECKOUT, "docker://alpine:latest", "rules:pinned"),
    Mutation("pip without hashes", CI, "pip install --require-hashes -r requirements/nox.txt",
             "pip install nox", "rules:run"),
    Mutation("any machine", CI, "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest", "rules:machine"),
    Mutation("a machine of one's own", CI, "runs-on: ubuntu-24.04", "runs-on: self-hosted",
             "rules:machine"),
    # ── least permission ────────────────────────────────────────────────────────────────────
    Mutation("no permissions on top", CI, "permissions: {}\n", "", "rules:top-permissions"),
    Mutation("all permissions on top", CI, "permissions: {}\n", "permissions: write-all\n",
             "rules:top-permissions zizmor:excessive-permissions"),
    Mutation("some permissions on top", BUMP, "permissions: {}\n",
             "permissions:\n  contents: write\n",
             "rules:top-permissions zizmor:excessive-permissions"),
    Mutation("a job that may do anything", CI, "    permissions:\n      contents: read\n",
             "    permissions: write-all\n", "rules:job-permissions zizmor:excessive-permissions"),
    Mutation("a job that does not say", CI, "    permissions:\n      contents: read\n", "",
             "rules:job-permissions"),
    Mutation("a permission without a reason", BUMP, "contents: write # pushes the branch",
             "contents: write", "zizmor:undocumented-permissions"),
    Mutation("a permission that there is not", CI, "      contents: read\n",
             "      content: read\n",
             "actionlint:permissions"),
    # ── credentials ─────────────────────────────────────────────────────────────────────────
    Mutation("the token stays in the clone", CI,
             "        with:\n          persist-credentials: false\n", "",
             "rules:credentials zizmor:artipacked"),
    Mutation("the token is to stay", CI, "persist-credentials: false", "persist-credentials: true",
             "rules:credentials"),
    # ── limits ──────────────────────────────────────────────────────────────────────────────
    Mutation("no time-out", CI, "    timeout-minutes: 20\n", "", "rules:timeout"),
    Mutation("six hours", CI, "timeout-minutes: 20", "timeout-minutes: 360", "rules:timeout"),
    Mutation("any number at once", CI,
             "concurrency:\n  group: ci-${{ github.ref }}\n  cancel-in-progress: true\n", "",
             "rules:concurrency zizmor:concurrency-limits"),
    Mutation("a group that says no more", NIGHTLY, "  cancel-in-progress: false\n", "",
             "rules:concurrency"),
    # ── injection ───────────────────────────────────────────────────────────────────────────
    Mutation("a branch's name in a script", CI, '"$BASE"', "${{ github.head_ref }}",
             "rules:injection zizmor:template-injection actionlint:expression"),
    Mutation("a title in a script", CI, "- run: nox -s ci -- gate\n",
             '- run: nox -s ci -- gate "${{ github.event.pull_request.title }}"\n',
             "rules:injection zizmor:template-injection actionlint:expression"),
    Mutation("a label in a script", BRANCH, "- run: nox -s ci -- sandbox-plan\n",
             "- run: nox -s ci -- sandbox-plan ${{ github.event.label.name }}\n",
             "rules:injection zizmor:template-injection"),
    Mutation("an output in a script", BRANCH, '--for-branch "$BRANCH" --yes',
             "--for-branch ${{ needs.plan.outputs.branch }} --yes",
             "rules:injection zizmor:template-injection"),
    Mutation("a variable without quotes", CI, '--base "$BASE"', "--base $BASE",
             "rules:run actionlint:shellcheck"),
    # ── sessions only ───────────────────────────────────────────────────────────────────────
    Mutation("a script", CI, "- run: nox -s local_test\n",
             "- run: |\n          nox -s local_test\n          echo done\n", "rules:run"),
    Mutation("a second command", CI, "run: nox -s local_test\n", "run: nox -s local_test || true\n",
             "rules:run"),
    Mutation("a command in a command", CI, "run: nox -s local_test\n",
             'run: nox -s local_test -- -k "$(cat .sandbox/k)"\n', "rules:run"),
    Mutation("another program", CI, "run: nox -s local_test\n", "run: npm install\n", "rules:run"),
    Mutation("another shell", CI, "run: nox -s local_test\n",
             "run: nox -s local_test\n        shell: sh\n", "rules:run"),
    Mutation("a failure that counts for nothing", CI, "run: nox -s local_test\n",
             "run: nox -s local_test\n        continue-on-error: true\n", "rules:run"),
    # ── strangers and secrets ───────────────────────────────────────────────────────────────
    Mutation("a trigger with secrets for forks", CI, "  pull_request:\n",
             "  pull_request_target:\n",
             "rules:trigger zizmor:dangerous-triggers"),
    Mutation("a trigger by another run", NIGHTLY, "  workflow_dispatch:\n",
             '  workflow_dispatch:\n  workflow_run:\n    workflows: ["CI"]\n',
             "rules:trigger zizmor:dangerous-triggers"),
    Mutation("a trigger by a comment", BRANCH, "  delete:\n", "  delete:\n  issue_comment:\n",
             "rules:trigger"),
    Mutation("the key where forks run", CI, "run: nox -s local_test\n",
             f"run: nox -s local_test\n        env:\n          {KEY}\n",
             "rules:guard rules:environment"),
    Mutation("an environment where forks run", CI, "    timeout-minutes: 60\n",
             "    timeout-minutes: 60\n    environment: dev\n", "rules:guard"),
    Mutation("publishing without the guard", BRANCH,
             f"&& (github.event_name == 'workflow_dispatch' ||\n      {GUARD})", "", "rules:guard"),
    Mutation("retiring without the guard", BRANCH,
             f"&& (github.event_name == 'delete' ||\n      {GUARD})", "", "rules:guard"),
    Mutation("a guard that any fork meets", BRANCH,
             f"(github.event_name == 'workflow_dispatch' ||\n      {GUARD})",
             f"(github.event_name != 'workflow_dispatch' ||\n      {GUARD})", "rules:guard"),
    Mutation("a guard by the wrong name", BRANCH,
             f"(github.event_name == 'delete' ||\n      {GUARD})",
             f"(github.event_name == 'delete' ||\n      {GUARD.replace('head', 'base')})",
             "rules:guard"),
    Mutation("always, whatever the guard says", BRANCH, "needs.plan.outputs.action == 'retire' &&",
             "always() ||", "rules:guard"),
    Mutation("a guard that trusts an output", BRANCH,
             f"(github.event_name == 'workflow_dispatch' ||\n      {GUARD})",
             "needs.plan.outputs.stage != ''", "rules:guard"),
    Mutation("cleaning up in forks", NIGHTLY,
             "    name: Clean up snapshots\n    if: ${{ !github.event.repository.fork }}\n",
             "    name: Clean up snapshots\n", "rules:guard"),
    Mutation("a guard for other triggers", NIGHTLY, "on:\n", "on:\n  pull_request:\n",
             "rules:guard"),
    Mutation("a guard of another environment", BRANCH, "environment: dev", "environment: prd",
             "rules:guard"),
    Mutation("a guard with a way around it", NIGHTLY, "!github.event.repository.fork",
             "!github.event.repository.fork || true", "rules:guard"),
    Mutation("production from any branch", PRODUCTION, "github.ref == 'refs/heads/main' && ", "",
             "rules:guard"),
    Mutation("production without its environment", PRODUCTION, "    environment: prd\n", "",
             "rules:environment"),
    Mutation("production in another environment", PRODUCTION, "environment: prd",
             "environment: dev",
             "rules:environment"),
    Mutation("a key out of any environment", NIGHTLY, "    environment: dev\n", "",
             "rules:environment"),
    Mutation("a key for the whole job", NIGHTLY, "    environment: dev\n",
             f"    environment: dev\n    env:\n      {KEY}\n", "rules:least-reach"),
    Mutation("a key for the whole workflow", NIGHTLY, "permissions: {}\n",
             f"permissions: {{}}\nenv:\n  {KEY}\n", "rules:least-reach"),
    Mutation("a token for an action", BUMP, "persist-credentials: false",
             "persist-credentials: false\n          token: ${{ github.token }}",
             "rules:least-reach"),
    Mutation("a cache beside the key", PRODUCTION, "      - run: nox -s local_test\n",
             f"      - uses: {CACHE}\n"
             "        with:\n          key: x\n          path: .sandbox/tested\n"
             "      - run: nox -s local_test\n", "rules:cache"),
    Mutation("others' layers beside the key", PRODUCTION, "      - run: nox -s local_test\n",
             "      - run: nox -s local_test\n        env:\n"
             "          SANDBOX_BUILD_CACHE: ${{ vars.SANDBOX_BUILD_CACHE }}\n", "rules:cache"),
    # ── what else is promised ───────────────────────────────────────────────────────────────
    Mutation("nothing is kept of a failure", PRODUCTION,
             "        if: failure()\n        with:\n", "        with:\n", "rules:artifacts"),
    Mutation("a gate that leaves one out", CI, "needs: [checks, plan, sandbox]",
             "needs: [plan, sandbox]", "rules:gate"),
    Mutation("a gate that is left out itself", CI, "    if: always()\n", "", "rules:gate"),
    Mutation("no gate", CI, "  gate:\n", "  door:\n", "rules:gate"),
    Mutation("a job that is not needed", CI, "needs.plan.outputs.changed == 'true'",
             "needs.plann.outputs.changed == 'true'", "actionlint:expression"),
    Mutation("one key twice", CI, "    timeout-minutes: 20\n",
             "    timeout-minutes: 20\n    timeout-minutes: 20\n", "rules:yaml"),
    Mutation("no YAML", CI, "permissions: {}", "permissions: {", "rules:yaml"),
    # ── dependabot ──────────────────────────────────────────────────────────────────────────
    *(
        Mutation(f"{kind} is not kept up to date", DEPENDABOT, f"package-ecosystem: {kind}",
                 "package-ecosystem: cargo", "rules:dependabot")
        for kind in sorted(workflow_rules.ECOSYSTEMS)
    ),
    Mutation("no cool-down", DEPENDABOT, "    cooldown:\n      default-days: 7\n", "",
             "rules:cool-down zizmor:dependabot-cooldown"),
    Mutation("a day's cool-down", DEPENDABOT, "default-days: 7", "default-days: 1",
             "rules:cool-down zizmor:dependabot-cooldown"),
]  # fmt: skip


def refusals(root: Path) -> tuple[set[str], str]:
    """`who:rule` of every finding, and all the output."""
    files = list(map(str, workflows.files(root)))
    commands = {
        "actionlint": [*workflows.ACTIONLINT, *files],
        "zizmor": [
            *workflows.ZIZMOR, "--collect=all", "--format=plain", "--color=never", str(root),
        ],
    }  # fmt: skip
    output = {"rules": "\n".join(workflows.broken_rules(root))}
    for who, command in commands.items():
        result = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, timeout=60
        )
        output[who] = result.stdout + result.stderr if result.returncode else ""
    patterns = {
        "rules": r"\[([a-z-]+)\]$",
        "actionlint": r"\[([a-z-]+)\]$",
        "zizmor": r"^\w+\[([a-z-]+)\]:",
    }
    rules = {
        f"{who}:{rule}"
        for who, pattern in patterns.items()
        for rule in re.findall(pattern, output[who], re.MULTILINE)
    }
    return rules, "\n".join(f"{who}:\n{text}" for who, text in output.items() if text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    return tmp_path


def test_nothing_is_found_in_our_workflows(copy: Path) -> None:
    rules, output = refusals(copy)
    assert (rules, output) == (set(), "")
    workflows.check(copy)


@pytest.mark.parametrize(
    "mutation", MUTATIONS, ids=lambda mutation: mutation.what.replace(" ", "-")
)
def test_a_mutated_workflow_is_refused(copy: Path, mutation: Mutation) -> None:
    path = (copy / ".github/workflows" / mutation.file).resolve()
    text = path.read_text()
    assert mutation.old in text, "the workflow has changed: change this row, too"
    path.write_text(text.replace(mutation.old, mutation.new, 1))
    rules, output = refusals(copy)
    assert set(mutation.by.split()) <= rules, output
    with pytest.raises(TaskError):
        workflows.check(copy)


def test_every_rule_of_ours_is_broken_by_a_mutation() -> None:
    source = (ROOT / "tasks/github/workflow_rules.py").read_text()
    rules = set(re.findall(r'Finding\([^"]+, "([a-z-]+)",', source))
    assert len(rules) > 15, "the pattern is out of date"
    assert rules <= {by.removeprefix("rules:") for row in MUTATIONS for by in row.by.split()}


def test_a_finding_names_its_line() -> None:
    text = (ROOT / ".github/workflows" / CI).read_text()
    lines = enumerate(text.splitlines(), 1)
    number = next(number for number, line in lines if "timeout-minutes: 60" in line)
    changed = text.replace("timeout-minutes: 60", "timeout-minutes: 999")
    assert workflow_rules.check_workflow(changed) == [
        workflow_rules.Finding(number, "timeout", "job `sandbox` may run 999 minutes")
    ]
