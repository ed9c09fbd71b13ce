"""A new sandbox becomes ready, and tells what it is."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tasks.base import project, waiting
from tasks.base.errors import TaskError
from tests.sandbox.support import DAEMON, OPENCODE, TOKEN_FILE, get, secret

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.conftest import Maker

#: A user waits this long and no longer; two cores, shared with the rest of the suite.
DEADLINE = 30.0


def test_is_ready_in_time_and_says_what_it_is(make: Maker) -> None:
    sandbox = make(ready=False)
    start = time.monotonic()
    sandbox.start()
    result = sandbox.wait_until_ready(timeout=DEADLINE)
    assert time.monotonic() - start < DEADLINE

    build = sandbox.read_json(project.BUILD_INFO)
    assert result["ready"] is True
    assert result["sha"] == build["sha"]
    assert result["identity"] == build["identity"]
    assert result["problems"] == []
    assert set(result["services"]) == set(project.SERVICES)
    for name, service in result["services"].items():
        assert service["ready"] is True, name
        assert re.match(r"\d+\.\d+", service["version"]), name
    assert result["services"]["opencode"]["version"] == build["pins"]["SANDBOX_OPENCODE_VERSION"]


def test_healthz_answers_anybody(sandbox: Sandbox) -> None:
    answer = get(sandbox, "/healthz")
    assert answer.status_code == httpx.codes.OK
    assert answer.headers["content-type"].startswith("application/json")
    answer_body = answer.json()
    assert answer_body["status"] == "ok", answer_body
    assert answer_body["sha"] == sandbox.read_json(project.BUILD_INFO)["sha"]
    assert answer_body["version"]


def test_readyz_is_json_for_anybody(sandbox: Sandbox) -> None:
    answer = get(sandbox, "/readyz")
    assert answer.status_code == httpx.codes.OK
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["ready"] is True


def test_the_page_is_there(sandbox: Sandbox) -> None:
    page = get(sandbox, "/")
    assert page.status_code == httpx.codes.OK
    assert page.headers["content-type"].startswith("text/html")
    scripts = re.findall(r'src="(/[^"]+\.js)"', page.text)
    assert scripts, page.text
    for path in scripts:
        script = get(sandbox, path)
        assert script.status_code == httpx.codes.OK
        assert "javascript" in script.headers["content-type"]


def test_status_tells_services_and_source_to_who_has_the_token(sandbox: Sandbox) -> None:
    token = secret(sandbox, TOKEN_FILE)
    answer = get(sandbox, "/api/status", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == httpx.codes.OK, answer.text
    text = json.dumps(answer.json())
    build = sandbox.read_json(project.BUILD_INFO)
    assert build["sha"] in text
    for name in project.SERVICES:
        assert name in text
    assert token not in text


def test_build_record(sandbox: Sandbox) -> None:
    build = sandbox.read_json(project.BUILD_INFO)
    assert build["schema"] == 1
    assert re.fullmatch(r"[0-9a-f]{40}", build["sha"])
    assert re.fullmatch(r"[0-9a-f]{64}", build["identity"])
    assert build["branch"] is None or build["branch"]
    assert isinstance(build["dirty"], bool)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", build["built_at"])
    assert all(re.fullmatch(r"SANDBOX_\w+_VERSION", name) for name in build["pins"])


def test_state_of_this_start(sandbox: Sandbox) -> None:
    state = sandbox.read_json("/run/iterate/state.json")
    assert state["mode"] == "baked"
    assert state["problems"] == []
    assert state["source"]["sha"] == sandbox.read_json(project.BUILD_INFO)["sha"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state["started_at"])


def test_is_not_root(sandbox: Sandbox) -> None:
    assert sandbox.exec(["id", "-un"]).stdout.strip() == project.USER
    assert sandbox.exec(["id", "-u"]).stdout.strip() == str(project.UID)
    assert sandbox.exec(["sudo", "-n", "id", "-un"]).stdout.strip() == "root"
    strangers = sandbox.exec(
        f"ps -eo user:32=,args= | grep -v '^{project.USER} ' | grep -v 'ps -eo' || true"
    )
    assert "s6-" not in strangers.stdout
    assert "iterate_daemon" not in strangers.stdout


@pytest.mark.needs("health")
def test_the_images_own_check_finds_it_healthy(sandbox: Sandbox) -> None:
    waiting.until(
        lambda: sandbox.health() == "healthy", what="health", timeout=30, state=sandbox.health
    )


@pytest.mark.needs("host_ports")
def test_ports_are_published_to_loopback_only(sandbox: Sandbox) -> None:
    others = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    assert others, "this machine has no address but loopback: nothing to try"
    for port in (DAEMON, OPENCODE):
        url = urlsplit(sandbox.url(port))
        assert url.hostname == "127.0.0.1"
        assert url.port
        socket.create_connection(("127.0.0.1", url.port), timeout=3).close()
        for address in others:
            with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
                socket.create_connection((address, url.port), timeout=3)


@pytest.mark.needs("host_ports")
def test_asked_ports_are_given(make: Maker) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sandbox = make(ports={DAEMON: port, OPENCODE: 0})
    assert sandbox.url(DAEMON) == f"http://127.0.0.1:{port}"
    assert get(sandbox, "/healthz").status_code == httpx.codes.OK


@pytest.mark.needs("host_ports")
def test_a_taken_port_is_refused_and_its_owner_named(make: Maker) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        me = psutil.Process()
        with pytest.raises(TaskError, match=rf"{port}.*pid {me.pid}"):
            make(ready=False, ports={DAEMON: port})
    assert make.made == []


@pytest.mark.needs("host_ports")
def test_a_port_taken_by_a_sandbox_is_refused_and_the_sandbox_named(
    sandbox: Sandbox, make: Maker
) -> None:
    port = urlsplit(sandbox.url(DAEMON)).port
    with pytest.raises(TaskError, match=rf"{port}.*{sandbox.name}"):
        make(ready=False, ports={DAEMON: port})


def test_waiting_ends_at_once_when_the_sandbox_ends(make: Maker) -> None:
    sandbox = make()
    sandbox.stop(grace=3)
    start = time.monotonic()
    with pytest.raises(TaskError, match="ended"):
        sandbox.wait_until_ready(timeout=60)
    assert time.monotonic() - start < 5
