"""A repository, a GitHub and a Daytona of this machine, on which workflows are rehearsed."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.base import console, project
from tasks.base.project import ROOT
from tests.support import repos
from tests.workflows import runner
from tests.workflows.runner import Machine, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.github_hub import GitHub
    from tests.support.standin import StandInClient
    from tests.workflows.runner import WorkflowJob, WorkflowRun

REPOSITORY: Final = "iterate/iterate"
STRANGER: Final = "stranger/iterate"
#: Git would not take the first for a branch, but a payload may say anything.
HOSTILE: Final = '"; touch pwned #'
HOSTILE_BRANCHES: Final = ('";touch${IFS}pwned;#', "$(touch${IFS}pwned)", "`touch${IFS}pwned`")
HOSTILE_TITLE: Final = (
    '"; touch pwned #\n::set-output name=action::publish\n##[set-output name=action]publish\n'
    "action=publish\n$(touch pwned) `touch pwned` ${{ secrets.DAYTONA_API_KEY }}"
)
#: The workflow commands that we write; any other one in a log would be somebody else's.
COMMANDS: Final = {"group", "endgroup", "error", "warning", "notice", "debug", "add-mask"}
LEDGER: Final = "refs/sandbox/ledger/"
#: A row of the shim's table: the session fails.
FAILURE: Final[dict[str, Any]] = {"status": 1, "say": "something has failed"}
#: A test that fails in a sandbox.
FAILING_TEST: Final = {
    "tests/sandbox/test_rehearsed.py": (
        "from tasks.sandbox.sandbox import Sandbox\n\n\n"
        "def test_that_fails(sandbox: Sandbox) -> None:\n"
        '    assert sandbox.exec(["false"]).status == 0\n'
    )
}


class Rehearsal:
    """The scenarios share all of it; each goes on where the one before ended."""

    def __init__(self, folder: Path, stand_in: StandInClient, hub: GitHub) -> None:
        self.folder = folder
        self.stand_in = stand_in
        self.hub = hub
        self.origin = hub.bare
        self.tag = f"{project.IMAGE}:rehearsal-{secrets.token_hex(4)}"
        #: Lines for people: what ran, and what was left, of every scenario.
        self.report: list[str] = []
        self._tokens: list[str] = []
        self._images: set[str] = set()
        self._clone = folder / "clone"
        repos.git(folder, "clone", "--quiet", str(self.origin), str(self._clone))
        environment = dict(stand_in.environment)
        self.key = environment.pop("DAYTONA_API_KEY")
        names = ("DAYTONA_API_URL", "DAYTONA_TARGET")
        self.machine = Machine(
            folder=folder / "machine",
            origin=self.origin.as_uri(),
            secrets={name: {"DAYTONA_API_KEY": self.key} for name in ("prd", "dev")},
            variables={name: environment.pop(name) for name in names},
            environment={
                **environment,  # that loopback may be an API
                "SANDBOX_LEDGER": str(self.origin),
                "REHEARSAL_SESSIONS": str(folder / "sessions.json"),
                "REHEARSAL_PYTHON": str(folder / "machine/python"),
                "REHEARSAL_ENVIRONMENTS": str(folder / "environments"),
            },
            tools=(_tools(folder / "tools"),),
            api_url=hub.url,
            token=self._token,
        )

    def _token(self, permissions: Mapping[str, str]) -> str:
        """A job's, which may do what the job lists, and look at what is public."""
        self._tokens.append(f"ghs_{secrets.token_hex(18)}")
        scopes = {scope.replace("-", "_"): level for scope, level in permissions.items()}
        return self.hub.token(self._tokens[-1], {"metadata": "read", **scopes})

    # ── the repository ──────────────────────────────────────────────────────────────────────

    def commit(self, branch: str, parent: str, files: dict[str, str]) -> str:
        """A commit with these files on top, pushed to the branch; its id."""
        repos.git(self._clone, "fetch", "--quiet", "origin")
        repos.git(self._clone, "checkout", "--quiet", "--detach", parent)
        repos.write(self._clone, files)
        sha = repos.commit(self._clone, "A commit of the rehearsal")
        repos.git(self._clone, "push", "--quiet", "-f", "origin", f"{sha}:refs/heads/{branch}")
        return sha

    def tip(self, branch: str) -> str:
        return repos.git(self.origin, "rev-parse", f"refs/heads/{branch}").strip()

    def ledger(self) -> dict[str, str]:
        """Stage → the snapshot it uses."""
        refs = repos.git(self.origin, "for-each-ref", "--format=%(refname)", LEDGER).split()
        subjects = {ref: repos.git(self.origin, "log", "-1", "--format=%s", ref) for ref in refs}
        return {ref.removeprefix(LEDGER): subject.split()[-1] for ref, subject in subjects.items()}

    # ── events ──────────────────────────────────────────────────────────────────────────────

    def pull(
        self, action: str, *, branch: str, sha: str, number: int, fork: bool = False,
        labels: tuple[str, ...] = (), label: str | None = None, state: str = "open",
    ) -> Webhook:  # fmt: skip
        """Of a pull request into main; GitHub's merge commit has the tree of `sha`."""
        main = self.tip("main")
        merge = repos.git(self.origin, "commit-tree", f"{sha}^{{tree}}", "-p", main, "-p", sha,
                          "-m", f"Merge {sha} into {main}").strip()  # fmt: skip
        repos.git(self.origin, "update-ref", f"refs/pull/{number}/merge", merge)
        head = {"ref": branch, "sha": sha, "repo": _repository(fork=fork)}
        payload = {
            "action": action,
            "number": number,
            "repository": _repository(),
            "pull_request": {
                "number": number, "state": state, "title": HOSTILE_TITLE, "body": HOSTILE_TITLE,
                "labels": [{"name": name} for name in labels], "head": head,
                "base": {"ref": "main", "repo": _repository()},
            },
            **({"label": {"name": label}} if label else {}),
        }  # fmt: skip
        return Webhook(
            name="pull_request", payload=payload, sha=merge, ref=f"refs/pull/{number}/merge",
            head_ref=branch, base_ref="main",
        )  # fmt: skip

    def on_main(self, name: str, *, fork: bool = False, **payload: Any) -> Webhook:
        """push, schedule, delete or workflow_dispatch: what runs is main's."""
        payload["repository"] = _repository(fork=fork)
        return Webhook(name=name, payload=payload, sha=self.tip("main"), ref="refs/heads/main")

    # ── playing ─────────────────────────────────────────────────────────────────────────────

    def play(
        self, workflow: str, scenario: str, event: Webhook, **rows: dict[str, Any]
    ) -> WorkflowRun:
        """Run it, with these rows in the shim's table beside the usual ones; check what must hold
        of every run.
        """
        (self.folder / "sessions.json").write_text(json.dumps(self._usual() | rows))
        text = (ROOT / ".github/workflows" / workflow).read_text()
        run = runner.run(text, event, self.machine)
        inspect = ["docker", "image", "inspect", "--format", "{{.Id}}", self.tag]
        image = subprocess.run(inspect, capture_output=True, text=True, check=False).stdout
        self._images |= {*image.split()}
        self.report += [f"{workflow} x {scenario}: {run.result}", *_lines(run)]
        self.report.append(f"    left: {self._remains()}")
        self._check(run)
        return run

    def _usual(self) -> dict[str, dict[str, Any]]:
        """What takes minutes, and what it is replaced with."""
        return {
            "tests -- lint": {"instead": ["lint", "deps"]},
            "tests -- standin": {"add": ["-k", "pages_hold or equal_content"]},
            "snapshot_local": {"add": ["--tag", self.tag]},  # not the one that people use
            "local_test": {
                "add": ["--image", self.tag, "-k", "test_exec_takes_arguments"],
                "passed": self.tag,
            },
        }

    @property
    def failing_tests(self) -> dict[str, Any]:
        """The row of local_test where the test that fails runs."""
        return {"add": ["--image", self.tag, "-k", "test_that_fails"]}

    def _check(self, run: WorkflowRun) -> None:
        """No injection, no forged output, no secret where a stranger or a reader would see it."""
        assert not self.pwned()
        assert {name for step in run.steps for name, _ in step.commands} <= COMMANDS
        sensitive = {self.key, *self._tokens}
        texts = [run.log, run.summary, *(str(job.outputs) for job in run.jobs.values())]
        texts += [data.decode(errors="replace") for data in self.machine.artifacts.values()]
        assert not [text for text in texts for secret in sensitive if secret in text]
        if run.event.is_fork:
            assert "write" not in {p for job in run.jobs.values() for p in job.permissions.values()}
            assert not [step for step in run.steps if self.key in step.environment.values()]
        state = self.stand_in.state()
        assert not state["sandboxes"], "a sandbox is left"
        assert not state["containers"], "a container is left"

    def _remains(self) -> str:
        """What there is at Daytona and on GitHub, for the report."""
        state = self.stand_in.state()
        first_lines = (c["body"].splitlines()[1:3] for c in self.hub.comments.values())
        facts = {
            "snapshots": [
                f"{name} {snapshot['state']}"
                for name, snapshot in sorted(state["snapshots"].items())
            ],
            "stages": [f"{stage} → {name}" for stage, name in sorted(self.ledger().items())],
            "comments": [" ".join(lines).strip() for lines in first_lines],
            "pull requests": [
                f"{pull['title']} ({pull['state']})"
                for pull in self.hub.pulls.values()
                if pull.get("ours")
            ],
        }
        return "; ".join(f"{name}: {', '.join(lines)}" for name, lines in facts.items() if lines)

    def clean_up(self) -> None:
        """The images go, under all their names; each has a commit that is nobody else's."""
        if self._images:
            command = ["docker", "rmi", "--force", *sorted(self._images)]
            subprocess.run(command, capture_output=True, check=False)

    def pwned(self) -> list[Path]:
        """What a branch's name or a title would have made, had anybody run it."""
        places = (ROOT, Path.cwd(), Path.home(), Path("/tmp"), Path("/"))
        return [*self.folder.rglob("pwned"), *(p for p in places if (p / "pwned").exists())]


def _lines(run: WorkflowRun) -> Iterator[str]:
    for job in run.jobs.values():
        steps = [
            f"{console.printable(step.command)} ({step.outcome}, {step.seconds:.0f} s)"
            for step in job.steps
            if step.outcome != "skipped" and not step.command.startswith(("actions/", "pip "))
        ]
        yield f"    {job.name}: {job.result}{': ' if steps else ''}{' · '.join(steps)}"


def sessions(job: WorkflowJob) -> list[str]:
    """The sessions that ran in a job, and `!` where one failed."""
    names = []
    for step in job.steps:
        match = re.match(r"nox -s ([a-z_ ]+?)(?: --|$)", step.command)
        if match and step.outcome != "skipped":
            names.append(match[1] + ("" if step.outcome == "success" else "!"))
    return names


def _repository(*, fork: bool = False) -> dict[str, Any]:
    name = STRANGER if fork else REPOSITORY
    return {"full_name": name, "fork": fork, "default_branch": "main"}


def _tools(folder: Path) -> Path:
    """A folder with a `nox` that is the shim."""
    folder.mkdir()
    shim = shlex.join([sys.executable, str(Path(__file__).with_name("nox_shim.py"))])
    (folder / "nox").write_text(f'#!/bin/sh\nexec env PYTHONPATH=. {shim} "$@"\n')
    (folder / "nox").chmod(0o755)
    return folder


def make_origin(bare: Path) -> None:
    """Our repository as it is in the working tree, at `main`: what git ignores stays out."""
    repos.git(bare.parent, "init", "--quiet", "--bare", "-b", "main", str(bare))
    repos.git(bare, "fetch", "--quiet", str(ROOT), "HEAD")
    repos.git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    repos.git(bare, "read-tree", "FETCH_HEAD")
    repos.git(ROOT, "--git-dir", str(bare), "--work-tree", str(ROOT), "add", "--all")
    tree = repos.git(bare, "write-tree").strip()
    message = ("-m", "The working tree")
    sha = repos.git(bare, "commit-tree", tree, "-p", "FETCH_HEAD", *message).strip()
    repos.git(bare, "update-ref", "refs/heads/main", sha)
