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

    from tasks.standin import StandIn

    Make = Callable[..., Sandbox]


# ── the entry point, the daemon, commands ───────────────────────────────────────────────────


def test_the_entry_point_is_a_child_and_the_daemon_is_first(make: Make) -> None:
    sandbox = make()
    first = sandbox.process.exec("tr '\\0' ' ' </proc/1/cmdline").result
    assert first.startswith("/bin/sh /usr/local/bin/daytona /usr/local/bin/server")

    def listening() -> str:
        return str(sandbox.process.get_entrypoint_logs().output)

    waiting.until(listening, what="the entry point's words", timeout=10)
    assert listening() == "listening, it's a b\n"
    # Its end is not the sandbox's.
    ended = """
for p in /proc/[0-9]*; do
  grep -qx server $p/comm && kill -9 ${p#/proc/} && echo ended
done
"""
    assert "ended" in sandbox.process.exec(ended).result
    assert sandbox.process.exec("echo alive").result == "alive\n"


def test_what_a_command_finds(make: Make) -> None:
    sandbox = make(env_vars={"GIVEN": "a 'b' \n c"})
    done = sandbox.process.exec(
        'id -un; pwd; echo "$FROM_IMAGE $GIVEN $MORE"; echo err >&2; echo "$DAYTONA_SANDBOX_ID"',
        env={"MORE": "m"},
    )
    expected = f"someone\n/work\n1 a 'b' \n c m\nerr\n{sandbox.id}\n"
    assert (done.exit_code, done.result) == (0, expected)
    assert sandbox.get_work_dir() == "/work"
    assert sandbox.get_user_home_dir() == "/home/someone"


def test_statuses(make: Make) -> None:
    sandbox = make()
    assert sandbox.process.exec("exit 7").exit_code == 7
    assert sandbox.process.exec("false\ntrue").exit_code == 0
    nowhere = sandbox.process.exec("true", cwd="/nowhere")
    assert (nowhere.exit_code, "no such file" in nowhere.result) == (-1, True)
    assert sandbox.process.exec("pwd", cwd="/tmp").result == "/tmp\n"
    with pytest.raises(DaytonaValidationError):
        sandbox.process.exec("  ")
    with pytest.raises(DaytonaValidationError):
        sandbox.process.exec("true", env={"1A": "x"})


def test_the_script_is_the_shells_stdin(make: Make) -> None:
    # A child that reads its stdin eats the rest of the script.
    assert make().process.exec("cat\necho eaten").result == "echo eaten\n"


def test_long_scripts(make: Make) -> None:
    text = "x" * 3_000_000
    assert make().process.exec(f"printf %s '{text}' | wc -c").result.strip() == "3000000"


def test_a_deadline_kills_the_group(make: Make) -> None:
    sandbox = make()
    begun = time.monotonic()
    with pytest.raises(DaytonaTimeoutError):
        sandbox.process.exec("sleep 61 & sleep 62", timeout=1)
    assert time.monotonic() - begun < 5
    left = "for c in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$c; echo; done"
    assert "sleep 6" not in sandbox.process.exec(left).result


def test_sessions_keep_their_shell(make: Make) -> None:
    process = make().process
    process.create_session("one")
    first = process.execute_session_command("one", SessionExecuteRequest(command="cd /; A=5"))
    assert first.exit_code == 0
    request = SessionExecuteRequest(command='pwd; echo "$A"; false')
    second = process.execute_session_command("one", request)
    assert (second.exit_code, second.output) == (1, "/\n5\n")
    request = SessionExecuteRequest(command="sleep 0.3; echo late", run_async=True)
    third = process.execute_session_command("one", request)

    def ended() -> bool:
        return process.get_session_command("one", third.cmd_id).exit_code == 0

    waiting.until(ended, what="the command's end", timeout=10)
    assert process.get_session_command_logs("one", third.cmd_id).output == "late\n"
    assert [len(session.commands) for session in process.list_sessions()] == [3]
    process.delete_session("one")
    with pytest.raises(DaytonaNotFoundError):
        process.get_session("one")


# ── files ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["plain", "new folder/ü 'q' $x", "/tmp/a/b/c.bin", 'a"b'])
def test_files_come_back_as_they_went(make: Make, path: str) -> None:
    sandbox = make()
    content = bytes(range(256)) * 5000
    sandbox.fs.upload_file(content, path)
    assert sandbox.fs.download_file(path) == content
    found = sandbox.fs.get_file_info(path)
    assert (found.size, found.owner, found.permissions) == (len(content), "someone", "0644")


def test_what_files_are_refused(make: Make) -> None:
    sandbox = make()
    with pytest.raises(DaytonaNotFoundError):
        sandbox.fs.download_file("/nowhere")
    with pytest.raises(DaytonaError, match="Permission denied"):
        sandbox.fs.upload_file(b"x", "/etc/mine")


def test_folders(make: Make) -> None:
    fs = make().fs
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


def test_stop_start_and_delete(make: Make, sdk: Daytona, s: StandIn) -> None:
    sandbox = make(name="by-name")
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
    make(name="by-name")
    with pytest.raises(DaytonaConflictError, match="already exists"):
        make(name="by-name")

    def gone() -> bool:
        return not any(sandbox.id[:13] in c for c in s.state()["containers"])

    waiting.until(gone, what="the container's end", timeout=20)


def test_it_cannot_be_deleted_while_it_starts(s: StandIn, sdk: Daytona, ready: str) -> None:
    s.fault("slow-start", on=ready, seconds=8)
    body = {"snapshot": ready, "labels": {"slow": "1"}}
    headers = {"Authorization": f"Bearer {s.key}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{s.url}/sandbox", json=body, headers=headers, timeout=3)
    (sandbox,) = labelled(sdk, slow="1")
    with pytest.raises(DaytonaConflictError, match="in progress"):
        sandbox.delete()

    def deleted() -> bool:
        try:
            sandbox.delete()
        except DaytonaConflictError:
            return False
        return True

    waiting.until(deleted, what="the deletion", timeout=30)


def labelled(sdk: Daytona, **labels: str) -> list[Any]:
    return list(sdk.list(ListSandboxesQuery(labels=labels)))


def test_labels_find(make: Make, sdk: Daytona) -> None:
    one, two = make(labels={"k": "1", "both": "y"}), make(labels={"k": "2", "both": "y"})
    assert {f.id for f in labelled(sdk, both="y")} == {one.id, two.id}
    assert [f.id for f in labelled(sdk, both="y", k="1")] == [one.id]
    assert labelled(sdk, k="3") == []
    one.set_labels({"k": "3"})
    assert [f.id for f in labelled(sdk, k="3")] == [one.id]
    pages = sdk.list(ListSandboxesQuery(labels={"code-toolbox-language": "python"}, limit=1))
    assert [f.id for f in pages] == [two.id]


def test_bad_labels(s: StandIn) -> None:
    headers = {"Authorization": f"Bearer {s.key}"}
    reply = httpx.get(f"{s.url}/sandbox", params={"labels": "{"}, headers=headers)
    assert reply.status_code == 400


def test_unknown_and_unready_snapshots(s: StandIn, sdk: Daytona, ready: str) -> None:
    with pytest.raises(DaytonaValidationError, match="Did you add it"):
        sdk.create(CreateSandboxFromSnapshotParams(snapshot="no-such"))
    s.set_snapshot_state(ready, "inactive")
    try:
        with pytest.raises(DaytonaValidationError, match="is inactive"):
            sdk.create(CreateSandboxFromSnapshotParams(snapshot=ready))
    finally:
        s.set_snapshot_state(ready, "active")


# A minute has one second here.


def test_auto_stop_and_auto_delete(make: Make, sdk: Daytona) -> None:
    sandbox = make(auto_stop_interval=4, auto_delete_interval=1)
    for _ in range(6):  # what is used stays
        time.sleep(1)
        sandbox.process.exec("true")
    assert sdk.get(sandbox.id).state == "started"
    waiting.until(lambda: is_gone(sdk, sandbox), what="its end", timeout=20)


def test_ephemeral(make: Make, sdk: Daytona) -> None:
    sandbox = make(auto_stop_interval=1, auto_delete_interval=0)
    waiting.until(lambda: is_gone(sdk, sandbox), what="its end", timeout=20)


def test_time_to_live(make: Make, sdk: Daytona) -> None:
    sandbox = make(auto_stop_interval=0, ttl_minutes=2)
    waiting.until(lambda: is_gone(sdk, sandbox), what="its end", timeout=20)


def is_gone(sdk: Daytona, sandbox: Sandbox) -> bool:
    try:
        sdk.get(sandbox.id)
    except DaytonaNotFoundError:
        return True
    return False


# ── previews ────────────────────────────────────────────────────────────────────────────────


class Visitor:
    """Asks a preview address, whose name does not resolve everywhere, at the proxy's own."""

    def __init__(self, s: StandIn, url: str) -> None:
        self._host = httpx.URL(url).netloc.decode()
        self._proxy = s.origin

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        given = {"Host": self._host, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return httpx.get(f"{self._proxy}{path}", headers=given, follow_redirects=False)


def served(visitor: Visitor, **headers: str) -> httpx.Response:
    def answers() -> httpx.Response | None:
        reply = visitor.get("/p%2Fq?a=1&DAYTONA_SANDBOX_AUTH_KEY=x", **headers)
        return None if reply.status_code == 502 else reply

    return waiting.until(answers, what="the server in the sandbox", timeout=15)


def test_previews_want_a_token(make: Make, s: StandIn) -> None:
    sandbox = make()
    link = sandbox.get_preview_link(3000)
    visitor = Visitor(s, link.url)
    assert visitor.get().status_code == 401
    assert visitor.get(x_daytona_preview_token="wrong").status_code == 401
    seen = served(visitor, x_daytona_preview_token=link.token, x_mine="1").text.lower()
    assert seen.startswith("get /p%2fq?a=1 http/1.1")
    assert "host: localhost:3000" in seen
    assert f"x-forwarded-host: 3000-{sandbox.id}" in seen
    assert "x-mine: 1" in seen
    assert link.token not in seen
    for reply in (
        visitor.get(f"/?DAYTONA_SANDBOX_AUTH_KEY={link.token}"),
        visitor.get(authorization=f"Bearer {s.key}"),
    ):
        assert reply.status_code == 200
        assert link.token not in reply.text
        assert s.key not in reply.text
    # Another Authorization is the application's own.
    theirs = visitor.get(authorization="Bearer theirs", x_daytona_preview_token=link.token)
    assert "Bearer theirs" in theirs.text


def test_ports_nobody_listens_on(make: Make, s: StandIn) -> None:
    link = make().get_preview_link(3999)
    reply = Visitor(s, link.url).get(x_daytona_preview_token=link.token)
    assert (reply.status_code, reply.content) == (502, b"")


def test_signed_previews_end(make: Make, s: StandIn) -> None:
    sandbox = make()
    open_ = sandbox.get_preview_link(3000)
    assert served(Visitor(s, open_.url), x_daytona_preview_token=open_.token).status_code == 200
    signed = sandbox.create_signed_preview_url(3000, 4)
    assert served(Visitor(s, signed.url)).status_code == 200
    other = signed.url.replace("3000-", "2280-")
    assert Visitor(s, other).get().status_code == 401
    time.sleep(4)
    assert Visitor(s, signed.url).get().status_code == 401


def test_public_previews(make: Make, s: StandIn) -> None:
    sandbox = make(public=True)
    assert served(Visitor(s, sandbox.get_preview_link(3000).url)).status_code == 200
    assert Visitor(s, sandbox.get_preview_link(2280).url).get().status_code == 401


def test_a_token_ends_with_the_run(make: Make, s: StandIn) -> None:
    sandbox = make()
    old = sandbox.get_preview_link(3000)
    sandbox.stop()
    sandbox.start()
    assert Visitor(s, old.url).get(x_daytona_preview_token=old.token).status_code == 401
    new = sandbox.get_preview_link(3000)
    assert served(Visitor(s, new.url), x_daytona_preview_token=new.token).status_code == 200


def test_strangers(s: StandIn, make: Make) -> None:
    sandbox = make()
    for path in ("/api/snapshots", f"/toolbox/{sandbox.id}/work-dir", "/_stand-in/state"):
        assert httpx.get(f"{s.origin}{path}").status_code == 401
