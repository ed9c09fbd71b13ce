"""Every rule of the workflows broken once: the checks of `nox -s lint` must refuse each."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import TaskError
from tasks.base.project import ROOT
from tasks.commands import lint
from tasks.github import workflow_rules

if TYPE_CHECKING:
    from pathlib import Path

CI, PRODUCTION, BRANCH = "ci.yml", "sandbox-production.yml", "sandbox-branch.yml"
BUMP, NIGHTLY, DEPENDABOT = "bump-versions.yml", "snapshots-gc.yml", "../dependabot.yml"

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
KEY = "DAYTONA_API_KEY: ${{ secrets.DAYTONA_API_KEY }}"
GUARD = "github.event.pull_request.head.repo.full_name == github.repository"


@dataclass(frozen=True)
class Break:
    """`old` → `new` in `file`, once. `by`: who must refuse it, and with which rule of its own."""

    what: str
    file: str
    old: str
    new: str
    by: tuple[str, ...]


BREAKS = [
    # ── pinned ──────────────────────────────────────────────────────────────────────────────
    Break("an action by its tag", CI, CHECKOUT, "actions/checkout@v7",
          ("rules:pinned", "zizmor:unpinned-uses")),
    Break("an action by half an id", CI, CHECKOUT, "actions/checkout@3d3c42e # v7.0.1",
          ("rules:pinned",)),
    Break("an action by a branch", CI, CHECKOUT, "actions/checkout@main",
          ("rules:pinned", "zizmor:unpinned-uses")),
    Break("no version beside the id", CI, CHECKOUT, CHECKOUT.partition(" #")[0], ("rules:pinned",)),
    Break("an action of this repository", CI, CHECKOUT, "./.github/actions/x", ("rules:pinned",)),
    Break("an image", CI, CHECKOUT, "docker://alpine:latest", ("rules:pinned",)),
    Break("pip without hashes", CI, "pip install --require-hashes -r requirements/nox.txt",
          "pip install nox", ("rules:run",)),
    Break("any machine", CI, "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest", ("rules:machine",)),
    Break("a machine of one's own", CI, "runs-on: ubuntu-24.04", "runs-on: self-hosted",
          ("rules:machine",)),
    # ── least permission ────────────────────────────────────────────────────────────────────
    Break("no permissions on top", CI, "permissions: {}\n", "", ("rules:top-permissions",)),
    Break("all permissions on top", CI, "permissions: {}\n", "permissions: write-all\n",
          ("rules:top-permissions", "zizmor:excessive-permissions")),
    Break("some permissions on top", BUMP, "permissions: {}\n", "permissions:\n  contents: write\n",
          ("rules:top-permissions", "zizmor:excessive-permissions")),
    Break("a job that may do anything", CI, "    permissions:\n      contents: read\n",
          "    permissions: write-all\n",
          ("rules:job-permissions", "zizmor:excessive-permissions")),
    Break("a job that does not say", CI, "    permissions:\n      contents: read\n", "",
          ("rules:job-permissions",)),
    Break("a permission without a reason", BUMP, "contents: write # pushes the branch",
          "contents: write", ("zizmor:undocumented-permissions",)),
    Break("a permission that there is not", CI, "      contents: read\n", "      content: read\n",
          ("actionlint:permissions",)),
    # ── credentials ─────────────────────────────────────────────────────────────────────────
    Break("the token stays in the clone", CI,
          "        with:\n          persist-credentials: false\n", "",
          ("rules:credentials", "zizmor:artipacked")),
    Break("the token is to stay", CI, "persist-credentials: false", "persist-credentials: true",
          ("rules:credentials",)),
    # ── limits ──────────────────────────────────────────────────────────────────────────────
    Break("no time-out", CI, "    timeout-minutes: 20\n", "", ("rules:timeout",)),
    Break("six hours", CI, "timeout-minutes: 20", "timeout-minutes: 360", ("rules:timeout",)),
    Break("any number at once", CI,
          "concurrency:\n  group: ci-${{ github.ref }}\n  cancel-in-progress: true\n", "",
          ("rules:concurrency", "zizmor:concurrency-limits")),
    Break("a group that says no more", NIGHTLY, "  cancel-in-progress: false\n", "",
          ("rules:concurrency",)),
    # ── injection ───────────────────────────────────────────────────────────────────────────
    Break("a branch's name in a script", CI, '"$BASE"', "${{ github.head_ref }}",
          ("rules:injection", "zizmor:template-injection", "actionlint:expression")),
    Break("a title in a script", CI, "- run: nox -s gate\n",
          '- run: nox -s gate -- "${{ github.event.pull_request.title }}"\n',
          ("rules:injection", "zizmor:template-injection", "actionlint:expression")),
    Break("a label in a script", BRANCH, "- run: nox -s sandbox_plan\n",
          "- run: nox -s sandbox_plan -- ${{ github.event.label.name }}\n",
          ("rules:injection", "zizmor:template-injection")),
    Break("an output in a script", BRANCH, '--for-branch "$BRANCH" --yes',
          "--for-branch ${{ needs.plan.outputs.branch }} --yes",
          ("rules:injection", "zizmor:template-injection")),
    Break("a variable without quotes", CI, '--base "$BASE"', "--base $BASE",
          ("rules:run", "actionlint:shellcheck")),
    # ── sessions only ───────────────────────────────────────────────────────────────────────
    Break("a script", CI, "- run: nox -s local_test\n",
          "- run: |\n          nox -s local_test\n          echo done\n", ("rules:run",)),
    Break("a second command", CI, "run: nox -s local_test\n", "run: nox -s local_test || true\n",
          ("rules:run",)),
    Break("a command in a command", CI, "run: nox -s local_test\n",
          'run: nox -s local_test -- -k "$(cat .sandbox/k)"\n', ("rules:run",)),
    Break("another program", CI, "run: nox -s local_test\n", "run: npm install\n", ("rules:run",)),
    Break("another shell", CI, "run: nox -s local_test\n",
          "run: nox -s local_test\n        shell: sh\n", ("rules:run",)),
    Break("a failure that counts for nothing", CI, "run: nox -s local_test\n",
          "run: nox -s local_test\n        continue-on-error: true\n", ("rules:run",)),
    # ── strangers and secrets ───────────────────────────────────────────────────────────────
    Break("a trigger with secrets for forks", CI, "  pull_request:\n", "  pull_request_target:\n",
          ("rules:trigger", "zizmor:dangerous-triggers")),
    Break("a trigger by another run", NIGHTLY, "  workflow_dispatch:\n",
          '  workflow_dispatch:\n  workflow_run:\n    workflows: ["CI"]\n',
          ("rules:trigger", "zizmor:dangerous-triggers")),
    Break("a trigger by a comment", BRANCH, "  delete:\n", "  delete:\n  issue_comment:\n",
          ("rules:trigger",)),
    Break("the key where forks run", CI, "run: nox -s local_test\n",
          f"run: nox -s local_test\n        env:\n          {KEY}\n",
          ("rules:fork-secrets", "rules:environment")),
    Break("an environment where forks run", CI, "    timeout-minutes: 60\n",
          "    timeout-minutes: 60\n    environment: dev\n", ("rules:fork-secrets",)),
    Break("publishing without the guard", BRANCH,
          f"&& (github.event_name == 'workflow_dispatch' ||\n      {GUARD})", "",
          ("rules:fork-secrets",)),
    Break("retiring without the guard", BRANCH,
          f"&& (github.event_name == 'delete' ||\n      {GUARD})", "", ("rules:fork-secrets",)),
    Break("a guard that any fork meets", BRANCH,
          f"(github.event_name == 'workflow_dispatch' ||\n      {GUARD})",
          f"(github.event_name != 'workflow_dispatch' ||\n      {GUARD})", ("rules:fork-secrets",)),
    Break("a guard by the wrong name", BRANCH, f"(github.event_name == 'delete' ||\n      {GUARD})",
          f"(github.event_name == 'delete' ||\n      {GUARD.replace('head', 'base')})",
          ("rules:fork-secrets",)),
    Break("always, whatever the guard says", BRANCH, "needs.plan.outputs.action == 'retire' &&",
          "always() ||", ("rules:fork-secrets",)),
    Break("a guard that trusts an output", BRANCH,
          f"(github.event_name == 'workflow_dispatch' ||\n      {GUARD})",
          "needs.plan.outputs.stage != ''", ("rules:fork-secrets",)),
    Break("cleaning up in forks", NIGHTLY,
          "    name: Clean up snapshots\n    if: ${{ !github.event.repository.fork }}\n",
          "    name: Clean up snapshots\n", ("rules:fork-secrets",)),
    Break("production from any branch", PRODUCTION, "github.ref == 'refs/heads/main' && ", "",
          ("rules:main-only",)),
    Break("production without its environment", PRODUCTION, "    environment: prd\n", "",
          ("rules:environment",)),
    Break("production in another environment", PRODUCTION, "environment: prd", "environment: dev",
          ("rules:environment",)),
    Break("a key out of any environment", NIGHTLY, "    environment: dev\n", "",
          ("rules:environment",)),
    Break("a key for the whole job", NIGHTLY, "    environment: dev\n",
          f"    environment: dev\n    env:\n      {KEY}\n", ("rules:least-reach",)),
    Break("a key for the whole workflow", NIGHTLY, "permissions: {}\n",
          f"permissions: {{}}\nenv:\n  {KEY}\n", ("rules:least-reach",)),
    Break("a token for an action", BUMP, "persist-credentials: false",
          "persist-credentials: false\n          token: ${{ github.token }}",
          ("rules:least-reach",)),
    Break("a cache beside the key", PRODUCTION, "      - run: nox -s local_test\n",
          "      - uses: actions/cache/restore@55cc8345863c7cc4c66a329aec7e433d2d1c52a9 # v6.1.0\n"
          "        with:\n          key: x\n          path: .sandbox/tested\n"
          "      - run: nox -s local_test\n", ("rules:cache",)),
    Break("others' layers beside the key", PRODUCTION, "      - run: nox -s local_test\n",
          "      - run: nox -s local_test\n        env:\n"
          "          SANDBOX_BUILD_CACHE: ${{ vars.SANDBOX_BUILD_CACHE }}\n", ("rules:cache",)),
    # ── what else is promised ───────────────────────────────────────────────────────────────
    Break("nothing is kept of a failure", PRODUCTION,
          "        if: failure()\n        with:\n", "        with:\n", ("rules:artifacts",)),
    Break("a gate that leaves one out", CI, "needs: [checks, plan, sandbox]",
          "needs: [plan, sandbox]", ("rules:gate",)),
    Break("a gate that is left out itself", CI, "    if: always()\n", "", ("rules:gate",)),
    Break("no gate", CI, "  gate:\n", "  door:\n", ("rules:gate",)),
    Break("a job that is not needed", CI, "needs.plan.outputs.changed == 'true'",
          "needs.plann.outputs.changed == 'true'", ("actionlint:expression",)),
    Break("one key twice", CI, "    timeout-minutes: 20\n",
          "    timeout-minutes: 20\n    timeout-minutes: 20\n", ("rules:yaml",)),
    Break("no YAML", CI, "permissions: {}", "permissions: {", ("rules:yaml",)),
    # ── dependabot ──────────────────────────────────────────────────────────────────────────
    *(
        Break(f"{kind} is not kept up to date", DEPENDABOT, f"package-ecosystem: {kind}",
              "package-ecosystem: cargo", ("rules:dependabot",))
        for kind in sorted(workflow_rules.ECOSYSTEMS)
    ),
    Break("no cool-down", DEPENDABOT, "    cooldown:\n      default-days: 7\n", "",
          ("rules:cool-down", "zizmor:dependabot-cooldown")),
    Break("a day's cool-down", DEPENDABOT, "default-days: 7", "default-days: 1",
          ("rules:cool-down", "zizmor:dependabot-cooldown")),
]  # fmt: skip


def refusals(root: Path) -> tuple[set[str], str]:
    """`who:rule` of every finding, and all that was said."""
    files = list(map(str, lint.workflows(root)))
    said = {}
    for who, command in {
        "actionlint": [*lint.ACTIONLINT, *files],
        "zizmor": [*lint.ZIZMOR, "--collect=all", "--format=plain", "--color=never", str(root)],
    }.items():
        result = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, timeout=60
        )
        said[who] = result.stdout + result.stderr if result.returncode else ""
    said["rules"] = "\n".join(lint.broken_rules(root))
    found = {f"rules:{rule}" for rule in re.findall(r"\[([a-z-]+)\]$", said["rules"], re.MULTILINE)}
    found |= {
        f"actionlint:{r}" for r in re.findall(r"\[([a-z-]+)\]$", said["actionlint"], re.MULTILINE)
    }
    found |= {
        f"zizmor:{rule}" for rule in re.findall(r"^\w+\[([a-z-]+)\]:", said["zizmor"], re.MULTILINE)
    }
    return found, "\n".join(f"{who}:\n{text}" for who, text in said.items() if text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    return tmp_path


def test_nothing_is_found_in_what_we_have(copy: Path) -> None:
    found, said = refusals(copy)
    assert not found, said
    assert not said
    lint.check_workflows(copy)


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.what.replace(" ", "-"))
def test_a_broken_rule_is_refused(copy: Path, broken: Break) -> None:
    path = (copy / ".github/workflows" / broken.file).resolve()
    text = path.read_text()
    assert broken.old in text, "the workflow has changed: change this row, too"
    path.write_text(text.replace(broken.old, broken.new, 1))
    found, said = refusals(copy)
    assert set(broken.by) <= found, said
    with pytest.raises(TaskError):
        lint.check_workflows(copy)


def test_every_rule_of_ours_is_broken_here() -> None:
    source = (ROOT / "tasks/github/workflow_rules.py").read_text()
    rules = set(re.findall(r'Finding\(\s*[\w.]+,\s*"([a-z-]+)"', source))
    assert rules, "none was found: the pattern is out of date"
    rules |= set(re.findall(r'"(fork-secrets|main-only)"', source))
    broken = {by.removeprefix("rules:") for row in BREAKS for by in row.by}
    assert rules <= broken


def test_a_finding_names_its_line() -> None:
    text = (ROOT / ".github/workflows" / CI).read_text()
    lines = text.splitlines()
    line = next(n for n, one in enumerate(lines, 1) if "timeout-minutes: 60" in one)
    changed = text.replace("timeout-minutes: 60", "timeout-minutes: 999")
    assert workflow_rules.check_workflow(changed) == [
        workflow_rules.Finding(line, "timeout", "job `sandbox` may run 999 minutes")
    ]
