"""What is mounted, and how: folders and files anywhere, a read-only root, noexec memory."""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tests.sandbox.docker_run import ca_options, docker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.checkout import Checkout
    from tests.sandbox.docker_run import Container, Containers

pytestmark = pytest.mark.needs("local_mode")

HOME = project.HOME
S6 = f"{project.REPO}/{project.SANDBOX_DIR}/s6-daemons"
#: Where services, agents, shells and package managers keep state, and places of a user's own.
FOLDERS = (
    ".local/share/opencode",
    ".local/state/opencode",
    ".config/opencode",
    ".cache",
    ".claude",
    ".pi/agent/sessions",
    ".npm",
    ".local/share/pnpm/store",
    ".local/share/of/its own",
    ".iterate",
    ".ssh",
    ".vscode-server",
    "src/github.com/another/one",
    f"{project.IDENTITY.repository}/node_modules/.cache",
)


def volume_options(containers: Containers, options: str = "") -> list[str]:
    mounts = [
        f"--mount=type=volume,src={containers.volume()},dst={HOME}/{folder}{options}"
        for folder in FOLDERS
    ]
    return [*mounts, f"--mount=type=volume,src={containers.volume()},dst=/var/log/opencode"]


def assert_writable(container: Container, *folders: str) -> None:
    for folder in folders:
        result = container.exec("touch", f"{HOME}/{folder}/written")
        assert result.returncode == 0, result.stderr


def test_new_volumes_and_files_anywhere_are_the_users(
    containers: Containers, tmp_path: Path
) -> None:
    """Also what the engine makes on the way to them; the volumes get no owner from the image."""
    (tmp_path / "file").write_text("A=1\n")
    tmp_path.chmod(0o755)
    files = (".iterate-of-mine/a/.env", ".config/gh/hosts.yml", ".ssh/config", ".deep/er/and/file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/of.txt").write_text("the host's\n")
    used = containers.volume()
    fill = ("-v", f"{used}:/mnt", "--user", "root", "--entrypoint", "sh")
    assert (
        containers.run("-c", "umask 77; mkdir -p /mnt/a; :>/mnt/a/b", options=fill).returncode == 0
    )
    container = containers.start(
        *volume_options(containers, ",volume-nocopy"),
        *(f"-v={tmp_path}/file:{HOME}/{name}:ro" for name in files),
        f"-v={used}:{HOME}/.used-by-root",
        f"-v={tmp_path}/new:{HOME}/.new-on-the-host",
        f"-v={tmp_path}/full:{HOME}/full",
        f"-v={tmp_path}/full:{HOME}/read-only:ro",
        f"--tmpfs={HOME}/.memory",
    )
    container.wait_until_ready()
    assert_writable(container, *FOLDERS, ".used-by-root/a", ".new-on-the-host", ".memory")
    assert_writable(container, ".iterate-of-mine/a", ".config/gh", ".deep", ".deep/er/and")
    assert container.exec("test", "-s", "/var/log/opencode/current").returncode == 0
    # What is the host's stays as it is; that it cannot be written is said.
    health = container.healthz()
    assert health["status"] == "degraded"
    assert len(health["problems"]) == 1, health
    [problem] = health["problems"]
    assert re.search(r"~/full belongs to uid 0.*chown -R 1000", problem["message"])
    assert problem["message"] in container.log()
    assert (tmp_path / "full").stat().st_uid == 0


def test_new_volumes_work_where_nothing_can_be_mended(containers: Containers) -> None:
    """Without sudo: what the image has under a volume decides."""
    options = "--security-opt=no-new-privileges"
    container = containers.start(options, *volume_options(containers)[:8])
    container.wait_until_ready()
    assert (
        container.healthz()["status"] == "degraded"
    )  # Pi's sessions: the image has no such folder
    assert_writable(container, *FOLDERS[:5], FOLDERS[6])


@pytest.mark.parametrize(
    "home", [("-v", "{volume}:{home}"), tuple(f"--tmpfs={{home}}/{name}" for name in
    (".local", ".cache", ".config", ".iterate"))], ids=["volume", "tmpfs"],
)  # fmt: skip
def test_a_read_only_root_works(containers: Containers, home: tuple[str, ...]) -> None:
    memory = [f"--tmpfs={folder}" for folder in ("/run", "/tmp", "/var/log")]  # all noexec
    filled = [part.format(volume=containers.volume(), home=HOME) for part in home]
    container = containers.start("--read-only", *memory, *filled)
    container.wait_until_ready()
    if "-v" in home:
        assert container.healthz()["status"] == "ok"
        assert container.exec("s6-svwait", "-U", "-t", "20000", f"{S6}/opencode").returncode == 0
    for service in project.SERVICES:
        assert container.exec("test", "-s", f"/var/log/{service}/current").returncode == 0


def test_a_read_only_root_without_memory_is_refused_in_one_line(containers: Containers) -> None:
    result = containers.run(options=("--read-only",))
    assert result.returncode == 1
    [line] = (result.stdout + result.stderr).splitlines()
    assert "cannot write to /run/iterate: its file system is read-only → mount a tmpfs" in line


def test_services_run_and_restart_where_run_holds_no_programs(containers: Containers) -> None:
    container = containers.start("--tmpfs=/run")
    container.wait_until_ready()
    assert container.healthz()["status"] == "ok"
    assert "noexec" in container.exec("grep", " /run ", "/proc/mounts").stdout
    old = container.exec("s6-svstat", "-o", "pid", f"{S6}/iterate-daemon").stdout
    container.exec("s6-svc", "-wR", "-T", "20000", "-r", f"{S6}/iterate-daemon")
    container.wait_until_ready()
    assert container.exec("s6-svstat", "-o", "pid", f"{S6}/iterate-daemon").stdout != old
    assert "iterate-daemon was ended by signal 15" in container.log()  # finish ran


#: How a script of a service can be spoilt → what is said.
DEFECTS = {
    "chmod 000 $F": "cannot be read (Permission denied)",
    "rm $F": "is missing",
    "sed -i 's/$/\\r/' $F": "has Windows line ends (CRLF)",
}


def test_a_daemon_that_cannot_be_started_ends_the_sandbox(containers: Containers) -> None:
    script, message = list(DEFECTS.items())[-1]
    container = containers.start()
    container.wait_until_ready()
    file = f"{S6}/iterate-daemon/run"
    assert container.exec("sh", "-c", f"F={file}; {script}").returncode == 0
    docker("restart", "--time", "5", container.name)
    start = time.monotonic()
    assert container.wait_until_ended() == 1
    assert time.monotonic() - start < 20
    assert f"iterate-daemon cannot be started: {file} {message}" in container.log()


def test_what_another_service_cannot_start_costs_that_service(containers: Containers) -> None:
    container = containers.start("--health-interval=1s", "--health-retries=1")
    container.wait_until_ready()
    for script, message in DEFECTS.items():
        container.exec("git", "-C", project.REPO, "checkout", "--", S6)
        container.exec("sh", "-c", f"F={S6}/opencode/run; {script}")
        container.exec("sh", "-c", f"F={S6}/iterate-daemon/log/run; {script}")
        container.exec("sh", "-c", f"F={S6}/iterate-daemon/finish; {script}")
        docker("restart", "--time", "5", container.name)
        container.wait_until_answering()
        problems = "\n".join(p["message"] for p in container.healthz()["problems"])
        assert f"opencode cannot be started: {S6}/opencode/run {message}" in problems
        assert f"{S6}/iterate-daemon/log/run {message}" in problems
        assert problems.splitlines()[-1] in container.log()
        assert not container.is_ready()
        assert container.exec("s6-svstat", "-o", "up", "/run/service/opencode").stdout == "false\n"
        # Its log and its end are taken care of by the image's own scripts.
        count = ("grep", "-c", "iterate-daemon was ended", "/var/log/iterate-daemon/current")
        old_endings = int(container.exec(*count).stdout)
        container.exec("s6-svc", "-wR", "-T", "20000", "-r", "/run/service/iterate-daemon")
        new_endings = int(container.exec(*count).stdout) - old_endings
        assert new_endings == (0 if script.startswith("rm") else 1)  # `finish` may be missing
    container.exec("git", "-C", project.REPO, "checkout", "--", S6)
    docker("restart", "--time", "5", container.name)
    container.wait_until_ready()
    assert container.healthz()["status"] == "ok"


CLOSED = {
    "all of it": ("chmod -R go-rwx {checkout}", "may not read /local-iterate-repo,"),
    "one file": ("chmod 600 {checkout}/LICENSE", "/LICENSE, which belongs to uid 1501"),
    "an untracked folder": ("mkdir -m 700 {checkout}/new; touch {checkout}/new/file", "/new,"),
}


@pytest.mark.parametrize("closed", CLOSED)
def test_a_checkout_closed_to_the_sandboxs_user_is_read(
    containers: Containers, checkout: Checkout, closed: str
) -> None:
    """Another uid's, as on a machine with several users. The copies are the sandbox's user's."""
    script, message = CLOSED[closed]
    checkout.write("README.md", "edited\n")
    path = str(checkout.path)
    subprocess.run(["sh", "-c", script.format(checkout=path)], check=True)
    subprocess.run(["chown", "-R", "1501:1501", path], check=True)
    original_files = checkout.bytes_on_disk()
    mount = ("-v", f"{path}:{project.LOCAL_MOUNT}:ro", *ca_options())
    look = "git status --porcelain; find . -not -user iterate; grep CapEff /proc/self/status"
    result = containers.run("sh", "-c", look, options=mount, timeout=180)
    assert message in result.stderr
    expected = [" M README.md", *(["?? new/"] if "new" in script else []), "CapEff:\t" + "0" * 16]
    assert result.stdout.splitlines() == expected
    assert checkout.bytes_on_disk() == original_files

    refused = containers.run("true", options=(*mount, "--security-opt=no-new-privileges"))
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert message in line
    assert "setfacl -R -m u:1000:rX CHECKOUT" in line


def test_a_checkout_with_windows_line_ends_is_named(
    containers: Containers, checkout: Checkout
) -> None:
    names = [f"{project.SANDBOX_DIR}/{name}"
             for name in ("setup-home.sh", "s6-daemons/opencode/run")]  # fmt: skip
    for name in names:
        file = checkout.path / name
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    container = containers.start("-v", f"{checkout.path}:{project.LOCAL_MOUNT}:ro", *ca_options())
    container.wait_until_answering(timeout=120)
    problems = {problem["step"]: problem["message"] for problem in container.healthz()["problems"]}
    assert all(name in problems["line-ends"] for name in names)
    assert "CRLF" in problems["line-ends"]
    assert "opencode cannot be started" in problems["services"]
    assert problems["line-ends"] in container.log()
