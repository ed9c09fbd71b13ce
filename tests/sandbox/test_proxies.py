"""Whatever proxy is set, requests to loopback stay in the sandbox, and on this machine."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tasks.base import addresses, loopback, waiting
from tasks.sandbox import diagnostics
from tests.sandbox import recording_proxy
from tests.sandbox.support import (
    DAEMON,
    ENV_FILE,
    OPENCODE,
    PASSWORD_FILE,
    get,
    restart,
    secret,
    until_ready,
)
from tests.sandbox.test_services import SERVICES
from tests.support.loopback import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.conftest import Maker

LOG = "/tmp/proxy.jsonl"
NAMES = ("http_proxy", "https_proxy", "all_proxy")
#: A name that no resolver knows: only a proxy could be asked for it.
ELSEWHERE = "http://elsewhere.invalid/"


class Recorder:
    """A recording proxy in a sandbox, at an address that is not loopback."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        program = Path(recording_proxy.__file__).read_bytes()
        sandbox.write("/tmp/recording_proxy.py", program)
        start = f"setsid python3 /tmp/recording_proxy.py {LOG}"
        sandbox.exec(f"{start} >/tmp/proxy.log 2>&1 </dev/null &")
        waiting.until(lambda: self._lines() or None, what="the recording proxy", timeout=20)
        address = sandbox.exec(["hostname", "-I"]).stdout.split()[0]
        self.url = f"http://{address}:{self._lines()[0]['port']}"

    def targets(self) -> list[str]:
        return [str(line["target"]) for line in self._lines()[1:]]

    def loopback(self) -> list[str]:
        """What should not have come here. OpenCode itself asks for its list of models."""
        return [t for t in self.targets() if addresses.is_loopback(addresses.host_of(t))]

    def text(self) -> str:
        return self._sandbox.exec(["cat", LOG]).stdout

    def _lines(self) -> list[dict[str, Any]]:
        text = self._sandbox.exec(["cat", LOG], check=False).stdout
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def recorder(everyones: Maker) -> Iterator[Recorder]:
    sandbox = everyones(purpose="proxy")
    yield Recorder(sandbox)
    if not sandbox.run.keep:
        sandbox.delete()


def variables(url: str, **exempt: str) -> dict[str, str]:
    """Every spelling at once: each program finds the ones that it reads."""
    spellings = [*NAMES, *map(str.upper, NAMES)]
    return {**dict.fromkeys(spellings, url), **exempt}


@pytest.mark.needs("health")
@pytest.mark.parametrize(
    "exempt",
    [{}, {"NO_PROXY": ".corp.example", "no_proxy": ""}],
    ids=["no exemptions", "NO_PROXY"],
)
def test_behind_a_proxy_loopback_is_reached_directly(
    make: Maker, recorder: Recorder, exempt: Mapping[str, str]
) -> None:
    sandbox = make(env=variables(recorder.url, **exempt))
    waiting.until(lambda: sandbox.health() == "healthy", what="health", timeout=30)
    restart(sandbox, *SERVICES)  # their own checks once more
    until_ready(sandbox)

    # What an agent or a person would do, with programs that each have rules of their sandbox.
    for url in (f"http://127.0.0.1:{DAEMON}/healthz", f"http://localhost:{DAEMON}/healthz"):
        assert '"status"' in sandbox.login(f"curl -sS {url}").stdout
        fetch = f"import urllib.request as u; print(u.urlopen('{url}', timeout=10).read())"
        assert "status" in sandbox.login(f'python3 -c "{fetch}"').stdout
        script = f"fetch('{url}').then(r => r.text()).then(console.log)"
        for runtime in ("NODE_USE_ENV_PROXY=1 node", "bun"):
            assert "status" in sandbox.login(f'{runtime} -e "{script}"').stdout
        sandbox.login(f"cd /tmp; git ls-remote {url}", check=False)
    if not exempt:
        # Without a shell of ours, as `docker exec SANDBOX curl …` has it.
        assert sandbox.exec(["curl", "-sS", f"http://127.0.0.1:{DAEMON}/readyz"]).stdout
    assert recorder.loopback() == []
    assert secret(sandbox, PASSWORD_FILE) not in recorder.text()

    # And the proxy is asked for everything else.
    sandbox.login(f"curl -sS {ELSEWHERE}?{sandbox.name}", check=False)
    assert f"{ELSEWHERE}?{sandbox.name}" in recorder.targets()
    entries = sandbox.login("echo $no_proxy; echo $NO_PROXY").stdout.split()
    assert entries[0] == entries[1]
    assert {*loopback.HOSTS, *filter(None, exempt.values())} == set(entries[0].split(","))


def test_a_proxy_in_the_env_file_counts_alike(make: Maker) -> None:
    sandbox = make()
    recorder = Recorder(sandbox)
    lines = [f"{name}={value}\n" for name, value in variables(recorder.url).items()]
    sandbox.write(ENV_FILE, "".join(lines).encode(), mode=0o600)
    restart(sandbox, *SERVICES)
    until_ready(sandbox)
    assert sandbox.login(f"curl -sS http://127.0.0.1:{DAEMON}/healthz").stdout
    sandbox.login(f"curl -sS {ELSEWHERE}?{sandbox.name}", check=False)
    assert recorder.loopback() == []
    assert f"{ELSEWHERE}?{sandbox.name}" in recorder.targets()


@pytest.mark.parametrize("exempt", [{}, {"no_proxy": ".corp.example"}], ids=["none", "no_proxy"])
def test_this_machines_own_requests_go_to_no_proxy(
    sandbox: Sandbox,
    exempt: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    targets: list[str] = []

    class RefusingHandler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def do_GET(self) -> None:
            targets.append(self.path)
            self.send_error(502)

        do_CONNECT = do_GET  # noqa: N815

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with serving(RefusingHandler) as host:
        for name, value in variables(f"http://{host}", **exempt).items():
            monkeypatch.setenv(name, value)
        sandbox.wait_until_ready(timeout=20)
        diagnostics.collect(sandbox, tmp_path / "bundle", reason="none")
        assert get(sandbox, "/readyz").status_code == httpx.codes.OK
        assert get(sandbox, "/config", port=OPENCODE).status_code == httpx.codes.UNAUTHORIZED
        assert targets == []
        assert httpx.get(ELSEWHERE).status_code == httpx.codes.BAD_GATEWAY
        assert targets == [ELSEWHERE]
