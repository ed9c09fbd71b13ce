"""An engine that is reached through a company's proxy only."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tasks.engine import transport
from tasks.engine.endpoint import Endpoint, EngineTls
from tests.support import forward_proxy
from tests.support.loopback import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.forward_proxy import Network


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with forward_proxy.network(tmp_path) as company:
        company.serve("engine.example", lambda _: Answer(b"OK", headers={"Api-Version": "1.47"}))
        yield company


def endpoint(network: Network) -> Endpoint:
    tls = EngineTls(ca=network.bundle, cert=None, key=None, verify=True)
    return Endpoint("tcp://engine.example:2376", "DOCKER_HOST", tls=tls)


def test_an_engine_is_reached_through_the_proxy(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", network.environment["HTTPS_PROXY"])
    reply = transport.get(endpoint(network), "/_ping", timeout=20)
    assert (reply.status, reply.headers["api-version"], reply.body) == (200, "1.47", b"OK")
    assert network.tunnels == ["engine.example:2376"]


def test_a_proxy_that_refuses_is_named_without_its_password(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:s3cret@{network.proxy}")
    with pytest.raises(OSError, match="refuses: 407") as caught:
        transport.get(endpoint(network), "/_ping", timeout=20)
    assert "s3cret" not in str(caught.value)
    assert network.proxy in str(caught.value)


def test_an_excluded_engine_is_reached_directly(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", network.environment["HTTPS_PROXY"])
    monkeypatch.setenv("NO_PROXY", ".example")
    with pytest.raises((socket.gaierror, TimeoutError)):  # there is no such host
        transport.get(endpoint(network), "/_ping", timeout=20)
    assert network.tunnels == []
