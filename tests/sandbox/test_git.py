"""The repository inside: clean, whole, and without anything of whoever built it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tasks.base import project

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox

#: What may look like a credential in a configuration or URL.
CREDENTIAL = re.compile(
    r"extraheader|://[^/\s]*@|token|password|AUTHORIZATION|gh[pousr]_\w+|insteadOf", re.IGNORECASE
)


def git(sandbox: Sandbox, *args: str) -> str:
    return sandbox.exec(["git", *args], cwd=project.REPO).stdout


def test_status_is_what_it_was_outside(sandbox: Sandbox) -> None:
    """Clean when the build's source was; services run, and leave no trace in it."""
    build = sandbox.read_json(project.BUILD_INFO)
    status = git(sandbox, "status", "--porcelain")
    assert bool(status) == build["dirty"], status


def test_services_leave_it_alone(fresh_sandbox: Sandbox) -> None:
    original_status = git(fresh_sandbox, "status", "--porcelain", "--ignored")
    for service in project.SERVICES:
        fresh_sandbox.exec(
            f"s6-svc -r /run/service/{service}; s6-svwait -U -t 20000 /run/service/{service}"
        )
    fresh_sandbox.exec(["opencode", "--version"], cwd=project.REPO)
    fresh_sandbox.restart(grace=3)
    fresh_sandbox.wait_until_ready()
    assert git(fresh_sandbox, "status", "--porcelain", "--ignored") == original_status


def test_commit_and_branch_are_those_of_the_build(sandbox: Sandbox) -> None:
    build = sandbox.read_json(project.BUILD_INFO)
    assert git(sandbox, "rev-parse", "HEAD").strip() == build["sha"]
    branch = sandbox.exec(
        ["git", "symbolic-ref", "--quiet", "--short", "HEAD"], cwd=project.REPO, check=False
    )
    assert (branch.stdout.strip() or None) == build["branch"]


def test_history_is_there_and_whole(sandbox: Sandbox) -> None:
    assert len(git(sandbox, "log", "--format=%H").split()) >= 1
    assert git(sandbox, "log", "-1", "--format=%H").strip()
    problems = sandbox.exec(
        ["git", "fsck", "--connectivity-only", "--no-dangling"], cwd=project.REPO, timeout=60
    )
    assert "missing" not in problems.stdout + problems.stderr
    assert "error" not in problems.stdout + problems.stderr


def test_nothing_but_the_one_branch(sandbox: Sandbox) -> None:
    build = sandbox.read_json(project.BUILD_INFO)
    refs = git(sandbox, "for-each-ref", "--format=%(refname)").split()
    branches = [r for r in refs if r.startswith("refs/heads/")]
    assert branches == ([f"refs/heads/{build['branch']}"] if build["branch"] else [])
    strange = [r for r in refs if not r.startswith(("refs/heads/", "refs/remotes/", "refs/tags/"))]
    assert strange == []
    remote = [r for r in refs if r.startswith("refs/remotes/")]
    assert set(remote) <= {f"refs/remotes/origin/{build['branch']}", "refs/remotes/origin/HEAD"}
    assert git(sandbox, "stash", "list") == ""
    assert git(sandbox, "worktree", "list", "--porcelain").count("worktree ") == 1


def test_no_reflog_no_hooks(sandbox: Sandbox) -> None:
    assert sandbox.exec("find .git/logs -type f 2>/dev/null || true", cwd=project.REPO).stdout == ""
    hooks = sandbox.exec(
        "find .git/hooks -type f ! -name '*.sample' 2>/dev/null || true", cwd=project.REPO
    )
    assert hooks.stdout == ""


def test_configuration_has_no_credentials_and_runs_nothing(sandbox: Sandbox) -> None:
    config = sandbox.read(f"{project.REPO}/.git/config").decode()
    assert not CREDENTIAL.search(config), config
    for key in ("core.fsmonitor", "core.sshCommand", "core.hooksPath", "credential", "include"):
        matches = sandbox.exec(
            ["git", "config", "--local", "--get-regexp", f"^{re.escape(key)}"],
            cwd=project.REPO,
            check=False,
        )
        assert matches.stdout == ""


def test_origin_is_one_that_anybody_may_see(sandbox: Sandbox) -> None:
    """A checkout without a remote gives none; test_local_mode.py has one with a password."""
    urls = sandbox.exec(
        ["git", "config", "--get-all", "remote.origin.url"], cwd=project.REPO, check=False
    ).stdout.split()
    for url in urls:
        assert not CREDENTIAL.search(url)
        assert not url.startswith(("/", "file:", ".")), "a path of whoever built it"
    if urls:
        specs = git(sandbox, "config", "--get-all", "remote.origin.fetch").split()
        assert "+refs/heads/*:refs/remotes/origin/*" in specs


def test_fetch_works(fresh_sandbox: Sandbox) -> None:
    """From a repository with a newer commit, in the place of an origin that is out of reach."""
    script = """
    git clone --quiet --bare . /tmp/origin.git
    git clone --quiet /tmp/origin.git /tmp/work 2>/dev/null
    cd /tmp/work
    git switch --quiet -c newer
    git -c user.name=t -c user.email=t@example.invalid commit --quiet --allow-empty -m newer
    git push --quiet origin newer
    cd -
    git remote remove origin 2>/dev/null || true
    git remote add origin /tmp/origin.git
    git fetch --quiet
    git log -1 --format=%s origin/newer
    """
    output = fresh_sandbox.exec(["bash", "-euc", script], cwd=project.REPO, timeout=60).stdout
    assert output.splitlines()[-1] == "newer"


def test_work_can_be_committed(fresh_sandbox: Sandbox) -> None:
    """What every agent does first: no dubious ownership, an identity to commit with."""
    fresh_sandbox.write(f"{project.REPO}/agent-was-here.txt", b"hello\n")
    fresh_sandbox.login(
        "git switch -c work && git add -A && git commit -m 'Say hello'", cwd=project.REPO
    )
    assert git(fresh_sandbox, "log", "-1", "--format=%s").strip() == "Say hello"
    assert git(fresh_sandbox, "status", "--porcelain") == ""


@pytest.mark.parametrize("path", [".", ".git", "node_modules", "apps/daemon/web/dist"])
def test_repository_belongs_to_the_user(sandbox: Sandbox, path: str) -> None:
    owner = sandbox.exec(["stat", "-c", "%U:%G", f"{project.REPO}/{path}"]).stdout.strip()
    assert owner == f"{project.USER}:{project.USER}"


def test_no_file_of_another_owner(sandbox: Sandbox) -> None:
    strange = sandbox.exec(
        ["find", project.REPO, "-not", "-user", project.USER, "-print", "-quit"], timeout=60
    )
    assert strange.stdout == ""


def test_dependencies_are_installed(sandbox: Sandbox) -> None:
    for path in ("node_modules", "apps/daemon/web/node_modules", "apps/daemon/web/dist/index.html"):
        sandbox.exec(["test", "-e", f"{project.REPO}/{path}"])
    version = sandbox.exec(
        ["pnpm", "--filter", "@iterate/daemon-web", "exec", "vite", "--version"],
        cwd=project.REPO,
        timeout=60,
    )
    assert "vite/" in version.stdout
    sandbox.exec(["apps/daemon/.venv/bin/python", "-c", "import starlette"], cwd=project.REPO)


def test_nothing_secret_in_the_tree(sandbox: Sandbox) -> None:
    named = sandbox.exec(
        "find . -path ./node_modules -prune -o -path '*/node_modules' -prune -o"
        r" \( -name '.env' -o -name '.env.*' -o -name 'id_rsa*' -o -name 'id_ed25519*'"
        r" -o -name '*.pem' -o -name '.npmrc' -o -name '.netrc' \) -type f -print",
        cwd=project.REPO,
    )
    matches = [
        path
        for path in named.stdout.split()
        if "/.venv/" not in path and not path.endswith((".example", ".sample", ".template"))
    ]
    assert matches == []
