from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from daytona import (
    CreateSandboxFromSnapshotParams,
    DaytonaConflictError,
    DaytonaError,
    DaytonaNotFoundError,
    DaytonaTimeoutError,
    DaytonaValidationError,
    ListSandboxesQuery,
    SessionExecuteRequest,
)

from tasks.base import waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from daytona import Daytona, Sandbox

    from tests.support.standin import StandInClient

    SandboxCreator = Callable[..., Sandbox]


# ── the entry point, the daemon, commands ───────────────────────────────────────────────────


def test_the_entry_point_is_a_child_of_the_daemon(create_sandbox: SandboxCreator) -> None:
    sandbox = create_sandbox()
    first_process = sandbox.process.exec("tr '\\0' ' ' </proc/1/cmdline").result
    assert first_process.startswith("/bin/sh /usr/local/bin/daytona /usr/local/bin/server")

    def listening() -> str:
        return str(sandbox.process.get_entrypoint_logs().output)

    waiting.until(listening, what="the entry point's words", timeout=10)
    assert listening() == "listening, it's a b\n"
    # Its end is not the sandbox's.
    kill_server = """
for p in /proc/[0-9]*; do
  grep -qx server $p/comm && kill -9 ${p#/proc/} && echo ended
done
"""
    assert "ended" in sandbox.process.exec(kill_server).result
    assert sandbox.process.exec("echo alive").result == "alive\n"


def test_a_command_gets_the_images_surroundings(create_sandbox: SandboxCreator) -> None:
    sandbox = create_sandbox(env_vars={"GIVEN": "a 'b' \n c"})
    response = sandbox.process.exec(
        'id -un; pwd; echo "$FROM_IMAGE $GIVEN $MORE"; echo err >&2; echo "$DAYTONA_SANDBOX_ID"',
        env={"MORE": "m"},
    )
    expected = f"someone\n/work\n1 a 'b' \n c m\nerr\n{sandbox.id}\n"
    assert (response.exit_code, response.result) == (0, expected)
    assert sandbox.get_work_dir() == "/work"
    assert sandbox.get_user_home_dir() == "/home/someone"


def test_exec_returns_the_status_of_a_command(create_sandbox: SandboxCreator) -> None:
    sandbox = create_sandbox()
    assert sandbox.process.exec("exit 7").exit_code == 7
    assert sandbox.process.exec("false\ntrue").exit_code == 0
    response = sandbox.process.exec("true", cwd="/nowhere")
    assert (response.exit_code, "no such file" in response.result) == (-1, True)
    assert sandbox.process.exec("pwd", cwd="/tmp").result == "/tmp\n"
    with pytest.raises(DaytonaValidationError):
        sandbox.process.exec("  ")
    with pytest.raises(DaytonaValidationError):
        sandbox.process.exec("true", env={"1A": "x"})


def test_a_child_reads_the_rest_of_the_script(create_sandbox: SandboxCreator) -> None:
    # A child that reads its stdin eats the rest of the script.
    assert create_sandbox().process.exec("cat\necho eaten").result == "echo eaten\n"


def test_exec_takes_a_long_script(create_sandbox: SandboxCreator) -> None:
    text = "x" * 3_000_000
    assert create_sandbox().process.exec(f"printf %s '{text}' | wc -c").result.strip() == "3000000"


def test_a_deadline_kills_the_process_group(create_sandbox: SandboxCreator) -> None:
    sandbox = create_sandbox()
    start = time.monotonic()
    with pytest.raises(DaytonaTimeoutError):
        sandbox.process.exec("sleep 61 & sleep 62", timeout=1)
    assert time.monotonic() - start < 5
    processes = "for c in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$c; echo; done"
    assert "sleep 6" not in sandbox.process.exec(processes).result


def test_sessions_keep_their_shell(create_sandbox: SandboxCreator) -> None:
    process = create_sandbox().process
    process.create_session("one")
    first = process.execute_session_command("one", SessionExecuteRequest(command="cd /; A=5"))
    assert first.exit_code == 0
    request = SessionExecuteRequest(command='pwd; echo "$A"; false')
    second = process.execute_session_command("one", request)
    assert (second.exit_code, second.output) == (1, "/\n5\n")
    request = SessionExecuteRequest(command="sleep 0.3; echo late", run_async=True)
    third = process.execute_session_command("one", request)

    def has_ended() -> bool:
        return process.get_session_command("one", third.cmd_id).exit_code == 0

    waiting.until(has_ended, what="the command's end", timeout=10)
    assert process.get_session_command_logs("one", third.cmd_id).output == "late\n"
    assert [len(session.commands) for session in process.list_sessions()] == [3]
    process.delete_session("one")
    with pytest.raises(DaytonaNotFoundError):
        process.get_session("one")


# ── files ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["plain", "new folder/ü 'q' $x", "/tmp/a/b/c.bin", 'a"b'])
def test_a_file_comes_back_unchanged(create_sandbox: SandboxCreator, path: str) -> None:
    sandbox = create_sandbox()
    content = bytes(range(256)) * 5000
    sandbox.fs.upload_file(content, path)
    assert sandbox.fs.download_file(path) == content
    info = sandbox.fs.get_file_info(path)
    assert (info.size, info.owner, info.permissions) == (len(content), "someone", "0644")


def test_a_missing_or_forbidden_file_is_refused(create_sandbox: SandboxCreator) -> None:
    sandbox = create_sandbox()
    with pytest.raises(DaytonaNotFoundError):
        sandbox.fs.download_file("/nowhere")
    with pytest.raises(DaytonaError, match="Permission denied"):
        sandbox.fs.upload_file(b"x", "/etc/mine")


def test_folders_are_listed_changed_and_deleted(create_sandbox: SandboxCreator) -> None:
    fs = create_sandbox().fs
    fs.create_folder("d/e", "700")
    fs.upload_file(b"x", "d/f")
    assert {(f.name, f.is_dir, f.permissions) for f in fs.list_files("d")} == {
        ("e", True, "0700"),
        ("f", False, "0644"),
    }
    fs.set_file_permissions("d/f", mode="600")
    fs.move_files("d/f", "d/g")
    assert fs.get_file_info("d/g").permissions == "0600"
    fs.delete_file("d", recursive=True)
    with pytest.raises(DaytonaNotFoundError):
        fs.list_files("d")


# ── life ────────────────────────────────────────────────────────────────────────────────────


def test_a_sandbox_stops_starts_and_is_deleted(
    create_sandbox: SandboxCreator, sdk: Daytona, stand_in: StandInClient
) -> None:
    sandbox = create_sandbox(name="by-name")
    assert sandbox.state == "started"
    sandbox.fs.upload_file(b"stays", "kept")
    sandbox.stop()
    assert sdk.get("by-name").state == "stopped"
    with pytest.raises(DaytonaError):
        sandbox.process.exec("true")
    sandbox.start()
    assert sandbox.fs.download_file("kept") == b"stays"
    sandbox.delete()
    with pytest.raises(DaytonaNotFoundError):
        sdk.get(sandbox.id)
    # The name is free at once.
    create_sandbox(name="by-name")
    with pytest.raises(DaytonaConflictError, match="already exists"):
        create_sandbox(name="by-name")

    def is_removed() -> bool:
        return not any(sandbox.id[:13] in c for c in stand_in.state()["containers"])

    waiting.until(is_removed, what="the container's end", timeout=20)


def test_a_starting_sandbox_refuses_its_deletion(
    stand_in: StandInClient, sdk: Daytona, server_snapshot: str
) -> None:
    stand_in.inject("slow-start", on=server_snapshot, seconds=8)
    body = {"snapshot": server_snapshot, "labels": {"slow": "1"}}
    headers = stand_in.headers
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{stand_in.url}/sandbox", json=body, headers=headers, timeout=3)
    (sandbox,) = labelled(sdk, slow="1")
    with pytest.raises(DaytonaConflictError, match="in progress"):
        sandbox.delete()

    def is_deleted() -> bool:
        try:
            sandbox.delete()
        except DaytonaConflictError:
            return False
        return True

    waiting.until(is_deleted, what="the deletion", timeout=30)


def labelled(sdk: Daytona, **labels: str) -> list[Any]:
    return list(sdk.list(ListSandboxesQuery(labels=labels)))


def test_labels_select_sandboxes(create_sandbox: SandboxCreator, sdk: Daytona) -> None:
    first, second = (
        create_sandbox(labels={"k": "1", "both": "y"}),
        create_sandbox(labels={"k": "2", "both": "y"}),
    )
    assert {f.id for f in labelled(sdk, both="y")} == {first.id, second.id}
    assert [f.id for f in labelled(sdk, both="y", k="1")] == [first.id]
    assert labelled(sdk, k="3") == []
    first.set_labels({"k": "3"})
    assert [f.id for f in labelled(sdk, k="3")] == [first.id]
    pages = sdk.list(ListSandboxesQuery(labels={"code-toolbox-language": "python"}, limit=1))
    assert [f.id for f in pages] == [second.id]


def test_malformed_labels_are_refused(stand_in: StandInClient) -> None:
    headers = stand_in.headers
    response = httpx.get(f"{stand_in.url}/sandbox", params={"labels": "{"}, headers=headers)
    assert response.status_code == 400


def test_an_unknown_or_inactive_snapshot_starts_no_sandbox(
    stand_in: StandInClient, sdk: Daytona, server_snapshot: str
) -> None:
    with pytest.raises(DaytonaValidationError, match="Did you add it"):
        sdk.create(CreateSandboxFromSnapshotParams(snapshot="no-such"))
    stand_in.set_snapshot_state(server_snapshot, "inactive")
    try:
        with pytest.raises(DaytonaValidationError, match="is inactive"):
            sdk.create(CreateSandboxFromSnapshotParams(snapshot=server_snapshot))
    finally:
        stand_in.set_snapshot_state(server_snapshot, "active")


# Minutes of intervals last one second here.


def test_an_idle_sandbox_is_stopped_then_deleted(
    create_sandbox: SandboxCreator, sdk: Daytona
) -> None:
    sandbox = create_sandbox(auto_stop_interval=4, auto_delete_interval=1)
    for _ in range(6):  # it stays while it is used
        time.sleep(1)
        sandbox.process.exec("true")
    assert sdk.get(sandbox.id).state == "started"
    waiting.until(lambda: is_gone(sdk, sandbox), what="its end", timeout=20)


def test_an_ephemeral_sandbox_is_deleted_when_it_stops(
    create_sandbox: SandboxCreator, sdk: Daytona
) -> None:
    sandbox = create_sandbox(auto_stop_interval=1, auto_delete_interval=0)
    waiting.until(lambda: is_gone(sdk, sandbox), what="its end", timeout=20)


def test_a_sandbox_is_deleted_at_the_end_of_its_time(
    create_sandbox: SandboxCreator, sdk: Daytona
) -> None:
    sandbox = create_sandbox(auto_stop_interval=0, ttl_minutes=2)
    waiting.until(lambda: is_gone(sdk, sandbox), what="its end", timeout=20)


def is_gone(sdk: Daytona, sandbox: Sandbox) -> bool:
    try:
        sdk.get(sandbox.id)
    except DaytonaNotFoundError:
        return True
    return False
