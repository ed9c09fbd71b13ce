"""Workflows with each promise broken once: the checks of `nox -s lint` refuse every one."""

from __future__ import annotations

import re
import shutil
import subprocess
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
BY_HAND = f"(github.event_name == 'workflow_dispatch' ||\n      {GUARD})"
BY_DELETION = f"(github.event_name == 'delete' ||\n      {GUARD})"
TOP, READ = "permissions: {}\n", "    permissions:\n      contents: read\n"
RUN = "run: nox -s local_test\n"


#: What is broken → the file, what is replaced in it once, by what, and who must refuse it: rules of
#: ours, or another program and its own rule.
MUTATIONS = {
    # ── pinned ──────────────────────────────────────────────────────────────────────────────
    "an action by its tag": (CI, CHECKOUT, "actions/checkout@v7", "pinned zizmor:unpinned-uses"),
    "an action by half an id": (CI, CHECKOUT, "actions/checkout@3d3c42e # v7.0.1", "pinned"),
    "an action by a branch": (CI, CHECKOUT, "actions/checkout@main", "pinned zizmor:unpinned-uses"),
    "no version beside the id": (CI, CHECKOUT, CHECKOUT.partition(" #")[0], "pinned"),
    "an action of this repository": (CI, CHECKOUT, "./.github/actions/x", "pinned"),
    "an image": (CI, CHECKOUT, "docker://alpine:latest", "pinned"),
    "pip without hashes": (CI, "pip install --require-hashes -r requirements/nox.txt",
        "pip install nox", "run"),
    "any machine": (CI, "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest", "machine"),
    "a machine of one's own": (CI, "runs-on: ubuntu-24.04", "runs-on: self-hosted", "machine"),
    # ── least permission ────────────────────────────────────────────────────────────────────
    "no permissions on top": (CI, TOP, "", "top-permissions"),
    "all permissions on top": (CI, TOP, "permissions: write-all\n",
        "top-permissions zizmor:excessive-permissions"),
    "some permissions on top": (BUMP, TOP, "permissions:\n  contents: write\n",
        "top-permissions zizmor:excessive-permissions"),
    "a job that may do anything": (CI, READ,
        "    permissions: write-all\n", "job-permissions zizmor:excessive-permissions"),
    "a job that does not say": (CI, READ, "", "job-permissions"),
    "a permission without a reason": (BUMP, "contents: write # pushes the branch",
        "contents: write", "zizmor:undocumented-permissions"),
    "a permission that there is not": (CI, "      contents: read\n", "      content: read\n",
        "actionlint:permissions"),
    # ── credentials ─────────────────────────────────────────────────────────────────────────
    "the token stays in the clone": (CI, "        with:\n          persist-credentials: false\n",
        "", "credentials zizmor:artipacked"),
    "the token is to stay": (CI, "persist-credentials: false", "persist-credentials: true",
        "credentials"),
    # ── limits ──────────────────────────────────────────────────────────────────────────────
    "no time-out": (CI, "    timeout-minutes: 20\n", "", "timeout"),
    "six hours": (CI, "timeout-minutes: 20", "timeout-minutes: 360", "timeout"),
    "any number at once": (CI,
        "concurrency:\n  group: ci-${{ github.ref }}\n  cancel-in-progress: true\n", "",
        "concurrency zizmor:concurrency-limits"),
    "a group that says no more": (NIGHTLY, "  cancel-in-progress: false\n", "", "concurrency"),
    # ── injection ───────────────────────────────────────────────────────────────────────────
    "a branch's name in a script": (CI, '"$BASE"', "${{ github.head_ref }}",
        "injection zizmor:template-injection actionlint:expression"),
    "a title in a script": (CI, "- run: nox -s ci -- gate\n",
        '- run: nox -s ci -- gate "${{ github.event.pull_request.title }}"\n',
        "injection zizmor:template-injection actionlint:expression"),
    "a label in a script": (BRANCH, "- run: nox -s ci -- sandbox-plan\n",
        "- run: nox -s ci -- sandbox-plan ${{ github.event.label.name }}\n",
        "injection zizmor:template-injection"),
    "an output in a script": (BRANCH, '--for-branch "$BRANCH" --yes',
        "--for-branch ${{ needs.plan.outputs.branch }} --yes",
        "injection zizmor:template-injection"),
    "a variable without quotes": (CI, '--base "$BASE"', "--base $BASE",
        "run actionlint:shellcheck"),
    # ── sessions only ───────────────────────────────────────────────────────────────────────
    "a script": (CI, f"- {RUN}",
        "- run: |\n          nox -s local_test\n          echo done\n", "run"),
    "a second command": (CI, RUN, "run: nox -s local_test || true\n", "run"),
    "a command in a command": (CI, RUN,
        'run: nox -s local_test -- -k "$(cat .sandbox/k)"\n', "run"),
    "another program": (CI, RUN, "run: npm install\n", "run"),
    "another shell": (CI, RUN, "run: nox -s local_test\n        shell: sh\n", "run"),
    "a failure that counts for nothing": (CI, RUN,
        "run: nox -s local_test\n        continue-on-error: true\n", "run"),
    # ── strangers and secrets ───────────────────────────────────────────────────────────────
    "a trigger with secrets for forks": (CI, "  pull_request:\n", "  pull_request_target:\n",
        "trigger zizmor:dangerous-triggers"),
    "a trigger by another run": (NIGHTLY, "  workflow_dispatch:\n",
        '  workflow_dispatch:\n  workflow_run:\n    workflows: ["CI"]\n',
        "trigger zizmor:dangerous-triggers"),
    "a trigger by a comment": (BRANCH, "  delete:\n", "  delete:\n  issue_comment:\n", "trigger"),
    "the key where forks run": (CI, RUN,
        f"run: nox -s local_test\n        env:\n          {KEY}\n", "guard environment"),
    "an environment where forks run": (CI, "    timeout-minutes: 60\n",
        "    timeout-minutes: 60\n    environment: dev\n", "guard"),
    "publishing without the guard": (BRANCH, f"&& {BY_HAND}", "", "guard"),
    "retiring without the guard": (BRANCH, f"&& {BY_DELETION}", "", "guard"),
    "a guard that any fork meets": (BRANCH, BY_HAND, BY_HAND.replace("==", "!=", 1), "guard"),
    "a guard by the wrong name": (BRANCH, BY_DELETION, BY_DELETION.replace("head", "base"),
        "guard"),
    "always, whatever the guard says": (BRANCH, "needs.plan.outputs.action == 'retire' &&",
        "always() ||", "guard"),
    "a guard that trusts an output": (BRANCH, BY_HAND, "needs.plan.outputs.stage != ''", "guard"),
    "cleaning up in forks": (NIGHTLY,
        "    name: Clean up snapshots\n    if: ${{ !github.event.repository.fork }}\n",
        "    name: Clean up snapshots\n", "guard"),
    "a guard for other triggers": (NIGHTLY, "on:\n", "on:\n  pull_request:\n", "guard"),
    "a guard of another environment": (BRANCH, "environment: dev", "environment: prd", "guard"),
    "a guard with a way around it": (NIGHTLY, "!github.event.repository.fork",
        "!github.event.repository.fork || true", "guard"),
    "production from any branch": (PRODUCTION, "github.ref == 'refs/heads/main' && ", "", "guard"),
    "production without its environment": (PRODUCTION, "    environment: prd\n", "", "environment"),
    "production in another environment": (PRODUCTION, "environment: prd", "environment: dev",
        "environment"),
    "a key out of any environment": (NIGHTLY, "    environment: dev\n", "", "environment"),
    "a key for the whole job": (NIGHTLY, "    environment: dev\n",
        f"    environment: dev\n    env:\n      {KEY}\n", "least-reach"),
    "a key for the whole workflow": (NIGHTLY, TOP,
        f"permissions: {{}}\nenv:\n  {KEY}\n", "least-reach"),
    "a token for an action": (BUMP, "persist-credentials: false",
        "persist-credentials: false\n          token: ${{ github.token }}", "least-reach"),
    "a cache beside the key": (PRODUCTION, f"- {RUN}",
        f"- uses: {CACHE}\n        with: {{key: x, path: .sandbox/tested}}\n      - {RUN}",
        "cache"),
    "others' layers beside the key": (PRODUCTION, RUN,
        RUN + "        env:\n          SANDBOX_BUILD_CACHE: ${{ vars.A }}\n", "cache"),
    # ── what else is promised ───────────────────────────────────────────────────────────────
    "nothing is kept of a failure": (PRODUCTION, "        if: failure()\n        with:\n",
        "        with:\n", "artifacts"),
    "a gate that leaves one out": (CI, "needs: [checks, plan, sandbox]", "needs: [plan, sandbox]",
        "gate"),
    "a gate that is left out itself": (CI, "    if: always()\n", "", "gate"),
    "no gate": (CI, "  gate:\n", "  door:\n", "gate"),
    "a job that is not needed": (CI, "needs.plan.outputs.changed == 'true'",
        "needs.plann.outputs.changed == 'true'", "actionlint:expression"),
    "one key twice": (CI, "    timeout-minutes: 20\n",
        "    timeout-minutes: 20\n    timeout-minutes: 20\n", "yaml"),
    "no YAML": (CI, "permissions: {}", "permissions: {", "yaml"),
    # ── dependabot ──────────────────────────────────────────────────────────────────────────
    **{
        f"{kind} is not kept up to date": (DEPENDABOT, f"package-ecosystem: {kind}",
            "package-ecosystem: cargo", "dependabot")
        for kind in sorted(workflow_rules.ECOSYSTEMS)
    },
    "no cool-down": (DEPENDABOT, "    cooldown:\n      default-days: 7\n", "",
        "cool-down zizmor:dependabot-cooldown"),
    "a day's cool-down": (DEPENDABOT, "default-days: 7", "default-days: 1",
        "cool-down zizmor:dependabot-cooldown"),
}  # fmt: skip


def refusals(root: Path) -> tuple[set[str], str]:
    """The rule of every finding (`zizmor:unpinned-uses`, `pinned` for ours), and all output."""
    output = {"": "\n".join(workflows.broken_rules(root))}
    zizmor = ("--collect=all", "--format=plain", "--color=never", str(root))
    for program, command in (
        ("actionlint:", [*workflows.ACTIONLINT, *map(str, workflows.files(root))]),
        ("zizmor:", [*workflows.ZIZMOR, *zizmor]),
    ):
        result = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, timeout=60
        )
        output[program] = result.stdout + result.stderr if result.returncode else ""
    rule = re.compile(r"\[([a-z-]+)\](?:$|:)", re.MULTILINE)
    rules = {program + name for program, text in output.items() for name in rule.findall(text)}
    return rules, "\n".join(filter(None, output.values()))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    return tmp_path


def test_nothing_is_found_in_our_workflows(copy: Path) -> None:
    rules, output = refusals(copy)
    assert (rules, output) == (set(), "")
    workflows.check(copy)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda name: name.replace(" ", "-"))
def test_a_mutated_workflow_is_refused(copy: Path, mutation: str) -> None:
    file, old, new, refused_by = MUTATIONS[mutation]
    path = (copy / ".github/workflows" / file).resolve()
    text = path.read_text()
    assert old in text, "the workflow has changed: change this row, too"
    path.write_text(text.replace(old, new, 1))
    rules, output = refusals(copy)
    assert set(refused_by.split()) <= rules, output
    with pytest.raises(TaskError):
        workflows.check(copy)


def test_every_rule_of_ours_is_broken_by_a_mutation() -> None:
    source = (ROOT / "tasks/github/workflow_rules.py").read_text()
    rules = set(re.findall(r'Violation\([^"]+, "([a-z-]+)",', source))
    assert len(rules) > 15, "the pattern is out of date"
    assert rules <= {rule for row in MUTATIONS.values() for rule in row[-1].split()}


def test_a_finding_names_its_line() -> None:
    text = (ROOT / ".github/workflows" / CI).read_text()
    lines = enumerate(text.splitlines(), 1)
    number = next(number for number, line in lines if "timeout-minutes: 60" in line)
    long_text = text.replace("timeout-minutes: 60", "timeout-minutes: 999")
    assert workflow_rules.check_workflow(long_text) == [
        workflow_rules.Violation(number, "timeout", "job `sandbox` may run 999 minutes")
    ]
