"""A repository, a GitHub and a Daytona of this machine, on which workflows are rehearsed."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.base.project import ROOT
from tests.support import repos
from tests.workflows import runner
from tests.workflows.runner import Event, Machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.standin import StandIn
    from tests.support.github import GitHub
    from tests.workflows.runner import Run

REPOSITORY: Final = "iterate/iterate"
STRANGER: Final = "stranger/iterate"
#: Git would not take the first for a branch, but a payload may say anything.
HOSTILE: Final = '"; touch pwned #'
HOSTILE_BRANCHES: Final = ('";touch${IFS}pwned;#', "$(touch${IFS}pwned)", "`touch${IFS}pwned`")
HOSTILE_TITLE: Final = (
    '"; touch pwned #\n::set-output name=action::publish\n##[set-output name=action]publish\n'
    "action=publish\n$(touch pwned) `touch pwned` ${{ secrets.DAYTONA_API_KEY }}"
)
#: What a runner may be told by us; whatever else is in a log is somebody else's.
COMMANDS: Final = {"group", "endgroup", "error", "warning", "notice", "debug", "add-mask"}
LEDGER: Final = "refs/sandbox/ledger/"


@dataclass
class Rehearsal:
    """`rows` is what the report shows."""

    folder: Path
    stand_in: StandIn
    hub: GitHub
    origin: Path
    rows: list[tuple[str, str, Run, str]] = field(default_factory=list)
    tag: str = field(default_factory=lambda: f"iterate-sandbox:rehearsal-{secrets.token_hex(4)}")
    tokens: list[str] = field(default_factory=list)
    images: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        tools = self.folder / "tools"
        tools.mkdir()
        shim = Path(__file__).with_name("nox_shim.py")
        program = tools / "nox"
        words = shlex.join([sys.executable, str(shim)])
        program.write_text(f'#!/bin/sh\nexec env PYTHONPATH=. {words} "$@"\n')
        program.chmod(0o755)
        given = dict(self.stand_in.environment)
        self.key = given.pop("DAYTONA_API_KEY")
        self.machine = Machine(
            folder=self.folder / "machine",
            origin=self.origin.as_uri(),
            repository=REPOSITORY,
            secrets={name: {"DAYTONA_API_KEY": self.key} for name in ("prd", "dev")},
            variables={
                "DAYTONA_API_URL": given.pop("DAYTONA_API_URL"),
                "DAYTONA_TARGET": given.pop("DAYTONA_TARGET"),
            },
            environment={
                **given,  # that loopback may be an API
                "SANDBOX_LEDGER": str(self.origin),
                "REHEARSAL_SESSIONS": str(self.folder / "sessions.json"),
                "REHEARSAL_PYTHON": str(self.folder / "machine/python"),
                "REHEARSAL_ENVIRONMENTS": str(self.folder / "environments"),
            },
            tools=(tools,),
            api_url=self.hub.url,
            token=self._token,
        )
        self.machine.folder.mkdir()
        self._pwned_before = _pwned()

    def _token(self, permissions: Mapping[str, str]) -> str:
        """A job's, which may do what the job says, and look at what is public."""
        name = f"ghs_{secrets.token_hex(18)}"
        may = {scope.replace("-", "_"): level for scope, level in permissions.items()}
        self.tokens.append(name)
        return self.hub.token(name, {"metadata": "read", **may})

    # ── the repository ──────────────────────────────────────────────────────────────────────

    def commit(self, branch: str, parent: str, files: Mapping[str, str]) -> str:
        """A commit with these files on top, at the branch; its id."""
        index = str(self.folder / "index")
        git = _Git(self.origin, index)
        git("read-tree", parent)
        for name, text in files.items():
            blob = git("hash-object", "-w", "--stdin", stdin=text)
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
        tree = git("write-tree")
        sha = git("commit-tree", tree, "-p", parent, "-m", "A commit of the rehearsal")
        git("update-ref", f"refs/heads/{branch}" if "/" not in branch[:5] else branch, sha)
        return sha

    def merge(self, number: int, head: str) -> str:
        """What GitHub makes of a pull request into main: the tree is the head's."""
        git = _Git(self.origin, str(self.folder / "index"))
        main = self.tip("main")
        tree = git("rev-parse", f"{head}^{{tree}}")
        sha = git("commit-tree", tree, "-p", main, "-p", head, "-m", f"Merge {head} into {main}")
        git("update-ref", f"refs/pull/{number}/merge", sha)
        return sha

    def tip(self, branch: str) -> str:
        return _Git(self.origin, "")("rev-parse", f"refs/heads/{branch}")

    def ledger(self) -> dict[str, str]:
        """Stage → the snapshot it uses."""
        git = _Git(self.origin, "")
        refs = git("for-each-ref", "--format=%(refname)", LEDGER).split()
        return {
            ref.removeprefix(LEDGER): git("log", "-1", "--format=%s", ref).split()[-1]
            for ref in refs
        }

    # ── events ──────────────────────────────────────────────────────────────────────────────

    def repository(self, *, fork: bool = False) -> dict[str, Any]:
        name = STRANGER if fork else REPOSITORY
        return {"full_name": name, "fork": fork, "default_branch": "main"}

    def pull(
        self, action: str, *, branch: str, sha: str, number: int, fork: bool = False,
        labels: tuple[str, ...] = (), label: str | None = None, state: str = "open",
    ) -> Event:  # fmt: skip
        payload = {
            "action": action,
            "number": number,
            "repository": self.repository(),
            "pull_request": {
                "number": number,
                "state": state,
                "title": HOSTILE_TITLE,
                "body": HOSTILE_TITLE,
                "labels": [{"name": name} for name in labels],
                "head": {"ref": branch, "sha": sha, "repo": self.repository(fork=fork)},
                "base": {"ref": "main", "repo": self.repository()},
            },
            **({"label": {"name": label}} if label else {}),
        }
        return Event(
            name="pull_request", payload=payload, sha=self.merge(number, sha),
            ref=f"refs/pull/{number}/merge", head_ref=branch, base_ref="main",
        )  # fmt: skip

    def on_main(self, name: str, *, fork: bool = False, **payload: Any) -> Event:
        """push, schedule, delete or workflow_dispatch: what runs is main's."""
        payload["repository"] = self.repository(fork=fork)
        return Event(name=name, payload=payload, sha=self.tip("main"), ref="refs/heads/main")

    # ── playing ─────────────────────────────────────────────────────────────────────────────

    def play(self, workflow: str, scenario: str, event: Event, **sessions: dict[str, Any]) -> Run:
        """Run it, with these rows of the shim's table beside the usual ones; check what must hold
        of every run.
        """
        usual = self._usual()
        table = usual | sessions
        (self.folder / "sessions.json").write_text(json.dumps(table))
        text = (ROOT / ".github/workflows" / workflow).read_text()
        self.machine.repository = event.payload["repository"]["full_name"]
        done = runner.run(text, event, self.machine)
        self.images |= set(_docker("image", "inspect", "--format", "{{.Id}}", self.tag).split())
        (self.folder / f"{workflow}-{len(self.rows)}.log").write_text(done.log)
        self.rows.append((workflow, scenario, done, self.left()))
        self.check(done)
        return done

    def _usual(self) -> dict[str, dict[str, Any]]:
        """What takes minutes, and what it is replaced with."""
        return {
            "tests -- lint": {"instead": ["lint", "deps"]},
            "snapshot_local": {"add": ["--tag", self.tag]},  # not the one that people use
            "local_test": {
                "add": ["--image", self.tag, "-k", "test_exec_takes_arguments"],
                "passed": self.tag,
            },
            "tests -- standin": {"add": ["-k", "test_pages or test_equal_content"]},
        }

    def left(self) -> str:
        """What there is, at Daytona and on GitHub."""
        state = self.stand_in.state()
        stages = ", ".join(f"{stage} → {name}" for stage, name in sorted(self.ledger().items()))
        comments = [c["body"].splitlines() for c in self.hub.comments.values()]
        pulls = [f"{p['title']} ({p['state']})" for p in self.hub.pulls.values() if p.get("ours")]
        facts = {
            "snapshots": ", ".join(f"{n} {s}" for n, s in sorted(state["snapshots"].items())),
            "sandboxes": ", ".join(state["sandboxes"]),
            "stages": stages,
            "comments": "; ".join(" ".join(lines[1:3]).strip() for lines in comments),
            "pull requests": ", ".join(pulls),
        }
        return "; ".join(f"{what}: {text}" for what, text in facts.items() if text) or "nothing"

    def check(self, done: Run) -> None:
        """No injection, no forged output, no secret where a stranger or a reader would see it."""
        assert not self.pwned(), self.pwned()
        assert {name for name, _ in done.commands} <= COMMANDS, done.commands
        known = {self.key, *self.tokens}
        shown = [done.log, done.summary, *map(str, (j.outputs for j in done.jobs.values()))]
        assert not [text for text in shown for secret in known if secret in text]
        for file in self.machine.artifacts.rglob("*"):
            if file.is_file():
                assert not [s for s in known if s.encode() in file.read_bytes()], file
        if done.event.is_fork:
            for job in done.jobs.values():
                assert "write" not in job.permissions.values(), job
                for step in job.steps:
                    assert self.key not in step.environment.values(), step.ran
        state = self.stand_in.state()
        assert not state["sandboxes"], "a sandbox is left"
        assert not state["containers"], "a container is left"

    def clean_up(self) -> None:
        """The images go, under all their names; each has a commit that is nobody else's."""
        if self.images:
            _docker("rmi", "--force", *sorted(self.images))

    def pwned(self) -> list[Path]:
        """What a branch's name or a title would have made, had anybody run it."""
        return [*self.folder.rglob("pwned"), *(_pwned() - self._pwned_before)]


def _pwned() -> set[Path]:
    places = (ROOT, Path.cwd(), Path.home(), Path("/tmp"), Path("/"))
    return {place / "pwned" for place in places if (place / "pwned").exists()}


def _docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, check=False)
    return done.stdout


class _Git:
    def __init__(self, bare: Path, index: str) -> None:
        self._bare = bare
        self._environment = {**repos.GIT_ENV, **({"GIT_INDEX_FILE": index} if index else {})}

    def __call__(self, *args: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["git", "--git-dir", str(self._bare), *args], env=self._environment,
            input=stdin.encode(), capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"git {args}: {done.stderr.decode(errors='replace')}"
        return os.fsdecode(done.stdout).strip()


def make_origin(bare: Path) -> None:
    """Our repository as it is in the working tree, at `main`: what git ignores stays out."""
    repos.git(bare.parent, "init", "--quiet", "--bare", "-b", "main", str(bare))
    repos.git(bare, "fetch", "--quiet", str(ROOT), "HEAD")
    repos.git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    index = bare.parent / "index"
    environment = {**repos.GIT_ENV, "GIT_INDEX_FILE": str(index)}

    def git(*args: str) -> str:
        command = ["git", "--git-dir", str(bare), "--work-tree", str(ROOT), *args]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, check=True, timeout=120
        )
        return os.fsdecode(done.stdout).strip()

    git("read-tree", "FETCH_HEAD")
    git("add", "--all")
    tree = git("write-tree")
    sha = git("commit-tree", tree, "-p", "FETCH_HEAD", "-m", "The working tree")
    git("update-ref", "refs/heads/main", sha)
