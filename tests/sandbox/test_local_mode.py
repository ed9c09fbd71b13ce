"""A checkout of this machine in the sandbox: the same inside as outside, at every start."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tasks.base import project
from tasks.base.errors import TaskError
from tests.sandbox.checkout import state_inside
from tests.sandbox.support import get, health, pid, ready_by_s6, until_ready, up_again

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.checkout import Checkout
    from tests.sandbox.conftest import Maker

pytestmark = pytest.mark.needs("local_mode")

REPO = project.REPO
UI = "apps/daemon/web"
PAGE = f"{UI}/index.html"
#: The first start with an unknown checkout may install and build.
FIRST = 120.0


def after_restart(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.restart(grace=3)
    return sandbox.wait_until_ready(timeout=FIRST)


def assert_same(sandbox: Sandbox, checkout: Checkout) -> None:
    inside, outside = state_inside(sandbox), checkout.state()
    differing = sorted(
        path
        for path in inside["tree"].keys() | outside["tree"].keys()
        if inside["tree"].get(path) != outside["tree"].get(path)
    )
    assert differing == []
    assert inside == outside


def change_everything(checkout: Checkout) -> None:
    """Each state a path can be in, for git."""
    checkout.write("staged-new.txt", "staged\n")
    checkout.write("README.md", "staged change\n")
    checkout.git("add", "staged-new.txt", "README.md")
    checkout.write("README.md", "and another one on top\n")
    checkout.write("pyproject.toml", checkout.read("pyproject.toml") + "\n# changed, not staged\n")
    checkout.write("deep/new folder/untracked ü.txt", "untracked\n")
    (checkout.path / "LICENSE").unlink()
    checkout.git("rm", "--quiet", ".editorconfig")
    checkout.git("mv", "noxfile.py", "renamed noxfile.py")
    (checkout.path / "a-link").symlink_to("nowhere/at/all")
    (checkout.path / "an-executable").write_text("#!/bin/sh\n")
    (checkout.path / "an-executable").chmod(0o755)
    (checkout.path / "staged-new.txt").chmod(0o755)
    (checkout.path / b"odd \xff\nname".decode("utf-8", "surrogateescape")).write_text("odd\n")


def test_the_same_inside_as_outside(make: Maker, checkout: Checkout) -> None:
    change_everything(checkout)
    checkout.write("ignored/.gitignore", "*.junk\n")
    checkout.write("ignored/big.junk", "not for the sandbox\n")
    checkout.write(".env", "SECRET_OF_THE_HOST=1\n")
    original_files = checkout.bytes_on_disk()
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    assert_same(sandbox, checkout)
    for name in ("ignored/big.junk", ".env"):
        assert sandbox.exec(["test", "-e", f"{REPO}/{name}"], check=False).exit_code == 1, name
    state = sandbox.read_json("/run/iterate/state.json")
    assert state["mode"] == "local"
    assert state["source"]["sha"] == checkout.git("rev-parse", "HEAD").strip()
    assert state["source"]["dirty"] is True
    assert checkout.bytes_on_disk() == original_files

    # And after the host has gone on.
    checkout.git("commit", "--quiet", "--all", "-m", "Go on")
    checkout.write("README.md", "edited\n")
    (checkout.path / "deep/new folder/untracked ü.txt").unlink()
    (checkout.path / "a-link").unlink()
    checkout.write("a-link/is-a-folder-now.txt", "now\n")
    checkout.git("switch", "--quiet", "-c", "another/branch")
    original_files = checkout.bytes_on_disk()
    result = after_restart(sandbox)
    assert_same(sandbox, checkout)
    assert result["sha"] == checkout.git("rev-parse", "HEAD").strip()
    assert checkout.bytes_on_disk() == original_files


def test_the_host_is_never_written(make: Maker, checkout: Checkout) -> None:
    original_files = checkout.bytes_on_disk()
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    refused = sandbox.exec(["touch", f"{project.LOCAL_MOUNT}/x"], user="root", check=False)
    assert "Read-only" in refused.stderr
    sandbox.login(f"cd {REPO} && echo x >>README.md && git add -A && git commit -qm x && git gc -q")
    after_restart(sandbox)
    assert checkout.bytes_on_disk() == original_files


def test_origin_without_what_belongs_to_the_host(make: Maker, checkout: Checkout) -> None:
    """What a CI checkout has in its configuration: a token twice, a hook, a stash, a reflog."""
    token = "ghs_" + "T" * 36
    checkout.git(
        "remote", "set-url", "origin", f"https://x-access-token:{token}@example.com/a/b.git"
    )
    checkout.git("config", "http.https://example.com/.extraheader", f"AUTHORIZATION: basic {token}")
    checkout.git("config", "core.fsmonitor", "touch /tmp/fsmonitor-ran")
    checkout.git("branch", "another-branch")
    checkout.write("README.md", "stashed\n")
    checkout.git("-c", "core.fsmonitor=", "stash")
    hook = checkout.path / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch /tmp/hook-ran\n")
    hook.chmod(0o755)

    sandbox = make(checkout=checkout.path, timeout=FIRST)
    matches = sandbox.exec(["grep", "-rlF", token, REPO, project.HOME], check=False, timeout=60)
    assert matches.stdout == ""
    git = ["git", "-C", REPO]
    url = sandbox.exec([*git, "remote", "get-url", "origin"]).stdout.strip()
    assert url == "https://example.com/a/b.git"
    spec = sandbox.exec([*git, "config", "remote.origin.fetch"]).stdout.strip()
    assert spec == "+refs/heads/*:refs/remotes/origin/*"
    assert "another-branch" not in sandbox.exec([*git, "branch", "--all"]).stdout
    assert sandbox.exec([*git, "stash", "list"]).stdout == ""
    for ran in ("/tmp/hook-ran", "/tmp/fsmonitor-ran"):
        assert sandbox.exec(["test", "-e", ran], check=False).exit_code == 1
    config = sandbox.read(f"{REPO}/.git/config").decode()
    assert "extraheader" not in config
    assert "fsmonitor" not in config


def test_work_in_the_sandbox_gives_way_but_is_not_lost(make: Maker, checkout: Checkout) -> None:
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    sandbox.write(f"{REPO}/agent-work.txt", b"half a day of work\n")
    sandbox.write(f"{REPO}/README.md", b"rewritten\n")
    after_restart(sandbox)
    assert_same(sandbox, checkout)
    content = sandbox.exec(
        'for r in $(git for-each-ref --format="%(refname)"); do'
        ' git show "$r:agent-work.txt" 2>/dev/null; done; true',
        cwd=REPO,
    )
    assert "half a day of work" in content.stdout


def test_services_stay_in_hand_after_a_sync(make: Maker, checkout: Checkout) -> None:
    """F36: the sync deletes what the host does not have; supervisors are not cut off."""
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    checkout.write("one-more.txt", "so that there is work to do\n")
    after_restart(sandbox)
    for service in project.SERVICES:
        ready_by_s6(sandbox, service)
        old = pid(sandbox, service)
        sandbox.exec(f"s6-svc -t {project.S6_DIR}/{service}")
        up_again(sandbox, service, than=old)
    until_ready(sandbox)
    assert sandbox.exec(["git", "status", "--porcelain"], cwd=REPO).stdout == "?? one-more.txt\n"


def test_an_edited_page_is_built_and_served(make: Maker, checkout: Checkout) -> None:
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    page = checkout.read(PAGE)
    checkout.write(PAGE, page.replace("</head>", '<meta name="edited" content="4711" /></head>'))
    after_restart(sandbox)
    assert "4711" in get(sandbox, "/").text
    assert health(sandbox)["status"] == "ok"


def test_a_page_that_does_not_build_leaves_the_old_one(make: Maker, checkout: Checkout) -> None:
    """F38."""
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    served = get(sandbox, "/").text
    main = f"{UI}/src/main.tsx"
    good = checkout.read(main)
    checkout.write(main, good + "\nconst broken = (=> {{{\n")
    after_restart(sandbox)
    answer = get(sandbox, "/")
    assert answer.status_code == httpx.codes.OK
    assert answer.text == served
    answer_body = health(sandbox)
    assert answer_body["status"] == "degraded"
    assert [p["step"] for p in answer_body["problems"]] == ["ui"]
    assert "main.tsx" in sandbox.console()
    assert_same(sandbox, checkout)

    checkout.write(main, good)
    after_restart(sandbox)
    assert health(sandbox)["status"] == "ok"


def test_a_lock_file_that_disagrees_is_loud_and_harmless(make: Maker, checkout: Checkout) -> None:
    """F37."""
    # The very same files; notes that pnpm and vite take about their own runs aside.
    listing = (
        f"cd {REPO} && find node_modules {UI}/node_modules"
        r" \( -name '.pnpm-*' -o -name '.vite*' -o -name .modules.yaml -o -name lock.yaml \) -prune"
        r" -o -not -type d -printf '%p %i %s\n'"
    )
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    modules, served = set(sandbox.exec(listing).stdout.splitlines()), get(sandbox, "/").text
    package = f"{UI}/package.json"
    good = checkout.read(package)
    assert '"dependencies": {' in good
    edited = good.replace('"dependencies": {', '"dependencies": {\n    "left-pad": "1.3.0",', 1)
    checkout.write(package, edited)
    after_restart(sandbox)
    answer_body = health(sandbox)
    assert answer_body["status"] == "degraded"
    assert "install" in [p["step"] for p in answer_body["problems"]]
    assert "ERR_PNPM_OUTDATED_LOCKFILE" in sandbox.console()
    assert set(sandbox.exec(listing).stdout.splitlines()) ^ modules == set()
    answer = get(sandbox, "/")
    assert answer.status_code == httpx.codes.OK
    assert answer.text == served

    checkout.write(package, good)
    after_restart(sandbox)
    assert health(sandbox)["status"] == "ok"
    assert set(sandbox.exec(listing).stdout.splitlines()) ^ modules == set()


def test_nothing_is_done_again_without_need(make: Maker, checkout: Checkout) -> None:
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    stamp = f"cd {REPO} && stat -c '%n %i %Y' node_modules {UI}/dist {UI}/dist/index.html README.md"
    original_stamp = sandbox.exec(stamp).stdout
    after_restart(sandbox)
    assert sandbox.exec(stamp).stdout == original_stamp


def test_ended_at_any_moment_the_next_start_converges(
    make: Maker,
    checkout: Checkout,
    rng: random.Random,
    times: Callable[[int, int], int],
) -> None:
    """F34: restarts while it syncs, installs and builds; then it is the host's tree, whole."""
    sandbox = make(checkout=checkout.path, timeout=FIRST)
    page, style = checkout.read(PAGE), checkout.read(f"{UI}/src/style.css")
    for number in range(times(5, 200)):
        edit(checkout, rng, number)
        mark = f"round-{number}"
        if rng.random() < 0.5:
            checkout.write(PAGE, page.replace("</head>", f'<meta content="{mark}" /></head>'))
            checkout.write(f"{UI}/src/style.css", f"{style}\n.{mark} {{ color: red }}\n")
        for _ in range(rng.randint(1, 3)):
            if rng.random() < 0.5:
                with suppress(TaskError):  # it may have ended by itself, between two starts
                    sandbox.kill()
                sandbox.start()
            else:
                sandbox.restart(grace=3)
            time.sleep(rng.uniform(0, 3.5))
        if sandbox.end_reason():
            sandbox.start()
        sandbox.wait_until_ready(timeout=FIRST)
        assert_same(sandbox, checkout)
        assert health(sandbox)["status"] == "ok"
        if mark in checkout.read(PAGE):
            assert mark in get(sandbox, "/").text


def edit(checkout: Checkout, rng: random.Random, number: int) -> None:
    """What a person does between two starts."""
    for _ in range(rng.randint(1, 4)):
        name = f"work/{rng.randint(0, 6)}/file-{rng.randint(0, 6)}.txt"
        match rng.choice(["write", "write", "delete", "stage", "commit", "many"]):
            case "write":
                checkout.write(name, f"{number} {rng.random()}\n" * rng.randint(1, 2000))
            case "delete":
                for file in list((checkout.path / "work").glob("*/*"))[: rng.randint(0, 5)]:
                    file.unlink()
            case "stage":
                checkout.git("add", "--all")
            case "commit":
                checkout.git("commit", "--quiet", "--all", "--allow-empty", "-m", f"round {number}")
            case "many":
                for i in range(150):
                    checkout.write(f"work/many/{i}.txt", f"{number} {i}\n" * 500)
