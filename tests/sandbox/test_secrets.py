"""Nobody gets in without the secret, and every sandbox has its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest

from tasks.base import project, waiting
from tasks.sandbox import diagnostics
from tests.sandbox.support import (
    DAEMON,
    ENV_FILE,
    OPENCODE,
    PASSWORD_FILE,
    TOKEN_FILE,
    client,
    get,
    pid,
    secret,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.conftest import Maker

SECRETS = {"ITERATE_DAEMON_TOKEN", "OPENCODE_SERVER_PASSWORD"}
GUARDED = [(DAEMON, "/api/status"), (OPENCODE, "/"), (OPENCODE, "/session"), (OPENCODE, "/config")]


@pytest.mark.parametrize("path", [TOKEN_FILE, PASSWORD_FILE])
def test_a_generated_secret_is_the_users_alone(sandbox: Sandbox, path: str) -> None:
    assert sandbox.exec(["stat", "-c", "%a %U", path]).stdout.split() == ["600", project.USER]
    assert len(secret(sandbox, path)) >= 32


def test_every_sandbox_has_its_own(sandbox: Sandbox, make: Maker) -> None:
    second_sandbox = make()
    for path in (TOKEN_FILE, PASSWORD_FILE):
        assert secret(sandbox, path) != secret(second_sandbox, path)


def test_secrets_stay_over_a_restart(fresh_sandbox: Sandbox) -> None:
    original_secrets = [secret(fresh_sandbox, path) for path in (TOKEN_FILE, PASSWORD_FILE)]
    fresh_sandbox.restart(grace=3)
    fresh_sandbox.wait_until_ready()
    assert [secret(fresh_sandbox, path) for path in (TOKEN_FILE, PASSWORD_FILE)] == original_secrets


def test_a_given_secret_wins(make: Maker) -> None:
    secrets_of_the_user = {
        "ITERATE_DAEMON_TOKEN": "given-token-" + "a" * 24,
        "OPENCODE_SERVER_PASSWORD": "given-password-" + "b" * 24,
    }
    sandbox = make(env=secrets_of_the_user)
    bearer = {"Authorization": f"Bearer {secrets_of_the_user['ITERATE_DAEMON_TOKEN']}"}
    assert get(sandbox, "/api/status", headers=bearer).status_code == httpx.codes.OK
    auth = ("opencode", secrets_of_the_user["OPENCODE_SERVER_PASSWORD"])
    assert get(sandbox, "/config", port=OPENCODE, auth=auth).status_code == httpx.codes.OK


@pytest.mark.parametrize(("port", "path"), GUARDED)
def test_without_a_secret_nobody_gets_in(sandbox: Sandbox, port: int, path: str) -> None:
    assert get(sandbox, path, port=port).status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize(("port", "path"), GUARDED)
def test_a_wrong_secret_is_none(sandbox: Sandbox, port: int, path: str) -> None:
    with client(sandbox, port) as http:
        for headers, auth in (
            ({"Authorization": "Bearer wrong"}, None),
            ({"Authorization": "Bearer"}, None),
            ({}, ("opencode", "wrong")),
            ({}, ("opencode", "")),
        ):
            answer = http.get(path, headers=headers, auth=auth)
            assert answer.status_code == httpx.codes.UNAUTHORIZED, (headers, auth)


def test_with_the_secret_one_gets_in(sandbox: Sandbox) -> None:
    bearer = {"Authorization": f"Bearer {secret(sandbox, TOKEN_FILE)}"}
    assert get(sandbox, "/api/status", headers=bearer).status_code == httpx.codes.OK
    auth = ("opencode", secret(sandbox, PASSWORD_FILE))
    assert get(sandbox, "/config", port=OPENCODE, auth=auth).status_code == httpx.codes.OK


def test_each_service_has_its_own_secret_only(sandbox: Sandbox) -> None:
    for service, names in (
        ("iterate-daemon", {"ITERATE_DAEMON_TOKEN", "OPENCODE_SERVER_PASSWORD"}),
        ("opencode", {"OPENCODE_SERVER_PASSWORD"}),
    ):
        environ = sandbox.exec(["cat", f"/proc/{pid(sandbox, service)}/environ"]).stdout
        assert {pair.partition("=")[0] for pair in environ.split("\0")} & SECRETS == names


def test_shells_that_opencode_starts_have_no_secret(make: Maker) -> None:
    """Given to the container, where every process would inherit them."""
    values = {name: f"given-{name}" for name in SECRETS}
    sandbox = make(env=values)
    auth = ("opencode", values["OPENCODE_SERVER_PASSWORD"])
    sandbox.write(ENV_FILE, b"MARK=of the file\n")
    with client(sandbox, OPENCODE, auth=auth) as http:
        http.timeout = 100  # the first request makes OpenCode look at the repository
        session = http.post("/session", json={}).raise_for_status().json()["id"]
        order = {
            "agent": "build",
            "model": {"providerID": "none", "modelID": "none"},
            "command": "env >/tmp/shell-env",
        }
        http.post(f"/session/{session}/shell", json=order).raise_for_status()
        terminal = {"args": ["-c", "env >/tmp/terminal-env"]}
        http.post("/pty", json=terminal).raise_for_status()
        # Still nobody else's.
        assert http.get("/session", auth=None).status_code == httpx.codes.UNAUTHORIZED
    for file in ("/tmp/shell-env", "/tmp/terminal-env"):
        environ = waiting.until(
            partial(_content, sandbox, file), what="the environment of OpenCode's shell", timeout=20
        )
        assert "OPENCODE=1" in environ
        assert not any(name in environ for name in SECRETS)


def _content(sandbox: Sandbox, file: str) -> str:
    return sandbox.exec(["cat", file], check=False).stdout


def test_login_shells_and_agents_have_no_secret(make: Maker) -> None:
    sandbox = make(env={name: f"given-{name}" for name in SECRETS})
    text = "".join(f"{name}=of-the-file\n" for name in SECRETS)
    sandbox.write(ENV_FILE, text.encode())
    assert not any(name in sandbox.login("env").stdout for name in SECRETS)
    # In place of the program, its environment.
    sandbox.exec("sudo mv /opt/pi/bin/pi /opt/pi/bin/old && sudo ln -s /usr/bin/env /opt/pi/bin/pi")
    environ = sandbox.exec(["pi"]).stdout
    assert "ITERATE_ENVIRONMENT=1" in environ
    assert not any(name in environ for name in SECRETS)


def test_secrets_are_in_no_log_and_no_command_line(sandbox: Sandbox) -> None:
    for path in (TOKEN_FILE, PASSWORD_FILE):
        hidden = secret(sandbox, path)
        # From a file, or the search itself would be found.
        sandbox.write("/tmp/pattern", hidden.encode(), mode=0o600)
        matches = sandbox.exec(
            "grep -rlFf /tmp/pattern /var/log /run/iterate /etc/sandbox-build.json;"
            " ps -eo args | grep -Ff /tmp/pattern; rm /tmp/pattern",
            user="root",
            check=False,
        )
        assert matches.stdout == ""


@pytest.mark.needs("console")
def test_secrets_are_not_on_the_console(sandbox: Sandbox) -> None:
    output = sandbox.console()
    for path in (TOKEN_FILE, PASSWORD_FILE):
        assert secret(sandbox, path) not in output


def test_diagnostics_tell_much_and_no_secret(make: Maker, tmp_path: Path) -> None:
    secret_value = "very-secret-" + "c" * 20
    sandbox = make(env={"SOME_API_KEY": secret_value, "PLAIN_SETTING": "plain"})
    sandbox.write(f"{project.HOME}/.iterate/.env", b"OTHER_TOKEN=othersecret123456\n", mode=0o600)
    hidden = [secret_value, "othersecret123456"]
    hidden += [secret(sandbox, path) for path in (TOKEN_FILE, PASSWORD_FILE)]
    # Where secrets get by accident: a log line, a command line.
    for value in hidden:
        sandbox.exec(["sh", "-c", 'echo "oops $1" >>/var/log/opencode/current', "sh", value])
        sandbox.exec(["sh", "-c", 'setsid sh -c "sleep 100; : $1" >/dev/null 2>&1 &', "sh", value])

    bundle = diagnostics.collect(sandbox, tmp_path / "bundle", reason=f"it broke: {secret_value}")
    files = {f.name: f.read_text() for f in bundle.folder.iterdir()}
    assert set(files) >= {
        *("services.txt", "processes.txt", "ports.txt", "versions.txt", "environment.txt"),
        *("disk.txt", "git.txt", "state.json", "build.json", "readyz.json", "provider.json"),
        *("console.log", "iterate-daemon.log", "opencode.log", "summary.txt", "reason.txt"),
    }
    for name, text in files.items():
        assert text.strip() or name == "kernel.txt", name
        for value in hidden:
            assert value not in text, name
    assert "oops [redacted]" in files["opencode.log"]
    assert "up (pid" in files["services.txt"]
    assert f":{project.DAEMON_PORT}" in files["ports.txt"]
    assert "SOME_API_KEY" in files["environment.txt"]
    assert "plain" not in files["environment.txt"]
    assert (
        sandbox.read_json(project.BUILD_INFO)["pins"]["SANDBOX_NODE_VERSION"]
        in (files["versions.txt"])
    )
    assert "iterate_daemon" in files["processes.txt"]
    assert "200" in files["readyz.json"]


@pytest.mark.needs("exit_status")
def test_diagnostics_of_a_sandbox_that_has_ended(fresh_sandbox: Sandbox, tmp_path: Path) -> None:
    fresh_sandbox.stop(grace=3)
    bundle = diagnostics.collect(fresh_sandbox, tmp_path / "bundle", reason="it ended")
    assert "ended with status" in bundle.summary
    assert (bundle.folder / "iterate-daemon.log").read_text().strip()
    assert "does not run" in (bundle.folder / "readyz.json").read_text()
